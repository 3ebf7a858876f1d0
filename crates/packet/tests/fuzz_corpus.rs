//! The corpus of the fuzz target `frame_decode`, replayed.

#[cfg(test)]
mod build;
#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use crate::build::*;
    use crate::replay;

    #[test]
    fn frame_decode() {
        replay::replay("frame_decode", 20_000, tapline_packet::fuzz_decode);
    }

    #[test]
    #[ignore = "writes to fuzz/corpus: run it after a change to the seeds"]
    fn write_seeds() {
        // Link type, profile and missing bytes by number, as `fuzz_decode` reads them.
        let seed = |link: u8, profile: u8, cut: u8, frame: &[u8]| cat(&[&[link, profile, cut], frame]);
        let ethernet = |ethertype: u16, packet: &[u8]| seed(0, 0, 0, &eth(ethertype, packet));
        let v4_frame = eth(IPV4, &cat(&[&inner_v4(), &[0; 6]]));
        let tunnel = |packet: &[u8]| ethernet(IPV4, packet);
        let gre = |protocol: u16, flags: u8, rest: &[u8]| {
            outer(47, &cat(&[&[flags, 0], &protocol.to_be_bytes(), rest]))
        };
        replay::write_seeds(
            "frame_decode",
            &[
                ("tcp_v4", seed(0, 0, 0, &v4_frame)),
                ("tcp_v4_cut", seed(0, 0, 40, &v4_frame[..60])),
                ("tcp_v4_as_cic_2018", seed(0, 1, 0, &v4_frame)),
                ("tcp_v4_as_cic_head", seed(0, 2, 0, &v4_frame)),
                ("tcp_v4_as_cic_gints", seed(0, 3, 0, &v4_frame)),
                (
                    "icmp_as_cic_gints",
                    seed(0, 3, 0, &eth(IPV4, &v4(1, V4_A, V4_B, &[8, 0, 0, 0, 0, 1, 0, 1]))),
                ),
                ("udp_v6", ethernet(IPV6, &inner_v6())),
                ("icmp_v6", ethernet(IPV6, &v6(58, V6_A, V6_B, &[128, 0, 0, 0, 0, 1, 0, 1]))),
                ("sctp", ethernet(IPV4, &v4(132, V4_A, V4_B, &[0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0]))),
                ("first_fragment", ethernet(IPV4, &v4_fragment(6, V4_A, V4_B, 7, 0x2000, &tcp(2, &[])))),
                ("later_fragment", ethernet(IPV4, &v4_fragment(6, V4_A, V4_B, 7, 3, &[1; 16]))),
                (
                    "v6_extensions",
                    ethernet(
                        IPV6,
                        &v6(
                            0,
                            V6_A,
                            V6_B,
                            &cat(&[
                                &[60, 0, 1, 4, 0, 0, 0, 0],
                                &[44, 0, 1, 4, 0, 0, 0, 0],
                                &[17, 0, 0, 1, 0, 0, 0, 9],
                                &udp(5353, 53, &[7; 5]),
                            ]),
                        ),
                    ),
                ),
                (
                    "v6_jumbo",
                    ethernet(
                        IPV6,
                        &v6(0, V6_A, V6_B, &cat(&[&[17, 0, 0xc2, 4, 0, 0, 0, 21], &udp(1, 2, &[])])),
                    ),
                ),
                ("vlan_in_vlan", ethernet(0x88a8, &tag(10, 0x8100, &tag(20, IPV4, &inner_v4())))),
                ("mpls", ethernet(0x8847, &label(16, false, &label(17, true, &inner_v4())))),
                ("pppoe", ethernet(0x8864, &pppoe(0, 0x21, &inner_v4()))),
                ("llc_snap", ethernet(70, &snap(IPV4, &inner_v4()))),
                ("ip_in_ip", tunnel(&outer(4, &inner_v4()))),
                ("v6_in_v4", tunnel(&outer(41, &inner_v6()))),
                ("gre", tunnel(&gre(IPV4, 0, &inner_v4()))),
                ("gre_with_key", tunnel(&gre(0x6558, 0x20, &cat(&[&[0, 0, 1, 2], &v4_frame])))),
                (
                    "erspan",
                    tunnel(&gre(0x88be, 0x10, &cat(&[&[0, 0, 0, 1, 0x10, 0, 0, 7, 0, 0, 0, 0], &v4_frame]))),
                ),
                ("vxlan", tunnel(&outer_udp(4789, &vxlan(5000, &v4_frame)))),
                ("geneve", tunnel(&outer_udp(6081, &cat(&[&[0, 0, 0x65, 0x58, 0, 0, 9, 0], &v4_frame])))),
                ("gtpu", tunnel(&outer_udp(2152, &cat(&[&[0x30, 0xff, 0, 62, 0, 0, 0, 1], &inner_v4()])))),
                ("teredo", tunnel(&outer_udp(3544, &inner_v6()))),
                ("null", seed(1, 0, 0, &cat(&[&[2, 0, 0, 0], &inner_v4()]))),
                ("loop", seed(2, 0, 0, &cat(&[&[0, 0, 0, 24], &inner_v6()]))),
                ("ppp", seed(3, 0, 0, &cat(&[&[0xff, 3, 0, 0x21], &inner_v4()]))),
                ("ppp_hdlc", seed(4, 0, 0, &cat(&[&[0x0f, 0, 8, 0], &inner_v4()]))),
                ("raw_v4", seed(6, 0, 0, &inner_v4())),
                ("raw_v6", seed(10, 0, 0, &inner_v6())),
                (
                    "linux_sll",
                    seed(11, 0, 0, &cat(&[&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0], &inner_v4()])),
                ),
                (
                    "linux_sll2",
                    seed(
                        12,
                        0,
                        0,
                        &cat(&[&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], &inner_v4()]),
                    ),
                ),
                ("ieee802_11", seed(13, 0, 0, &cat(&[&[0x08, 0x01], &[0; 22], &snap(IPV4, &inner_v4())]))),
                (
                    "radiotap",
                    seed(
                        14,
                        0,
                        0,
                        &cat(&[&[0, 0, 8, 0, 0, 0, 0, 0, 0x08, 0x01], &[0; 22], &snap(IPV4, &inner_v4())]),
                    ),
                ),
            ],
        );
    }
}
