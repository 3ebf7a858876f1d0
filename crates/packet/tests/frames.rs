//! Built frames of every link type and encapsulation, and what must come out of them.

mod build;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tapline_packet::{Decapsulate, DecodeOptions, Decoder, Profile, Skip, fuzz_decode};
    use tapline_record::{Frame, LinkType, PacketRecord, Timestamp, TunnelKind};

    use crate::build::*;

    fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
        Frame { ts: Timestamp::from_micros(1_000), link, wire_bytes: bytes.len() as u32, bytes }
    }

    fn decode_as(profile: Profile, link: LinkType, bytes: &[u8]) -> Result<PacketRecord, Skip> {
        let options = DecodeOptions { profile, ..DecodeOptions::default() };
        Decoder::new(options).decode(&frame(link, bytes), 5)
    }

    fn decode(link: LinkType, bytes: &[u8]) -> Result<PacketRecord, Skip> {
        decode_as(Profile::Tapline, link, bytes)
    }

    fn decode_eth(ethertype: u16, payload: &[u8]) -> Result<PacketRecord, Skip> {
        decode(LinkType::ETHERNET, &eth(ethertype, payload))
    }

    fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    }

    /// What `inner_v4` must always give.
    #[track_caller]
    fn check_v4(packet: Result<PacketRecord, Skip>) -> PacketRecord {
        let p = packet.unwrap();
        assert_eq!((p.src, p.dst, p.ip_version), (mapped(V4_A), mapped(V4_B), 4));
        assert_eq!((p.protocol, p.src_port, p.dst_port, p.ttl), (6, 40_000, 443, 64));
        assert_eq!((p.seq, p.ack, p.tcp_flags, p.window), (0x0102_0304, 0x0506_0708, 0x18, 0x1234));
        assert_eq!((p.ip_bytes, p.l4_header_bytes, p.payload_bytes), (62, 32, 10));
        assert_eq!((p.icmp_type, p.icmp_code, p.later_fragment), (0, 0, false));
        assert_eq!((p.ts.micros, p.ordinal), (1_000, 5));
        p
    }

    /// What `inner_v6` must always give.
    #[track_caller]
    fn check_v6(packet: Result<PacketRecord, Skip>) -> PacketRecord {
        let p = packet.unwrap();
        assert_eq!((p.src, p.dst, p.ip_version), (V6_A, V6_B, 6));
        assert_eq!((p.protocol, p.src_port, p.dst_port, p.ttl), (17, 5_353, 53, 63));
        assert_eq!((p.ip_bytes, p.l4_header_bytes, p.payload_bytes), (53, 8, 5));
        p
    }

    #[track_caller]
    fn check_tunnel(packet: Result<PacketRecord, Skip>, kind: TunnelKind, id: u32) {
        let p = check_v4(packet);
        assert_eq!((p.tunnel_kind, p.tunnel_id), (kind, id));
    }

    /// The outer packet is the record.
    #[track_caller]
    fn check_outer(packet: Result<PacketRecord, Skip>, protocol: u8) {
        let p = packet.unwrap();
        assert_eq!((p.src, p.dst, p.protocol), (mapped(OUTER_A), mapped(OUTER_B), protocol));
        assert_eq!((p.tunnel_kind, p.tunnel_id), (TunnelKind::None, 0));
    }

    #[test]
    fn ethernet_and_its_padding() {
        let p = check_v4(decode_eth(IPV4, &inner_v4()));
        assert_eq!((p.wire_bytes, p.vlan, p.tunnel_kind), (76, [0, 0], TunnelKind::None));
        check_v4(decode_eth(IPV4, &cat(&[&inner_v4(), &[0; 40]])));
        check_v6(decode_eth(IPV6, &cat(&[&inner_v6(), &[0; 40]])));
    }

    #[test]
    fn a_snap_length_changes_nothing() {
        let bytes = eth(IPV4, &inner_v4());
        let cut = Frame { bytes: &bytes[..54], ..frame(LinkType::ETHERNET, &bytes) };
        let p = Decoder::new(DecodeOptions::default()).decode(&cut, 5);
        assert_eq!(check_v4(p).wire_bytes, 76);
    }

    #[test]
    fn link_types() {
        let (v4, v6) = (inner_v4(), inner_v6());
        for link in [LinkType::RAW, LinkType::RAW_BSD, LinkType::RAW_OPENBSD] {
            check_v4(decode(link, &v4));
            check_v6(decode(link, &v6));
            assert_eq!(decode(link, &[0x50, 0]), Err(Skip::MalformedIp));
            assert_eq!(decode(link, &[]), Err(Skip::TruncatedIp));
        }
        check_v4(decode(LinkType::IPV4, &v4));
        check_v6(decode(LinkType::IPV6, &v6));
        assert_eq!(decode(LinkType::IPV4, &v6), Err(Skip::MalformedIp));
        assert_eq!(decode(LinkType::IPV6, &v4), Err(Skip::MalformedIp));

        check_v4(decode(LinkType::NULL, &cat(&[&[2, 0, 0, 0], &v4])));
        check_v4(decode(LinkType::NULL, &cat(&[&[0, 0, 0, 2], &v4])));
        check_v4(decode(LinkType::LOOP, &cat(&[&[0, 0, 0, 2], &v4])));
        for family in [10, 24, 28, 30] {
            check_v6(decode(LinkType::NULL, &cat(&[&[family, 0, 0, 0], &v6])));
        }
        assert_eq!(decode(LinkType::NULL, &cat(&[&[7, 0, 0, 0], &v4])), Err(Skip::OtherEthertype));

        check_v4(decode(LinkType::PPP, &cat(&[&[0xff, 3, 0, 0x21], &v4])));
        check_v4(decode(LinkType::PPP, &cat(&[&[0, 0x21], &v4])));
        check_v6(decode(LinkType::PPP, &cat(&[&[0x57], &v6])));
        check_v4(decode(LinkType::PPP, &cat(&[&[0x02, 0x81], &label(9, true, &v4)])));
        assert_eq!(decode(LinkType::PPP, &[0xff, 3, 0xc0, 0x21, 1]), Err(Skip::PppControl));
        assert_eq!(decode(LinkType::PPP, &[0xff, 3, 0, 0xfd, 1]), Err(Skip::OtherEthertype));
        check_v4(decode(LinkType::PPP_HDLC, &cat(&[&[0xff, 3, 0, 0x21], &v4])));
        check_v4(decode(LinkType::PPP_HDLC, &cat(&[&[0x0f, 0, 8, 0], &v4])));
        check_v6(decode(LinkType::PPP_HDLC, &cat(&[&[0x8f, 0, 0x86, 0xdd], &v6])));
        check_v4(decode(LinkType::PPP_ETHER, &pppoe(0, 0x21, &v4)));
        assert_eq!(decode(LinkType::PPP_ETHER, &pppoe(7, 0x21, &v4)), Err(Skip::PppControl));

        check_v4(decode(LinkType::LINUX_SLL, &cat(&[&[0; 14], &IPV4.to_be_bytes(), &v4])));
        let p = check_v6(decode(
            LinkType::LINUX_SLL,
            &cat(&[&[0; 14], &0x8100_u16.to_be_bytes(), &tag(7, IPV6, &v6)]),
        ));
        assert_eq!(p.vlan, [7, 0]);
        check_v6(decode(LinkType::LINUX_SLL2, &cat(&[&IPV6.to_be_bytes(), &[0; 18], &v6])));
        assert_eq!(decode(LinkType(147), &v4), Err(Skip::UnsupportedLinkType));
    }

    #[test]
    fn ieee802_11() {
        let body = snap(IPV4, &inner_v4());
        let data = |control: [u8; 2], between: &[u8]| cat(&[&control, &[0; 22], between, &body]);
        let check = |bytes: &[u8]| {
            check_v4(decode(LinkType::IEEE802_11, bytes));
            // Radiotap: TSFT and flags (checksum at the end), a second presence word, aligned to 8.
            let header = [0, 0, 25, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10];
            check_v4(decode(LinkType::IEEE802_11_RADIOTAP, &cat(&[&header, bytes, &[0xfc; 4]])));
        };
        check(&data([0x08, 0x01], &[])); // To the access point.
        check(&data([0x08, 0x02], &[]));
        check(&data([0x08, 0x03], &[0; 6])); // Four addresses.
        check(&data([0x88, 0x02], &[0; 2])); // QoS.
        check(&data([0x88, 0x83], &[0; 12])); // QoS, four addresses, HT control.
        let subframe = cat(&[&[0x80, 0], &[0; 12], &(body.len() as u16).to_be_bytes()]);
        check(&data([0x88, 0x01], &subframe)); // An aggregate.

        let padded = cat(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0x20], &data([0x88, 0x01], &[0; 4])]);
        check_v4(decode(LinkType::IEEE802_11_RADIOTAP, &padded));
        let bad = cat(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0x40], &data([0x08, 0x01], &[])]);
        assert_eq!(decode(LinkType::IEEE802_11_RADIOTAP, &bad), Err(Skip::Ieee802_11BadFcs));

        let skip = |bytes: &[u8], expect| assert_eq!(decode(LinkType::IEEE802_11, bytes), Err(expect));
        skip(&data([0x80, 0], &[]), Skip::Ieee802_11NotData); // Beacon.
        skip(&data([0x48, 1], &[]), Skip::Ieee802_11NotData); // Null.
        skip(&data([0x08, 0x41], &[]), Skip::Ieee802_11Encrypted);
        skip(&data([0x08, 0x01], &[])[..27], Skip::TruncatedLink);
    }

    #[test]
    fn vlan_tags() {
        let ip = inner_v4();
        let vlan = |ethertype, payload: &[u8]| check_v4(decode_eth(ethertype, payload)).vlan;
        assert_eq!(vlan(0x8100, &tag(5, IPV4, &ip)), [5, 0]);
        assert_eq!(vlan(0x88a8, &tag(5, 0x8100, &tag(6, IPV4, &ip))), [5, 6]);
        assert_eq!(vlan(0x9100, &tag(5, 0x8100, &tag(6, 0x8100, &tag(7, IPV4, &ip)))), [5, 6]);
        assert_eq!(vlan(0x8100, &tag(0, IPV4, &ip)), [0, 0], "a priority tag is no vlan");
        let mut deep = tag(1, IPV4, &ip);
        for _ in 0..7 {
            deep = tag(1, 0x8100, &deep);
        }
        assert_eq!(vlan(0x8100, &deep), [1, 1]);
        assert_eq!(decode_eth(0x8100, &tag(1, 0x8100, &deep)), Err(Skip::NestedTooDeep));
        assert_eq!(decode_eth(0x8100, &[0, 1, 8]), Err(Skip::TruncatedLink));
    }

    #[test]
    fn mpls_pppoe_and_llc() {
        check_v4(decode_eth(0x8847, &label(100, false, &label(200, true, &inner_v4()))));
        check_v6(decode_eth(0x8848, &label(200, true, &inner_v6())));
        let inner_frame = eth(0x8100, &tag(9, IPV4, &inner_v4()));
        let pseudowire = label(300, true, &cat(&[&[0; 4], &inner_frame]));
        assert_eq!(check_v4(decode_eth(0x8847, &pseudowire)).vlan, [9, 0]);
        let p = check_v4(decode_eth(0x8100, &tag(4, 0x8847, &pseudowire)));
        assert_eq!(p.vlan, [4, 0], "the tags of the outermost frame");
        check_v4(decode_eth(0x8847, &label(300, true, &inner_frame))); // Without control word, address 02:...
        assert_eq!(decode_eth(0x8847, &label(1, true, &[0x10, 0, 0, 7, 1])), Err(Skip::OtherEthertype));
        let nested = label(300, true, &eth(0x8847, &label(301, true, &inner_frame)));
        check_v4(decode_eth(0x8847, &nested));
        let endless = label(1, false, &[0; 0]).repeat(20);
        assert_eq!(decode_eth(0x8847, &endless), Err(Skip::NestedTooDeep));

        check_v4(decode_eth(0x8864, &pppoe(0, 0x21, &inner_v4())));
        check_v6(decode_eth(0x8864, &pppoe(0, 0x57, &cat(&[&inner_v6(), &[0; 9]]))));
        assert_eq!(decode_eth(0x8864, &pppoe(0, 0xc021, &[1, 1, 0, 4])), Err(Skip::PppControl));

        let llc = snap(IPV4, &inner_v4());
        check_v4(decode_eth(llc.len() as u16, &llc));
        let llc = cat(&[&[6, 6, 3], &inner_v4()]);
        check_v4(decode_eth(llc.len() as u16, &llc));
    }

    #[test]
    fn frames_without_ip_say_what_they_are() {
        let check = |ethertype, payload: &[u8], expect| {
            assert_eq!(decode_eth(ethertype, payload), Err(expect));
            for profile in [Profile::Cic2018, Profile::CicHead, Profile::CicGints] {
                let skip = decode_as(profile, LinkType::ETHERNET, &eth(ethertype, payload));
                assert_eq!(skip, Err(expect));
            }
        };
        check(0x0806, &[0; 28], Skip::Arp);
        check(0x8035, &[0; 28], Skip::Arp);
        check(39, &[0x42, 0x42, 3, 0, 0], Skip::Llc);
        check(0x88cc, &[0; 46], Skip::Lldp);
        check(0x8863, &[0x11, 9, 0, 0, 0, 0], Skip::PppControl);
        check(0x88e5, &[0; 46], Skip::Macsec);
        check(0x8892, &[0; 46], Skip::IndustrialEthernet);
        check(0x88b8, &[0; 46], Skip::IndustrialEthernet);
        check(0x1234, &[0; 46], Skip::OtherEthertype);
        assert_eq!(decode(LinkType::ETHERNET, &[0; 13]), Err(Skip::TruncatedLink));
    }

    #[test]
    fn ipv4_lengths_and_options() {
        let ip = inner_v4();
        let mut options = cat(&[&ip[..20], &[1; 8], &ip[20..]]);
        options[0] = 0x47;
        options[3] += 8;
        let p = decode_eth(IPV4, &options).unwrap();
        assert_eq!((p.ip_bytes, p.l4_header_bytes, p.payload_bytes, p.dst_port), (70, 32, 10, 443));

        let with = |at: usize, bytes: &[u8]| {
            let mut ip = ip.clone();
            ip[at..at + bytes.len()].copy_from_slice(bytes);
            ip
        };
        let p = decode_eth(IPV4, &with(2, &[0, 0])).unwrap();
        assert_eq!((p.ip_bytes, p.payload_bytes), (62, 10), "offload: the wire length stands in");
        let p = decode_eth(IPV4, &with(2, &[0xff, 0xff])).unwrap();
        assert_eq!((p.ip_bytes, p.payload_bytes), (62, 10), "no more than the wire carried");
        let p = decode_eth(IPV4, &with(32, &[0x30])).unwrap();
        assert_eq!((p.l4_header_bytes, p.payload_bytes), (20, 22), "data offset below 5");
        let p = decode_eth(IPV4, &with(32, &[0xf0])).unwrap();
        assert_eq!((p.l4_header_bytes, p.payload_bytes), (42, 0), "data offset beyond the packet");

        assert_eq!(decode_eth(IPV4, &with(2, &[0, 19])), Err(Skip::MalformedIp));
        assert_eq!(decode_eth(IPV4, &with(0, &[0x44])), Err(Skip::MalformedIp));
        assert_eq!(decode_eth(IPV4, &with(0, &[0x65])), Err(Skip::MalformedIp));
        assert_eq!(decode_eth(IPV4, &ip[..19]), Err(Skip::TruncatedIp));
        assert_eq!(decode_eth(IPV4, &with(0, &[0x4f])[..59]), Err(Skip::TruncatedIp));
        assert_eq!(decode_eth(IPV4, &ip[..39]), Err(Skip::TruncatedTransport));
        // The padding of a short packet is no TCP header.
        let short = cat(&[&v4(6, V4_A, V4_B, &[0; 8]), &[0; 18]]);
        assert_eq!(decode_eth(IPV4, &short), Err(Skip::TruncatedTransport));
    }

    #[test]
    fn ipv6_lengths() {
        let ip = inner_v6();
        let mut zero = ip.clone();
        zero[5] = 0;
        check_v6(decode_eth(IPV6, &zero));
        let p = decode_eth(IPV6, &cat(&[&v6(59, V6_A, V6_B, &[]), &[0; 6]])).unwrap();
        assert_eq!((p.protocol, p.ip_bytes, p.payload_bytes), (59, 40, 0));
        let jumbo = [17, 0, 0xc2, 4, 0, 0, 0, 21];
        let mut packet = v6(0, V6_A, V6_B, &cat(&[&jumbo, &ip[40..], &[0; 30]]));
        packet[4..6].copy_from_slice(&[0, 0]);
        let p = decode_eth(IPV6, &packet).unwrap();
        assert_eq!((p.ip_bytes, p.payload_bytes, p.dst_port), (61, 5, 53));
        assert_eq!(decode_eth(IPV6, &ip[..39]), Err(Skip::TruncatedIp));
        assert_eq!(decode_eth(IPV6, &inner_v4()), Err(Skip::MalformedIp));
    }

    #[test]
    fn ipv6_extension_headers() {
        let udp = udp(5_353, 53, &[7; 5]);
        let check = |first: u8, headers: &[u8]| {
            let p = decode_eth(IPV6, &v6(first, V6_A, V6_B, &cat(&[headers, &udp]))).unwrap();
            assert_eq!((p.protocol, p.dst_port, p.l4_header_bytes, p.payload_bytes), (17, 53, 8, 5));
            assert_eq!(p.ip_bytes as usize, 40 + headers.len() + 13);
        };
        check(0, &[17, 0, 1, 4, 0, 0, 0, 0]);
        check(43, &[60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
        check(51, &[17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]);
        check(44, &[17, 0, 0, 0, 0, 0, 0, 9]); // Atomic fragment.
        let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(8);
        chain[56] = 17;
        check(60, &chain);
        let chain = cat(&[&[60, 0, 1, 4, 0, 0, 0, 0].repeat(9), &udp]);
        assert_eq!(decode_eth(IPV6, &v6(60, V6_A, V6_B, &chain)), Err(Skip::NestedTooDeep));
        let past_the_end = v6(60, V6_A, V6_B, &[17, 9, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode_eth(IPV6, &past_the_end), Err(Skip::MalformedIp));
        let bytes = eth(IPV6, &v6(60, V6_A, V6_B, &[17; 200]));
        let cut = Frame { bytes: &bytes[..80], ..frame(LinkType::ETHERNET, &bytes) };
        assert_eq!(Decoder::new(DecodeOptions::default()).decode(&cut, 0), Err(Skip::TruncatedIp));
    }

    #[test]
    fn other_transports() {
        let check = |protocol, payload: &[u8], l4: (u16, u32), ports: (u16, u16), icmp: (u8, u8)| {
            for packet in [
                decode_eth(IPV4, &v4(protocol, V4_A, V4_B, payload)),
                decode_eth(IPV6, &v6(protocol, V6_A, V6_B, payload)),
            ] {
                let p = packet.unwrap();
                assert_eq!((p.l4_header_bytes, p.payload_bytes), l4);
                assert_eq!((p.src_port, p.dst_port), ports);
                assert_eq!((p.icmp_type, p.icmp_code), icmp);
                assert_eq!(p.protocol, protocol);
            }
        };
        check(1, &[3, 1, 0, 0, 0, 0, 0, 0, 9, 9], (8, 2), (0, 0), (3, 1));
        check(58, &[128, 0, 0, 0, 0, 1], (6, 0), (0, 0), (128, 0));
        check(132, &cat(&[&[0, 80, 0, 81], &[0; 24]]), (12, 16), (80, 81), (0, 0));
        check(2, &[0x16; 8], (0, 8), (0, 0), (0, 0));
        check(50, &[1; 30], (0, 30), (0, 0), (0, 0));
        for (protocol, bytes) in [(1, 3), (58, 3), (17, 7), (132, 11), (6, 19)] {
            let packet = v4(protocol, V4_A, V4_B, &vec![0; bytes]);
            assert_eq!(decode_eth(IPV4, &packet), Err(Skip::TruncatedTransport));
        }
        let ah = cat(&[&[17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &udp(1, 2, &[0; 4])]);
        let p = decode_eth(IPV4, &v4(51, V4_A, V4_B, &ah)).unwrap();
        assert_eq!((p.protocol, p.dst_port, p.payload_bytes), (17, 2, 4));
    }

    #[test]
    fn fragments_join_their_first() {
        let mut decoder = Decoder::new(DecodeOptions::default());
        let mut decode = |at_s: i64, bytes: &[u8]| {
            let ts = Timestamp::from_micros(at_s * 1_000_000);
            decoder.decode(&Frame { ts, ..frame(LinkType::ETHERNET, bytes) }, 0).unwrap()
        };
        let first = v4_fragment(17, V4_A, V4_B, 7, 0x2000, &udp(1_000, 53, &[0; 16]));
        let later = |id, offset| eth(IPV4, &v4_fragment(17, V4_A, V4_B, id, offset, &[9; 24]));

        let orphan = decode(0, &later(7, 3));
        assert_eq!((orphan.src_port, orphan.later_fragment, orphan.payload_bytes), (0, true, 24));
        let p = decode(1, &eth(IPV4, &first));
        assert_eq!((p.src_port, p.dst_port, p.later_fragment, p.payload_bytes), (1_000, 53, false, 16));
        let p = decode(2, &later(7, 0x2003));
        assert_eq!((p.src_port, p.dst_port, p.later_fragment), (1_000, 53, true));
        assert_eq!((p.l4_header_bytes, p.payload_bytes, p.ip_bytes), (0, 24, 44));
        assert_eq!(decode(2, &later(8, 3)).src_port, 0, "another packet");
        assert_eq!(decode(40, &later(7, 3)).src_port, 0, "too late");

        // IPv6: the fragments need not name the same next header.
        let fragment = |next: u8, word: u16, payload: &[u8]| {
            let header = cat(&[&[next, 0], &word.to_be_bytes(), &[0, 1, 0, 7]]);
            eth(IPV6, &v6(44, V6_A, V6_B, &cat(&[&header, payload])))
        };
        let options = cat(&[&[17, 0, 1, 4, 0, 0, 0, 0], &udp(2_000, 53, &[0; 8])]);
        assert_eq!(decode(50, &fragment(60, 1, &options)).src_port, 2_000);
        let p = decode(50, &fragment(60, 3 << 3, &[9; 24]));
        assert_eq!((p.src_port, p.protocol, p.payload_bytes), (2_000, 17, 24));

        let counters = decoder.counters();
        let counts = (counters.fragments_first, counters.fragments_joined, counters.fragments_orphan);
        assert_eq!(counts, (2, 2, 3));
    }

    #[test]
    fn ip_in_ip() {
        let kind = TunnelKind::IpInIp;
        check_tunnel(decode_eth(IPV4, &outer(4, &inner_v4())), kind, 0);
        assert_eq!(check_v6(decode_eth(IPV4, &outer(41, &inner_v6()))).tunnel_kind, kind);
        check_tunnel(decode_eth(IPV6, &v6(4, V6_B, V6_A, &inner_v4())), kind, 0);
        check_outer(decode_eth(IPV4, &outer(4, &inner_v6())), 4);
        check_outer(decode_eth(IPV4, &outer(4, &inner_v4()[..30])), 4);
        check_outer(decode_eth(IPV4, &outer(4, &[])), 4);
    }

    #[test]
    fn gre() {
        let ip = inner_v4();
        let gre = |header: &[u8], carried: &[u8]| decode_eth(IPV4, &outer(47, &cat(&[header, carried])));
        check_tunnel(gre(&[0, 0, 8, 0], &ip), TunnelKind::Gre, 0);
        check_tunnel(
            gre(&[0xb0, 0, 8, 0, 1, 2, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1], &ip),
            TunnelKind::Gre,
            0x1_0203,
        );
        check_tunnel(gre(&[0x20, 0, 0x65, 0x58, 0, 1, 2, 0], &eth(IPV4, &ip)), TunnelKind::Gre, 0x1_0200);
        check_tunnel(gre(&[0, 0, 0x88, 0x47], &label(5, true, &ip)), TunnelKind::Gre, 0);
        check_tunnel(
            gre(&[0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21], &ip),
            TunnelKind::Gre,
            0,
        );
        check_outer(gre(&[0x40, 0, 8, 0], &ip), 47); // Source routes.
        check_outer(gre(&[0, 0, 0x12, 0x34], &ip), 47);
        check_outer(gre(&[0, 7, 8, 0], &ip), 47);
        check_outer(gre(&[0x20, 0, 8], &[]), 47);

        let kind = TunnelKind::Erspan;
        let mirrored = eth(0x8100, &tag(3, IPV4, &ip));
        check_tunnel(gre(&[0, 0, 0x88, 0xbe], &mirrored), kind, 0);
        let ii = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0xf9, 0x23, 0, 0, 0, 1];
        check_tunnel(gre(&ii, &mirrored), kind, 0x123);
        let mut iii = vec![0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0];
        check_tunnel(gre(&iii, &mirrored), kind, 77);
        iii[19] = 1;
        check_tunnel(gre(&iii, &cat(&[&[0; 8], &mirrored])), kind, 77);
        iii[19] = 0;
        iii[18] = 2 << 2;
        check_tunnel(gre(&iii, &ip), kind, 77);
    }

    #[test]
    fn udp_tunnels() {
        let ip = inner_v4();
        let decode = |port, carried: &[u8]| decode_eth(IPV4, &outer_udp(port, carried));
        let in_vxlan = vxlan(0x01_0203, &eth(IPV4, &ip));
        check_tunnel(decode(4789, &in_vxlan), TunnelKind::Vxlan, 0x01_0203);
        check_tunnel(decode(8472, &in_vxlan), TunnelKind::Vxlan, 0x01_0203);
        check_outer(decode(4790, &in_vxlan), 17);
        check_outer(decode(4789, &cat(&[&[0; 8], &eth(IPV4, &ip)])), 17);
        check_outer(decode(4789, &vxlan(1, &eth(0x0806, &[0; 28]))), 17);
        let tagged = vxlan(1, &eth(0x8100, &tag(12, IPV4, &ip)));
        assert_eq!(check_v4(decode(4789, &tagged)).vlan, [12, 0]);
        let p = check_v4(decode_eth(0x8100, &tag(4, IPV4, &outer_udp(4789, &tagged))));
        assert_eq!(p.vlan, [4, 0]);

        let geneve = [2, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 3, 1, 0, 0, 0, 0];
        check_tunnel(decode(6081, &cat(&[&geneve, &eth(IPV4, &ip)])), TunnelKind::Geneve, 9);
        check_tunnel(decode(6081, &cat(&[&[0, 0, 8, 0, 0, 0, 9, 0], &ip])), TunnelKind::Geneve, 9);
        check_outer(decode(6081, &cat(&[&[0x40, 0, 8, 0, 0, 0, 9, 0], &ip])), 17);

        check_tunnel(decode(2152, &cat(&[&[0x30, 255, 0, 62, 0, 0, 1, 0], &ip])), TunnelKind::Gtpu, 256);
        let extended = [0x34, 255, 0, 70, 0, 0, 0, 5, 0, 0, 0, 0x85, 1, 0x10, 9, 0x85, 1, 0, 1, 0];
        check_tunnel(decode(2152, &cat(&[&extended, &ip])), TunnelKind::Gtpu, 5);
        check_tunnel(
            decode(2152, &cat(&[&[0x32, 255, 0, 66, 0, 0, 0, 5, 0, 7, 0, 9], &ip])),
            TunnelKind::Gtpu,
            5,
        );
        check_outer(decode(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 7, 0, 0]), 17); // Echo.
        check_outer(decode(2152, &[0x34, 255, 0, 4, 0, 0, 0, 0, 0, 7, 0, 0x85, 0]), 17);

        let mut client = V6_A;
        client[..4].copy_from_slice(&[0x20, 1, 0, 0]);
        let inner = v6(17, client, V6_B, &udp(1, 53, &[0; 5]));
        for header in [
            &[][..],
            &[0, 0, 1, 2, 3, 4, 5, 6],
            &[0, 1, 1, 2, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6],
        ] {
            let p = decode(3544, &cat(&[header, &inner])).unwrap();
            assert_eq!((p.src, p.dst_port, p.tunnel_kind), (client, 53, TunnelKind::Teredo));
        }
        check_outer(decode(3544, &inner_v6()), 17); // No Teredo address.
        check_outer(decode(3544, &inner[..50]), 17);
    }

    #[test]
    fn each_encapsulation_can_be_left_on() {
        let ip = inner_v4();
        let gre = |header: &[u8]| outer(47, &cat(&[header, &eth(IPV4, &ip)]));
        let on = Decapsulate::default();
        for (options, packet, protocol) in [
            (Decapsulate { ipip: false, ..on }, outer(4, &ip), 4),
            (Decapsulate { gre: false, ..on }, gre(&[0, 0, 0x65, 0x58]), 47),
            (Decapsulate { erspan: false, ..on }, gre(&[0, 0, 0x88, 0xbe]), 47),
            (Decapsulate { vxlan: false, ..on }, outer_udp(4789, &vxlan(1, &eth(IPV4, &ip))), 17),
            (
                Decapsulate { geneve: false, ..on },
                outer_udp(6081, &cat(&[&[0, 0, 8, 0, 0, 0, 9, 0], &ip])),
                17,
            ),
            (
                Decapsulate { gtpu: false, ..on },
                outer_udp(2152, &cat(&[&[0x30, 255, 0, 62, 0, 0, 1, 0], &ip])),
                17,
            ),
        ] {
            check_v4(decode_eth(IPV4, &packet));
            let bytes = eth(IPV4, &packet);
            for decapsulate in [options, Decapsulate::NONE] {
                let options = DecodeOptions { decapsulate, ..DecodeOptions::default() };
                check_outer(Decoder::new(options).decode(&frame(LinkType::ETHERNET, &bytes), 0), protocol);
            }
        }
    }

    #[test]
    fn tunnels_in_tunnels() {
        let mut decoder = Decoder::new(DecodeOptions::default());
        let both = outer(47, &cat(&[&[0, 0, 8, 0], &outer_udp(4789, &vxlan(7, &eth(IPV4, &inner_v4())))]));
        let bytes = eth(IPV4, &both);
        check_tunnel(decoder.decode(&frame(LinkType::ETHERNET, &bytes), 5), TunnelKind::Vxlan, 7);
        assert_eq!((decoder.counters().decapsulated.gre, decoder.counters().decapsulated.vxlan), (1, 1));

        let mut deep = inner_v4();
        for _ in 0..8 {
            deep = outer(4, &deep);
        }
        let bytes = eth(IPV4, &deep);
        check_tunnel(decoder.decode(&frame(LinkType::ETHERNET, &bytes), 5), TunnelKind::IpInIp, 0);
        assert_eq!(decoder.counters().tunnels_too_deep, 0);
        let bytes = eth(IPV4, &outer(4, &deep));
        let p = decoder.decode(&frame(LinkType::ETHERNET, &bytes), 5).unwrap();
        assert_eq!((p.src, p.protocol), (mapped(OUTER_A), 4));
        assert_eq!(decoder.counters().tunnels_too_deep, 1);
    }

    #[test]
    fn counters_name_what_was_mended() {
        let mut decoder = Decoder::new(DecodeOptions::default());
        let mut decode = |ip: &[u8]| decoder.decode(&frame(LinkType::RAW, ip), 0).unwrap();
        let mut ip = inner_v4();
        ip[3] = 0;
        decode(&ip);
        ip[3] = 200;
        decode(&ip);
        decode(&outer(4, &[0x45; 10]));
        let counters = decoder.counters();
        assert_eq!(
            (counters.ip_length_zero, counters.ip_length_clipped, counters.inner_undecoded),
            (1, 1, 1)
        );
        let mut sum = *counters;
        sum.add(counters);
        assert_eq!((sum.ip_length_zero, sum.inner_undecoded), (2, 2));
    }

    #[test]
    fn cic_profiles() {
        let all = [Profile::Cic2018, Profile::CicHead, Profile::CicGints];
        for profile in all {
            let decode = |bytes: &[u8]| decode_as(profile, LinkType::ETHERNET, bytes);
            let p = check_v4(decode(&cat(&[&eth(IPV4, &inner_v4()), &[0; 9]])));
            assert_eq!(p.tunnel_kind, TunnelKind::None);
            check_v4(decode(&eth(0x8100, &tag(5, 0x88a8, &tag(6, IPV4, &inner_v4())))));
            let p = decode(&eth(IPV4, &inner_v4())[..70]).unwrap();
            assert_eq!(p.payload_bytes, 4, "captured bytes count");
            let p = decode(&eth(IPV4, &inner_v4())[..53]).unwrap();
            assert_eq!((p.protocol, p.src_port, p.l4_header_bytes), (0, 0, 0));
            let p = decode(&eth(IPV4, &outer_udp(4789, &vxlan(1, &eth(IPV4, &inner_v4()))))).unwrap();
            assert_eq!((p.protocol, p.dst_port, p.src), (17, 4789, mapped(OUTER_A)));
            let later = v4_fragment(17, V4_A, V4_B, 7, 3, &[9; 24]);
            let p = decode(&eth(IPV4, &later)).unwrap();
            assert_eq!((p.protocol, p.src_port, p.payload_bytes, p.later_fragment), (0, 0, 0, true));
            assert_eq!(decode(&eth(IPV6, &inner_v6())), Err(Skip::NotIpv4));
            assert_eq!(decode(&eth(0x8847, &label(1, true, &inner_v4()))), Err(Skip::OtherEthertype));
            assert_eq!(decode(&eth(0x8864, &pppoe(0, 0x21, &inner_v4()))), Err(Skip::OtherEthertype));
            assert_eq!(decode(&eth(IPV4, &inner_v4()[..19])), Err(Skip::TruncatedIp));
            check_v4(decode_as(profile, LinkType::RAW, &inner_v4()));

            let gints = profile == Profile::CicGints;
            for (number, gints_number) in [(1, 1), (2, 2), (132, 132), (50, 0), (58, 0)] {
                let p = decode(&eth(IPV4, &v4(number, V4_A, V4_B, &[8, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])))
                    .unwrap();
                assert_eq!(p.protocol, if gints { gints_number } else { 0 });
                assert_eq!((p.src_port, p.dst_port, p.l4_header_bytes, p.payload_bytes), (0, 0, 0, 0));
                let icmp = if gints && number == 1 { (8, 3) } else { (0, 0) };
                assert_eq!((p.icmp_type, p.icmp_code), icmp);
            }
            let icmp = decode(&eth(IPV4, &v4(1, V4_A, V4_B, &[8])));
            assert_eq!(icmp.is_err(), gints);
        }
    }

    /// One frame of each kind above, with its link type.
    fn gallery() -> Vec<(LinkType, Vec<u8>)> {
        let (ip, ip6) = (inner_v4(), inner_v6());
        let frames = [
            eth(IPV4, &ip),
            eth(IPV6, &ip6),
            eth(0x8100, &tag(5, 0x8100, &tag(6, IPV4, &ip))),
            eth(0x8847, &label(1, true, &cat(&[&[0; 4], &eth(IPV4, &ip)]))),
            eth(0x8864, &pppoe(0, 0x57, &ip6)),
            eth(70, &snap(IPV4, &ip)),
            eth(
                IPV6,
                &v6(0, V6_A, V6_B, &cat(&[&[44, 0, 0xc2, 4, 0, 0, 0, 9, 17, 0, 0, 1, 0, 0, 0, 9], &[0; 16]])),
            ),
            eth(IPV4, &v4_fragment(17, V4_A, V4_B, 7, 0x2000, &[0; 24])),
            eth(IPV4, &v4_fragment(17, V4_A, V4_B, 7, 3, &[0; 24])),
            eth(IPV4, &v4(51, V4_A, V4_B, &[17; 90])),
            eth(IPV4, &outer(41, &ip6)),
            eth(IPV4, &outer(47, &cat(&[&[0x30, 0, 0x22, 0xeb], &[0; 20], &eth(IPV4, &ip)]))),
            eth(IPV4, &outer_udp(4789, &vxlan(1, &eth(IPV6, &ip6)))),
            eth(IPV4, &outer_udp(6081, &cat(&[&[1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0], &ip]))),
            eth(IPV4, &outer_udp(2152, &cat(&[&[0x34, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0], &ip]))),
            eth(IPV4, &outer_udp(3544, &cat(&[&[0, 1, 0, 0], &[0; 17], &ip6]))),
        ];
        let mut gallery: Vec<_> = frames.into_iter().map(|bytes| (LinkType::ETHERNET, bytes)).collect();
        let data = cat(&[&[0x88, 1], &[0; 24], &snap(IPV4, &ip)]);
        let radiotap = cat(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0x10], &data]);
        gallery.push((LinkType::IEEE802_11, data));
        gallery.push((LinkType::IEEE802_11_RADIOTAP, radiotap));
        gallery.push((LinkType::PPP, cat(&[&[0xff, 3, 0, 0x21], &ip])));
        gallery.push((LinkType::LINUX_SLL, cat(&[&[0; 14], &IPV4.to_be_bytes(), &ip])));
        gallery.push((LinkType::RAW, ip));
        gallery
    }

    const PROFILES: [Profile; 4] = [Profile::Tapline, Profile::Cic2018, Profile::CicHead, Profile::CicGints];

    #[test]
    fn no_prefix_of_a_frame_panics() {
        for (link, bytes) in gallery() {
            for profile in PROFILES {
                for end in 0..=bytes.len() {
                    let cut = Frame { bytes: &bytes[..end], ..frame(link, &bytes) };
                    let options = DecodeOptions { profile, ..DecodeOptions::default() };
                    let _ = Decoder::new(options).decode(&cut, 0);
                    let _ = decode_as(profile, link, &bytes[..end]);
                }
            }
        }
    }

    /// The record of a snap-length-cut frame is the record of the whole frame, or there is none; only a tunnel's outer
    /// packet may stand in where the inner headers are cut off.
    #[test]
    fn a_cut_frame_is_not_read_differently() {
        for (link, bytes) in gallery() {
            let Ok(whole) = decode(link, &bytes) else { continue };
            for end in 0..bytes.len() {
                let cut = Frame { bytes: &bytes[..end], ..frame(link, &bytes) };
                if let Ok(part) = Decoder::new(DecodeOptions::default()).decode(&cut, 5)
                    && part.tunnel_kind == whole.tunnel_kind
                    && part.protocol == whole.protocol
                {
                    assert_eq!(part, whole, "cut at {end}");
                }
            }
        }
    }

    fn mirror(p: PacketRecord) -> PacketRecord {
        PacketRecord { src: p.dst, dst: p.src, src_port: p.dst_port, dst_port: p.src_port, ..p }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz_decode(&data);
        }

        #[test]
        fn no_flipped_bits_panic(
            which in 0..gallery().len(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            mode in 0_u8..4,
            cut in any::<u8>(),
        ) {
            let (link, mut bytes) = gallery().swap_remove(which);
            for (at, mask) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            for profile in PROFILES {
                let _ = decode_as(profile, link, &bytes);
            }
            fuzz_decode(&cat(&[&[0, mode, cut], &bytes]));
        }

        #[test]
        fn a_mirrored_frame_mirrors_the_record(
            src in any::<[u8; 4]>(),
            dst in any::<[u8; 4]>(),
            ports in any::<(u16, u16)>(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
            v6_packet in any::<bool>(),
            transport in prop::sample::select(vec![6_u8, 17, 132]),
        ) {
            // Tunnels are told by the destination port.
            let decapsulate = Decapsulate::NONE;
            let mut decoder = Decoder::new(DecodeOptions { decapsulate, ..DecodeOptions::default() });
            let mut decode = |src: [u8; 4], dst: [u8; 4], ports: (u16, u16)| {
                let rest = match transport { 6 => tcp(0x10, &payload)[4..].to_vec(), _ => cat(&[&[0; 8], &payload]) };
                let segment = cat(&[&ports.0.to_be_bytes(), &ports.1.to_be_bytes(), &rest]);
                let bytes = if v6_packet {
                    eth(IPV6, &v6(transport, mapped(src), mapped(dst), &segment))
                } else {
                    eth(IPV4, &v4(transport, src, dst, &segment))
                };
                decoder.decode(&frame(LinkType::ETHERNET, &bytes), 0)
            };
            let there = decode(src, dst, ports).unwrap();
            let back = decode(dst, src, (ports.1, ports.0)).unwrap();
            prop_assert_eq!(mirror(there), back);
            prop_assert_eq!((there.src_port, there.dst_port), ports);
        }
    }
}
