//! The decoder against etherparse, over every Ethernet frame of the shared corpus of captures (where it is present).
//!
//! The captures are cut to 96 bytes, so lengths are compared with what the IP header claims.

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use etherparse::{Ipv6ExtensionSlice, LaxNetSlice, LaxSlicedPacket, TransportSlice};
    use tapline_packet::{Decapsulate, DecodeOptions, Decoder, Skip};
    use tapline_record::{Frame, LinkType, PacketRecord, Timestamp};

    #[test]
    fn agrees_with_etherparse_on_the_corpus() {
        let Some(folder) = corpus() else { return };
        let mut captures = Vec::new();
        collect(&folder, &mut captures);
        captures.sort();
        assert!(!captures.is_empty(), "an empty corpus");

        let mut tally = Tally::default();
        for path in &captures {
            let bytes = std::fs::read(path).unwrap();
            let decapsulate = Decapsulate::NONE;
            let mut decoder = Decoder::new(DecodeOptions { decapsulate, ..DecodeOptions::default() });
            let Some(capture) = Capture::open(&bytes) else {
                tally.files_skipped += 1;
                continue;
            };
            tally.files += 1;
            for (n, frame) in capture.enumerate() {
                if frame.link != LinkType::ETHERNET {
                    tally.other_links += 1;
                    continue;
                }
                let ours = decoder.decode(&frame, n as u64);
                compare(&frame, ours, &mut tally, &format!("{}, packet {}", path.display(), n + 1));
            }
        }
        println!("{tally:?}");
        for (skip, frames) in Skip::ALL.iter().zip(tally.skipped) {
            println!("{}: {frames}", skip.name());
        }
        assert!(tally.compared > tally.frames / 2, "too little compared: {tally:?}");
    }

    #[derive(Debug, Default)]
    struct Tally {
        files: u64,
        files_skipped: u64,
        other_links: u64,
        frames: u64,
        compared: u64,
        skipped: [u64; Skip::ALL.len()],
    }

    #[track_caller]
    fn compare(frame: &Frame<'_>, ours: Result<PacketRecord, Skip>, tally: &mut Tally, at: &str) {
        tally.frames += 1;
        if let Err(skip) = ours {
            tally.skipped[skip.index()] += 1;
        }
        // etherparse 0.21 reads past the end of an authentication header that the capture cut.
        if may_hold_authentication_header(frame.bytes) {
            return;
        }
        let Ok(theirs) = LaxSlicedPacket::from_ethernet(frame.bytes) else { return };
        let Some(net) = &theirs.net else { return };
        let expect = match net {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                Expect {
                    src: header.source_addr().to_ipv6_mapped().octets(),
                    dst: header.destination_addr().to_ipv6_mapped().octets(),
                    protocol: ip.payload().ip_number.0,
                    ttl: header.ttl(),
                    claimed: u32::from(header.total_len()),
                    header_bytes: (header.slice().len()
                        + ip.extensions().auth.map_or(0, |auth| auth.slice().len()))
                        as u32,
                    later: header.fragments_offset().value() != 0,
                    l3: header.slice().as_ptr(),
                }
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                Expect {
                    src: header.source(),
                    dst: header.destination(),
                    protocol: ip.payload().ip_number.0,
                    ttl: header.hop_limit(),
                    claimed: 40 + u32::from(header.payload_length()),
                    header_bytes: (40 + ip.extensions().slice().len()) as u32,
                    later: ip.extensions().clone().into_iter().any(|extension| match extension {
                        Ipv6ExtensionSlice::Fragment(fragment) => fragment.fragment_offset().value() != 0,
                        _ => false,
                    }),
                    l3: header.slice().as_ptr(),
                }
            }
            LaxNetSlice::Arp(_) => {
                assert_eq!(ours, Err(Skip::Arp), "{at}");
                return;
            }
        };
        let ours = match ours {
            Ok(ours) => ours,
            // A length that ends within the header: etherparse ignores it, we do not guess.
            Err(Skip::MalformedIp) if expect.claimed < expect.header_bytes => return,
            Err(skip) => {
                let cut = matches!(skip, Skip::TruncatedTransport | Skip::TruncatedIp | Skip::MalformedIp);
                assert!(cut && theirs.transport.is_none(), "{at}: {skip:?}, etherparse: {theirs:?}");
                return;
            }
        };
        tally.compared += 1;
        let before_l3 = expect.l3 as usize - frame.bytes.as_ptr() as usize;
        let on_wire = frame.wire_bytes - before_l3 as u32;
        let v6_of_zero = ours.ip_version == 6 && expect.claimed == 40 && ours.protocol != 59;
        let ip_bytes = if expect.claimed == 0 || v6_of_zero { on_wire } else { expect.claimed.min(on_wire) };
        assert_eq!((ours.src, ours.dst), (expect.src, expect.dst), "{at}");
        assert_eq!((ours.ttl, ours.ip_bytes), (expect.ttl, ip_bytes), "{at}");
        assert_eq!(ours.later_fragment, expect.later, "{at}");
        if expect.later {
            assert_eq!(ours.payload_bytes, ip_bytes - expect.header_bytes, "{at}");
            return;
        }
        assert_eq!(ours.protocol, expect.protocol, "{at}");
        let l4 = ip_bytes - expect.header_bytes;
        match &theirs.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let header = tcp.header_slice();
                assert_eq!(
                    (ours.src_port, ours.dst_port),
                    (tcp.source_port(), tcp.destination_port()),
                    "{at}"
                );
                assert_eq!(
                    (ours.seq, ours.ack),
                    (tcp.sequence_number(), tcp.acknowledgment_number()),
                    "{at}"
                );
                assert_eq!((ours.tcp_flags, ours.window), (header[13], tcp.window_size()), "{at}");
                assert_eq!(ours.l4_header_bytes as usize, header.len(), "{at}");
                assert_eq!(ours.payload_bytes, l4 - header.len() as u32, "{at}");
            }
            Some(TransportSlice::Udp(udp)) => {
                assert_eq!(
                    (ours.src_port, ours.dst_port),
                    (udp.source_port(), udp.destination_port()),
                    "{at}"
                );
                assert_eq!((ours.l4_header_bytes, ours.payload_bytes), (8, l4 - 8), "{at}");
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                assert_eq!((ours.icmp_type, ours.icmp_code), (icmp.type_u8(), icmp.code_u8()), "{at}");
                assert_eq!(ours.payload_bytes, l4.saturating_sub(8), "{at}");
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                assert_eq!((ours.icmp_type, ours.icmp_code), (icmp.type_u8(), icmp.code_u8()), "{at}");
                assert_eq!(ours.payload_bytes, l4.saturating_sub(8), "{at}");
            }
            Some(TransportSlice::Igmp(_)) | None => {
                assert_eq!(ours.payload_bytes + u32::from(ours.l4_header_bytes), l4, "{at}")
            }
        }
    }

    /// IPv4 or IPv6 right behind Ethernet and tags, with protocol 51 as the next header, or any IPv6 extension that might
    /// lead to it.
    fn may_hold_authentication_header(frame: &[u8]) -> bool {
        const EXTENSIONS: [u8; 4] = [0, 43, 60, 51];
        let mut at = 12;
        while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8] | [0x91, 0x00])) {
            at += 4;
        }
        match frame.get(at..at + 2) {
            Some([0x08, 0x00]) => frame.get(at + 2 + 9) == Some(&51),
            Some([0x86, 0xdd]) => frame.get(at + 2 + 6).is_some_and(|next| EXTENSIONS.contains(next)),
            _ => false,
        }
    }

    struct Expect {
        src: [u8; 16],
        dst: [u8; 16],
        protocol: u8,
        ttl: u8,
        claimed: u32,
        header_bytes: u32,
        later: bool,
        l3: *const u8,
    }
    /// The folder of unpacked captures; none, with a word on why, where the corpus is absent.
    fn corpus() -> Option<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let archive = root.join("../shared/corpus/captures.tar.zst");
        let folder = root.join("target/tmp/packet-corpus");
        let done = folder.with_extension("unpacked");
        if done.exists() {
            return Some(folder);
        }
        if !archive.exists() {
            println!("skipped: no corpus at {}", archive.display());
            return None;
        }
        std::fs::create_dir_all(&folder).unwrap();
        let tar = Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(&folder).status();
        if !tar.is_ok_and(|status| status.success()) {
            println!("skipped: tar cannot unpack {}", archive.display());
            return None;
        }
        std::fs::write(done, "").unwrap();
        Some(folder)
    }

    fn collect(folder: &Path, captures: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, captures) } else { captures.push(path) }
        }
    }

    /// The frames of a capture file, classic or pcapng, of either byte order. Enough for this corpus: one section, times
    /// in microseconds (they matter to fragments alone).
    struct Capture<'a> {
        format: Format,
        word: fn([u8; 4]) -> u32,
        rest: &'a [u8],
        links: Vec<LinkType>,
    }

    enum Format {
        Classic,
        Blocks,
    }

    impl<'a> Capture<'a> {
        fn open(file: &'a [u8]) -> Option<Self> {
            let (header, rest) = file.split_first_chunk::<24>()?;
            let little: fn([u8; 4]) -> u32 = u32::from_le_bytes;
            let (format, word) = match (&header[..4], header[8]) {
                ([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1], _) => (Format::Classic, little),
                ([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d], _) => {
                    (Format::Classic, u32::from_be_bytes as _)
                }
                ([0x0a, 0x0d, 0x0d, 0x0a], 0x4d) => (Format::Blocks, little),
                ([0x0a, 0x0d, 0x0d, 0x0a], 0x1a) => (Format::Blocks, u32::from_be_bytes as _),
                _ => return None,
            };
            let capture = Self { format, word, rest, links: Vec::new() };
            Some(match capture.format {
                Format::Classic => {
                    let link = LinkType(capture.at(header, 20) as u16);
                    Self { links: vec![link], ..capture }
                }
                Format::Blocks => Self { rest: file.get(capture.at(header, 4) as usize..)?, ..capture },
            })
        }

        fn at(&self, bytes: &[u8], offset: usize) -> u32 {
            (self.word)(bytes[offset..offset + 4].try_into().unwrap())
        }

        fn next_classic(&mut self) -> Option<Frame<'a>> {
            let (header, rest) = self.rest.split_first_chunk::<16>()?;
            let (bytes, rest) = rest.split_at_checked(self.at(header, 8) as usize)?;
            self.rest = rest;
            let micros = i64::from(self.at(header, 0)) * 1_000_000 + i64::from(self.at(header, 4));
            let ts = Timestamp::from_micros(micros);
            Some(Frame { ts, link: self.links[0], wire_bytes: self.at(header, 12), bytes })
        }

        fn next_block(&mut self) -> Option<Frame<'a>> {
            const INTERFACE: u32 = 1;
            const ENHANCED_PACKET: u32 = 6;
            loop {
                let (header, _) = self.rest.split_first_chunk::<8>()?;
                let (block, rest) = self.rest.split_at_checked(self.at(header, 4) as usize)?;
                self.rest = rest;
                match self.at(header, 0) {
                    INTERFACE => {
                        // Two reserved bytes, always 0, follow: which half is which does not matter.
                        let link = self.at(block, 8);
                        self.links.push(LinkType((link | link >> 16) as u16));
                    }
                    ENHANCED_PACKET => {
                        let micros = i64::from(self.at(block, 12)) << 32 | i64::from(self.at(block, 16));
                        return Some(Frame {
                            ts: Timestamp::from_micros(micros),
                            link: self.links[self.at(block, 8) as usize],
                            wire_bytes: self.at(block, 24),
                            bytes: &block[28..28 + self.at(block, 20) as usize],
                        });
                    }
                    _ => {}
                }
            }
        }
    }

    impl<'a> Iterator for Capture<'a> {
        type Item = Frame<'a>;

        fn next(&mut self) -> Option<Frame<'a>> {
            match self.format {
                Format::Classic => self.next_classic(),
                Format::Blocks => self.next_block(),
            }
        }
    }
}
