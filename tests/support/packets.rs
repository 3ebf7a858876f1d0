//! Packets as tests describe them, and their bytes.

use std::net::Ipv4Addr;

/// An IPv4 packet on Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) ts_us: i64,
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) protocol: u8,
    /// Ports; ICMP: type and code.
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) payload: u16,
    /// TCP options, a multiple of 4.
    pub(crate) options: u8,
}

impl Packet {
    /// Bytes of the layer-4 header.
    pub(crate) fn header(&self) -> u16 {
        match self.protocol {
            6 => 20 + u16::from(self.options),
            17 | 1 => 8,
            _ => 0,
        }
    }

    pub(crate) fn ip_bytes(&self) -> u16 {
        20 + self.header() + self.payload
    }

    /// The same packet on the way back.
    pub(crate) fn mirrored(&self) -> Self {
        let mut mirrored = Self { src: self.dst, dst: self.src, ..self.clone() };
        if self.protocol != 1 {
            (mirrored.sport, mirrored.dport) = (self.dport, self.sport);
        }
        mirrored
    }

    /// An Ethernet frame, padded to 60 bytes as on a wire.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0x00];
        frame.extend([0x45, 0]);
        frame.extend(self.ip_bytes().to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, self.protocol, 0, 0]);
        frame.extend(self.src.octets());
        frame.extend(self.dst.octets());
        match self.protocol {
            6 => {
                frame.extend(self.sport.to_be_bytes());
                frame.extend(self.dport.to_be_bytes());
                frame.extend(self.seq.to_be_bytes());
                frame.extend(self.ack.to_be_bytes());
                frame.extend([((20 + self.options) / 4) << 4, self.flags]);
                frame.extend(self.window.to_be_bytes());
                frame.extend([0; 4]);
                frame.extend(std::iter::repeat_n(1, usize::from(self.options)));
            }
            17 => {
                frame.extend(self.sport.to_be_bytes());
                frame.extend(self.dport.to_be_bytes());
                frame.extend((8 + self.payload).to_be_bytes());
                frame.extend([0; 2]);
            }
            1 => frame.extend([self.sport as u8, self.dport as u8, 0, 0, 0, 0, 0, 0]),
            _ => {}
        }
        frame.extend(std::iter::repeat_n(0xaa, usize::from(self.payload)));
        frame.resize(frame.len().max(60), 0);
        frame
    }
}

/// A classic pcap, microseconds, little endian, Ethernet.
pub(crate) fn pcap(packets: &[Packet]) -> Vec<u8> {
    pcap_of_frames(1, packets.iter().map(|packet| (packet.ts_us, packet.frame())))
}

/// The same of any frames.
pub(crate) fn pcap_of_frames(link: u32, frames: impl IntoIterator<Item = (i64, Vec<u8>)>) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, link] {
        out.extend(word.to_le_bytes());
    }
    for (ts_us, frame) in frames {
        let len = u32::try_from(frame.len()).unwrap();
        out.extend(u32::try_from(ts_us / 1_000_000).unwrap().to_le_bytes());
        out.extend(u32::try_from(ts_us % 1_000_000).unwrap().to_le_bytes());
        out.extend(len.to_le_bytes());
        out.extend(len.to_le_bytes());
        out.extend(frame);
    }
    out
}
