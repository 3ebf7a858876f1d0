//! What is left of a frame: captured bytes, and how many there were on the wire.
//!
//! Every parser takes a [`View`] and hands on the rest of it, so no one counts offsets from the start of the frame, and
//! a snap length (captured bytes end early) is never confused with the end of a packet (wire bytes end).

/// The unread part of a frame. `bytes` is what was captured of it, `wire` (bytes) what the wire carried; a snap length
/// makes the former the shorter one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) wire: u32,
}

impl<'a> View<'a> {
    /// A whole frame. Some writers state a wire length below the captured one; what was captured was on the wire.
    #[inline]
    pub(crate) fn of_frame(bytes: &'a [u8], wire_bytes: u32) -> Self {
        Self { bytes, wire: wire_bytes.max(saturating_u32(bytes.len())) }
    }

    /// A header of `N` bytes and what follows it; none if fewer were captured.
    #[inline]
    pub(crate) fn split<const N: usize>(self) -> Option<(&'a [u8; N], Self)> {
        let (header, bytes) = self.bytes.split_first_chunk()?;
        Some((header, Self { bytes, wire: self.wire.saturating_sub(N as u32) }))
    }

    /// What follows `count` bytes; none if fewer were captured.
    #[inline]
    pub(crate) fn skip(self, count: usize) -> Option<Self> {
        let bytes = self.bytes.get(count..)?;
        Some(Self { bytes, wire: self.wire.saturating_sub(saturating_u32(count)) })
    }

    /// The first `wire` bytes at most.
    #[inline]
    pub(crate) fn limit(self, wire: u32) -> Self {
        Self { bytes: self.bytes.get(..wire as usize).unwrap_or(self.bytes), wire: self.wire.min(wire) }
    }

    /// The first half of the first byte: the IP version, where IP is what comes next.
    #[inline]
    pub(crate) fn nibble(self) -> Option<u8> {
        self.bytes.first().map(|byte| byte >> 4)
    }
}

/// The 16-bit big-endian field at offset `AT`; that it lies within the header is checked when compiled.
#[inline(always)]
pub(crate) fn be16<const AT: usize, const N: usize>(header: &[u8; N]) -> u16 {
    const { assert!(AT + 2 <= N, "the field must lie within the header") };
    u16::from_be_bytes([header[AT], header[AT + 1]])
}

/// The 32-bit big-endian field at offset `AT`.
#[inline(always)]
pub(crate) fn be32<const AT: usize, const N: usize>(header: &[u8; N]) -> u32 {
    u32::from_be_bytes(field::<AT, 4, N>(header))
}

/// The field of `LEN` bytes at offset `AT`.
#[inline(always)]
pub(crate) fn field<const AT: usize, const LEN: usize, const N: usize>(header: &[u8; N]) -> [u8; LEN] {
    const { assert!(AT + LEN <= N, "the field must lie within the header") };
    std::array::from_fn(|i| header[AT + i])
}

#[inline]
fn saturating_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_captured_and_wire_apart() {
        let view = View::of_frame(&[1, 2, 3, 4, 5, 6], 100);
        let (head, rest) = view.split::<2>().unwrap();
        assert_eq!((*head, rest.bytes.len(), rest.wire), ([1, 2], 4, 98));
        let rest = rest.skip(3).unwrap();
        assert_eq!((rest.bytes, rest.wire), (&[6][..], 95));
        assert!(rest.skip(2).is_none());
        assert!(rest.split::<2>().is_none());
        let limited = view.limit(4);
        assert_eq!((limited.bytes.len(), limited.wire), (4, 4));
        let limited = view.limit(50);
        assert_eq!((limited.bytes.len(), limited.wire), (6, 50));
        assert_eq!(View::of_frame(&[0; 9], 3).wire, 9);
    }

    #[test]
    fn fields_are_big_endian() {
        let header = [1, 2, 3, 4, 5, 6];
        assert_eq!(be16::<1, _>(&header), 0x0203);
        assert_eq!(be32::<2, _>(&header), 0x0304_0506);
        assert_eq!(field::<4, 2, _>(&header), [5, 6]);
    }
}
