//! Which frames to keep: tcpdump's filter language (pcap-filter(7)).
//!
//! libpcap compiles the expression, once per link type that turns up; the program it returns runs here, in safe Rust.

use tapline_record::Frame;
#[cfg(feature = "libpcap")]
use tapline_record::LinkType;

#[cfg(feature = "libpcap")]
use crate::bpf::Program;
use crate::error::CaptureError;

/// A filter expression, and its programs for the link types met so far.
#[derive(Clone, Debug)]
pub struct FrameFilter {
    expression: String,
    #[cfg(feature = "libpcap")]
    programs: Vec<(LinkType, Result<Program, String>)>,
    /// Index of the program used last: one link type follows another rarely.
    #[cfg(feature = "libpcap")]
    latest: usize,
}

#[cfg(feature = "libpcap")]
impl FrameFilter {
    /// Compiles an expression, at first for Ethernet.
    ///
    /// # Errors
    ///
    /// If libpcap does not understand the expression.
    pub fn compile(expression: &str) -> Result<Self, CaptureError> {
        let mut filter = Self { expression: expression.to_owned(), programs: Vec::new(), latest: 0 };
        filter.select(LinkType::ETHERNET);
        match &filter.programs[0].1 {
            Ok(_) => Ok(filter),
            Err(reason) => Err(filter.error(LinkType::ETHERNET, reason)),
        }
    }

    /// Whether a frame passes. Lengths in the expression (`len`, `greater`) mean the frame on the wire; bytes beyond
    /// what was captured match nothing.
    ///
    /// # Errors
    ///
    /// If the expression makes no sense for the frame's link type.
    #[inline]
    pub fn matches(&mut self, frame: &Frame<'_>) -> Result<bool, CaptureError> {
        if self.programs[self.latest].0 != frame.link {
            self.select(frame.link);
        }
        match &self.programs[self.latest].1 {
            Ok(program) => Ok(program.run(frame.bytes, frame.wire_bytes)),
            Err(reason) => Err(self.error(frame.link, reason)),
        }
    }

    #[cold]
    fn select(&mut self, link: LinkType) {
        self.latest = match self.programs.iter().position(|(known, _)| *known == link) {
            Some(index) => index,
            None => {
                self.programs.push((link, Program::compile(&self.expression, link)));
                self.programs.len() - 1
            }
        };
    }

    #[cold]
    fn error(&self, link: LinkType, reason: &str) -> CaptureError {
        CaptureError::Filter { expression: self.expression.clone(), link, reason: reason.to_owned() }
    }
}

#[cfg(not(feature = "libpcap"))]
impl FrameFilter {
    /// Says that this build has no filters.
    ///
    /// # Errors
    ///
    /// Always: the cargo feature `libpcap` is off.
    pub fn compile(expression: &str) -> Result<Self, CaptureError> {
        Err(CaptureError::FilterUnavailable { expression: expression.to_owned() })
    }

    /// Says that this build has no filters.
    ///
    /// # Errors
    ///
    /// Always: the cargo feature `libpcap` is off.
    pub fn matches(&mut self, _frame: &Frame<'_>) -> Result<bool, CaptureError> {
        Err(CaptureError::FilterUnavailable { expression: self.expression.clone() })
    }
}

impl FrameFilter {
    /// The expression as it was given.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "libpcap")]
    mod with_libpcap {
        use proptest::prelude::*;
        use tapline_record::Timestamp;

        use super::*;

        fn frame(link: LinkType, wire_bytes: u32, bytes: &[u8]) -> Frame<'_> {
            Frame { ts: Timestamp::default(), link, wire_bytes, bytes }
        }

        /// An IPv4 UDP datagram from 10.0.0.1:53 to 10.0.0.2:4000.
        const DATAGRAM: [u8; 28] = [
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 0x0f, 0xa0, 0, 8, 0, 0,
        ];

