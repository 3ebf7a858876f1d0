//! Captures for tests, built byte by byte.

/// A packet to be written: time in nanoseconds, length on the wire, captured bytes.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) nanos: u64,
    pub(crate) wire_bytes: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    /// A packet at `micros` whose bytes all are `fill`, captured whole.
    pub(crate) fn new(micros: u64, fill: u8, len: usize) -> Self {
        Self { nanos: micros * 1000, wire_bytes: len as u32, bytes: vec![fill; len] }
    }
}

/// Writes numbers in one byte order.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) big_endian: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(big_endian: bool) -> Self {
        Self { big_endian, bytes: Vec::new() }
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A pcapng block: type, length, body padded to four, length.
    pub(crate) fn block(&mut self, block_type: u32, body: &[u8]) -> &mut Self {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = (12 + body.len() + padding) as u32;
        self.u32(block_type).u32(length).raw(body).raw(&[0; 3][..padding]).u32(length)
    }

    /// The body of a block in the byte order of this file.
    pub(crate) fn body(&self) -> Self {
        Self::new(self.big_endian)
    }

    pub(crate) fn section(&mut self) -> &mut Self {
        let mut body = self.body();
        body.u32(0x1a2b_3c4d).u16(1).u16(0).raw(&[0xff; 8]);
        self.block(0x0a0d_0d0a, &body.bytes)
    }

    /// An interface with options, each a code and a value.
    pub(crate) fn interface(&mut self, link: u16, snap_bytes: u32, options: &[(u16, &[u8])]) -> &mut Self {
        let mut body = self.body();
        body.u16(link).u16(0).u32(snap_bytes);
        for (code, value) in options {
            body.u16(*code).u16(value.len() as u16).raw(value);
            body.raw(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
        }
        if !options.is_empty() {
            body.u16(0).u16(0);
        }
        self.block(1, &body.bytes)
    }

    pub(crate) fn enhanced(&mut self, id: u32, ticks: u64, wire_bytes: u32, bytes: &[u8]) -> &mut Self {
        let mut body = self.body();
        body.u32(id)
            .u32((ticks >> 32) as u32)
            .u32(ticks as u32)
            .u32(bytes.len() as u32)
            .u32(wire_bytes)
            .raw(bytes);
        self.block(6, &body.bytes)
    }
}

/// A pcap of the kind that its magic says.
pub(crate) fn pcap(magic: u32, big_endian: bool, network: u32, packets: &[Packet]) -> Vec<u8> {
    let mut file = Writer::new(big_endian);
    file.u32(magic).u16(2).u16(4).u32(0).u32(0).u32(262_144).u32(network);
    for packet in packets {
        let fraction = packet.nanos % 1_000_000_000;
        file.u32((packet.nanos / 1_000_000_000) as u32);
        file.u32(if magic == NANOS { fraction as u32 } else { (fraction / 1000) as u32 });
        file.u32(packet.bytes.len() as u32).u32(packet.wire_bytes);
        if magic == MODIFIED {
            file.raw(&[7; 8]);
        }
        file.raw(&packet.bytes);
    }
    file.bytes
}

/// An ordinary pcap.
pub(crate) fn plain_pcap(packets: &[Packet]) -> Vec<u8> {
    pcap(MICROS, false, 1, packets)
}

/// A pcapng with one Ethernet interface, whose ticks are nanoseconds.
pub(crate) fn pcapng(big_endian: bool, packets: &[Packet]) -> Vec<u8> {
    let mut file = Writer::new(big_endian);
    file.section().interface(1, 262_144, &[(9, &[9])]);
    for packet in packets {
        file.enhanced(0, packet.nanos, packet.wire_bytes, &packet.bytes);
    }
    file.bytes
}

pub(crate) const MICROS: u32 = 0xa1b2_c3d4;
pub(crate) const NANOS: u32 = 0xa1b2_3c4d;
pub(crate) const MODIFIED: u32 = 0xa1b2_cd34;
