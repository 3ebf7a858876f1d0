//! Frames, built from the inside out: each function puts one header in front of what it is given.

pub(crate) const V4_A: [u8; 4] = [192, 0, 2, 1];
pub(crate) const V4_B: [u8; 4] = [198, 51, 100, 2];
pub(crate) const V6_A: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const V6_B: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
/// Outer addresses of tunnels.
pub(crate) const OUTER_A: [u8; 4] = [203, 0, 113, 1];
pub(crate) const OUTER_B: [u8; 4] = [203, 0, 113, 2];

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;

pub(crate) fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Ports 40000 to 443, sequence number 0x01020304, acknowledgement 0x05060708, window 0x1234, 12 bytes of options.
pub(crate) fn tcp(flags: u8, payload: &[u8]) -> Vec<u8> {
    let header = [
        0x9c, 0x40, 0x01, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, flags, 0x12, 0x34, 0, 0, 0, 0, // options:
        1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
    ];
    cat(&[&header, payload])
}

pub(crate) fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    cat(&[&src.to_be_bytes(), &dst.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload])
}

pub(crate) fn v4(protocol: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    v4_fragment(protocol, src, dst, 0, 0, payload)
}

/// `word`: flags and offset in units of 8 bytes.
pub(crate) fn v4_fragment(
    protocol: u8,
    src: [u8; 4],
    dst: [u8; 4],
    id: u16,
    word: u16,
    payload: &[u8],
) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    cat(&[
        &[0x45, 0],
        &length.to_be_bytes(),
        &id.to_be_bytes(),
        &word.to_be_bytes(),
        &[64, protocol, 0, 0],
        &src,
        &dst,
        payload,
    ])
}

pub(crate) fn v6(next: u8, src: [u8; 16], dst: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    cat(&[&[0x60, 0, 0, 0], &length.to_be_bytes(), &[next, 63], &src, &dst, payload])
}

/// TCP over IPv4 with ten bytes of payload: what most tests wrap.
pub(crate) fn inner_v4() -> Vec<u8> {
    v4(6, V4_A, V4_B, &tcp(0x18, &[7; 10]))
}

/// UDP over IPv6 with five bytes of payload.
pub(crate) fn inner_v6() -> Vec<u8> {
    v6(17, V6_A, V6_B, &udp(5353, 53, &[7; 5]))
}

pub(crate) fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], &ethertype.to_be_bytes(), payload])
}

/// A tag control word and the ethertype behind it; the tag's own ethertype stands in front of it.
pub(crate) fn tag(id: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&(0x6000 | id).to_be_bytes(), &ethertype.to_be_bytes(), payload])
}

pub(crate) fn label(value: u32, bottom: bool, payload: &[u8]) -> Vec<u8> {
    cat(&[&(value << 12 | u32::from(bottom) << 8 | 64).to_be_bytes(), payload])
}

pub(crate) fn pppoe(code: u8, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() + 2) as u16;
    cat(&[&[0x11, code, 0, 9], &length.to_be_bytes(), &protocol.to_be_bytes(), payload])
}

pub(crate) fn snap(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&[0xaa, 0xaa, 3, 0, 0, 0], &ethertype.to_be_bytes(), payload])
}

/// An outer IPv4 packet of a protocol.
pub(crate) fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4(protocol, OUTER_A, OUTER_B, payload)
}

pub(crate) fn outer_udp(dst: u16, payload: &[u8]) -> Vec<u8> {
    outer(17, &udp(50_000, dst, payload))
}

pub(crate) fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    cat(&[&[8, 0, 0, 0], &(vni << 8).to_be_bytes(), frame])
}
