//! One captured frame, borrowed from the buffer of whoever read it.

use crate::{LinkType, Timestamp};

/// A frame as capture hands it to the decoder. Borrowed: it is never copied and never crosses a ring.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When the frame passed the tap.
    pub ts: Timestamp,
    /// How to read `bytes`.
    pub link: LinkType,
    /// Length on the wire; `bytes` is shorter where a snap length cut it.
    pub wire_bytes: u32,
    /// What was captured, from the link-layer header on.
    pub bytes: &'a [u8],
}