        fn ethernet() -> Vec<u8> {
            [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0], &DATAGRAM[..]].concat()
        }

        #[test]
        fn link_types_have_their_own_programs() {
            let mut filter = FrameFilter::compile("udp port 53 and host 10.0.0.2").unwrap();
            let ethernet = ethernet();
            let cooked = [&[0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0], &DATAGRAM[..]].concat();
            let packets = [
                (LinkType::ETHERNET, &ethernet[..]),
                (LinkType::LINUX_SLL, &cooked),
                (LinkType::RAW, &DATAGRAM),
                (LinkType::ETHERNET, &ethernet),
                (LinkType::IPV4, &DATAGRAM),
                (LinkType::RAW_OPENBSD, &DATAGRAM),
            ];
            for (link, bytes) in packets {
                assert!(filter.matches(&frame(link, bytes.len() as u32, bytes)).unwrap(), "{link:?}");
                // Cut before the ports.
                assert!(!filter.matches(&frame(link, 100, &bytes[..bytes.len() - 8])).unwrap(), "{link:?}");
            }
            assert!(
                !FrameFilter::compile("tcp").unwrap().matches(&frame(LinkType::RAW, 28, &DATAGRAM)).unwrap()
            );
        }

        #[test]
        fn lengths_are_those_of_the_wire() {
            let mut filter = FrameFilter::compile("greater 1000").unwrap();
            assert!(filter.matches(&frame(LinkType::ETHERNET, 1500, &[0; 60])).unwrap());
            assert!(!filter.matches(&frame(LinkType::ETHERNET, 999, &[0; 60])).unwrap());
        }

        #[test]
        fn everything_passes_the_empty_expression() {
            let mut filter = FrameFilter::compile("").unwrap();
            assert!(filter.matches(&frame(LinkType::ETHERNET, 0, &[])).unwrap());
            assert!(filter.matches(&frame(LinkType(999), 0, &[])).is_err());
        }

        #[test]
        fn a_bad_expression_is_refused_at_once() {
            let error = FrameFilter::compile("tcp prot 80").unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Usage);
            let text = error.to_string();
            assert!(
                text.starts_with("cannot compile the filter `tcp prot 80` for link type 1 (ethernet): "),
                "{text}"
            );
            assert!(FrameFilter::compile("tcp\0").is_err());
        }

        #[test]
        fn a_filter_that_a_link_type_cannot_have() {
            let mut filter = FrameFilter::compile("ether host 02:00:00:00:00:01").unwrap();
            assert!(filter.matches(&frame(LinkType::ETHERNET, 42, &ethernet())).unwrap());
            let error = filter.matches(&frame(LinkType::RAW, 28, &DATAGRAM)).unwrap_err();
            assert!(matches!(error, CaptureError::Filter { link: LinkType::RAW, .. }));
            assert!(filter.matches(&frame(LinkType::ETHERNET, 42, &ethernet())).unwrap());
        }

        const EXPRESSIONS: [&str; 14] = [
            "tcp",
            "udp port 53 or icmp",
            "net 10.0.0.0/8 and not host 10.0.0.1",
            "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
            "ip[8] < 64 and ip[2:2] % 2 = 0",
            "tcp portrange 1-1024",
            "vlan and ip6",
            "ip6 and udp",
            "pppoes or mpls 7",
            "(ip[6] ^ 3) / ip[1] > 2",
            "ip[9] << 2 > ip[8] * 3 - ip[1]",
            "-ip[0] + len > 4294967000",
            "ip6 protochain 6",
            "ether[ether[13]:1] = 8",
        ];

        proptest! {
            /// Our machine against libpcap's, on frames that reach the deeper branches.
            #[test]
            fn runs_like_libpcap(
                noise in prop::collection::vec(any::<u8>(), 0..80),
                ether_type in prop::sample::select(vec![0x0800u16, 0x86dd, 0x8100, 0x8847, 0x8864, 0x1234]),
                first in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60, 0]),
                protocol in prop::sample::select(vec![6u8, 17, 1, 0, 43, 51]),
            ) {
                let mut bytes = noise;
                for (at, value) in [
                    (12, ether_type.to_be_bytes()[0]),
                    (13, ether_type.to_be_bytes()[1]),
                    (14, first),
                    (20, 0),
                    (21, 0),
                    (23, protocol),
                ] {
                    if let Some(slot) = bytes.get_mut(at) {
                        *slot = value;
                    }
                }
                let handle = pcap::Capture::dead(pcap::Linktype::ETHERNET).unwrap();
                for expression in EXPRESSIONS {
                    let theirs = handle.compile(expression, true).unwrap().filter(&bytes);
                    let mut ours = FrameFilter::compile(expression).unwrap();
                    let frame = frame(LinkType::ETHERNET, bytes.len() as u32, &bytes);
                    prop_assert_eq!(ours.matches(&frame).unwrap(), theirs, "{}", expression);
                }
            }
        }
    }

    #[test]
    #[cfg(not(feature = "libpcap"))]
    fn a_build_without_libpcap_says_so() {
        let error = FrameFilter::compile("tcp").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
        assert!(error.to_string().contains("lacks libpcap"));
    }
}
