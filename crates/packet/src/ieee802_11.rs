//! IEEE 802.11 data frames, with or without a radiotap header.

use crate::ethernet::open_llc;
use crate::skip::Skip;
use crate::view::{View, be16};

/// A frame behind a radiotap header (<https://www.radiotap.org>), which says whether a checksum follows the frame.
pub(crate) fn open_radiotap(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    const FCS_AT_END: u8 = 0x10;
    const DATA_PAD: u8 = 0x20;
    const BAD_FCS: u8 = 0x40;
    const FCS: u32 = 4;

    let (&[_version, _pad, lo, hi], _) = frame.split().ok_or(Skip::TruncatedLink)?;
    let length = usize::from(u16::from_le_bytes([lo, hi]));
    let header = frame.bytes.get(..length).ok_or(Skip::TruncatedLink)?;
    let flags = radiotap_flags(header);
    if flags & BAD_FCS != 0 {
        return Err(Skip::Ieee802_11BadFcs);
    }
    let mut frame = frame.skip(length).ok_or(Skip::TruncatedLink)?;
    if flags & FCS_AT_END != 0 {
        frame = frame.limit(frame.wire.saturating_sub(FCS));
    }
    open_padded(frame, if flags & DATA_PAD == 0 { Padding::None } else { Padding::ToFourBytes })
}

/// A frame that begins with its MAC header.
pub(crate) fn open(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    open_padded(frame, Padding::None)
}

/// Whether the receiver put padding behind the MAC header.
#[derive(Clone, Copy)]
enum Padding {
    None,
    ToFourBytes,
}

fn open_padded(frame: View<'_>, padding: Padding) -> Result<(u16, View<'_>), Skip> {
    // Frame control, first byte: version, type, subtype.
    const VERSION_AND_TYPE: u8 = 0x0f;
    const DATA: u8 = 0x08;
    const NO_PAYLOAD: u8 = 0x40;
    const QOS: u8 = 0x80;
    // Frame control, second byte.
    const TO_DS: u8 = 0x01;
    const FROM_DS: u8 = 0x02;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;

    let (&[control, flags], _) = frame.split().ok_or(Skip::TruncatedLink)?;
    if control & VERSION_AND_TYPE != DATA || control & NO_PAYLOAD != 0 {
        return Err(Skip::Ieee802_11NotData);
    }
    if flags & PROTECTED != 0 {
        return Err(Skip::Ieee802_11Encrypted);
    }
    let (header, mut rest) = frame.split::<MAC_HEADER>().ok_or(Skip::TruncatedLink)?;
    if header[SEQUENCE_CONTROL] & FRAGMENT_NUMBER != 0 {
        return Err(Skip::Ieee802_11NotData);
    }
    let mut header_bytes = MAC_HEADER;
    if flags & (TO_DS | FROM_DS) == TO_DS | FROM_DS {
        rest = rest.skip(ADDRESS).ok_or(Skip::TruncatedLink)?;
        header_bytes += ADDRESS;
    }
    let mut aggregated = false;
    if control & QOS != 0 {
        let (qos, after) = rest.split::<QOS_CONTROL>().ok_or(Skip::TruncatedLink)?;
        aggregated = qos[0] & AMSDU_PRESENT != 0;
        rest = after;
        header_bytes += QOS_CONTROL;
        if flags & ORDER != 0 {
            rest = rest.skip(HT_CONTROL).ok_or(Skip::TruncatedLink)?;
            header_bytes += HT_CONTROL;
        }
    }
    if let Padding::ToFourBytes = padding {
        rest = rest.skip(header_bytes.next_multiple_of(4) - header_bytes).ok_or(Skip::TruncatedLink)?;
    }
    if aggregated {
        // One record a frame: the first packet of the aggregate stands for it.
        let (subframe, after) = rest.split::<14>().ok_or(Skip::TruncatedLink)?;
        rest = after.limit(u32::from(be16::<12, _>(subframe)));
    }
    open_llc(rest)
}

/// The flags field of a radiotap header; 0 where there is none. It is the second field and follows the presence words.
fn radiotap_flags(header: &[u8]) -> u8 {
    const TSFT: u32 = 1;
    const FLAGS: u32 = 1 << 1;
    const ANOTHER_WORD: u32 = 1 << 31;

    let mut at = 4;
    let Some(first) = present_word(header, at) else { return 0 };
    let mut word = first;
    at += 4;
    while word & ANOTHER_WORD != 0 {
        let Some(next) = present_word(header, at) else { return 0 };
        word = next;
        at += 4;
    }
    if first & FLAGS == 0 {
        return 0;
    }
    if first & TSFT != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    header.get(at).copied().unwrap_or(0)
}

fn present_word(header: &[u8], at: usize) -> Option<u32> {
    header.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

const MAC_HEADER: usize = 24;
const SEQUENCE_CONTROL: usize = 22;
const FRAGMENT_NUMBER: u8 = 0x0f;
const ADDRESS: usize = 6;
const QOS_CONTROL: usize = 2;
const AMSDU_PRESENT: u8 = 0x80;
const HT_CONTROL: usize = 4;
