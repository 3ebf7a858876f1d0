//! Frames that a span port delivers twice, as when it mirrors both ends of a path.
//!
//! Two frames are the same if all their bytes and their wire length are, and if they come within the window. A TCP
//! retransmission is not a duplicate: it has another IP identification, and comes later than any sensible window.
//! Packets that were routed between the two mirrors differ in their link layer, and are not recognised.

use siphasher::sip::SipHasher13;
use tapline_record::{Frame, Timestamp};

/// Frames remembered: a millisecond of 16 million frames a second.
const SETS: usize = 4_096;
const WAYS: usize = 4;

/// Recognises frames that were seen a moment ago, in constant memory: in a full set the oldest gives way.
#[derive(Debug)]
pub struct DuplicateWindow {
    window_us: i64,
    hasher: SipHasher13,
    sets: Box<[[Seen; WAYS]]>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    digest: u64,
    at: Timestamp,
}

impl DuplicateWindow {
    /// A window of `window_us` microseconds. The key must not be known outside, lest somebody make frames that pass for
    /// duplicates of others.
    #[must_use]
    pub fn new(window_us: i64, key: (u64, u64)) -> Self {
        let none = Seen { digest: 0, at: Timestamp::MIN };
        Self {
            window_us,
            hasher: SipHasher13::new_with_keys(key.0, key.1),
            sets: vec![[none; WAYS]; SETS].into(),
        }
    }

    /// Whether the same frame came within the window; if not, it is remembered.
    pub fn is_duplicate(&mut self, frame: &Frame<'_>) -> bool {
        let digest = self.hasher.hash(frame.bytes) ^ u64::from(frame.wire_bytes);
        let set = &mut self.sets[(digest >> 32) as usize % SETS];
        let recent = |seen: &Seen| {
            seen.at != Timestamp::MIN && frame.ts.micros_since(seen.at).saturating_abs() <= self.window_us
        };
        if set.iter().any(|seen| seen.digest == digest && recent(seen)) {
            return true;
        }
        if let Some(oldest) = set.iter_mut().min_by_key(|seen| seen.at) {
            *oldest = Seen { digest, at: frame.ts };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapline_record::LinkType;

    fn frame(at_us: i64, bytes: &[u8]) -> Frame<'_> {
        let wire_bytes = u32::try_from(bytes.len()).unwrap();
        Frame { ts: Timestamp::from_micros(at_us), link: LinkType::ETHERNET, wire_bytes, bytes }
    }

    #[test]
    fn the_same_frame_within_the_window_is_a_duplicate() {
        let mut window = DuplicateWindow::new(1_000, (1, 2));
        assert!(!window.is_duplicate(&frame(0, b"one")));
        assert!(!window.is_duplicate(&frame(10, b"two")));
        assert!(window.is_duplicate(&frame(20, b"one")));
        assert!(window.is_duplicate(&frame(1_000, b"one")));
        assert!(!window.is_duplicate(&frame(1_021, b"one")), "outside of the window");
        assert!(window.is_duplicate(&frame(1_022, b"one")), "and remembered anew");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_gives_way() {
        let mut window = DuplicateWindow::new(1_000_000_000, (1, 2));
        for i in 0..200_000_u32 {
            assert!(!window.is_duplicate(&frame(i64::from(i), &i.to_le_bytes())));
        }
        assert!(window.is_duplicate(&frame(200_000, &199_999_u32.to_le_bytes())));
        assert!(!window.is_duplicate(&frame(200_001, &0_u32.to_le_bytes())), "long forgotten");
    }
}
