//! Frames to packet records: what a tap saw, reduced to the fixed-size record that flows are made of.
//!
//! ```text
//!              link            ethernet                ip             transport
//!  Frame ──► Ethernet ──► VLAN, QinQ, MPLS, ──► IPv4, IPv6, ──► TCP, UDP, SCTP, ──► PacketRecord
//!            SLL, PPP,    PPPoE, LLC/SNAP       extensions,     ICMP, ICMPv6            or Skip
//!            802.11, raw      ▲                 fragments           │
//!                             └──────────── tunnel ◄────────────────┘
//!                               IP-in-IP, GRE, ERSPAN, VXLAN,
//!                               GENEVE, GTP-U, Teredo
//! ```
//!
//! The crate is pure: no clock, no file, no thread, no allocation and no formatting per packet, no unsafe code. All it
//! remembers between packets is the bounded table that gives later fragments the ports of their first. A frame that
//! yields no record yields a [`Skip`], which is a reason to count and not an error that travels.
//!
//! Sizes are bytes. Lengths are those of the IP header, never those of the capture: Ethernet padding is not counted and
//! a snap length does not matter. The `Cic*` [`Profile`]s reproduce CICFlowMeter instead, captured lengths included.
//!
//! # Example
//!
//! ```
//! use tapline_packet::{DecodeOptions, Decoder, Skip};
//! use tapline_record::{Frame, LinkType, Timestamp, protocol};
//!
//! let mut frame = [0; 42];
//! frame[12..14].copy_from_slice(&[0x08, 0x00]); // Ethernet: IPv4
//! frame[14..18].copy_from_slice(&[0x45, 0, 0, 28]); // 20 bytes of header, 28 in all
//! frame[22..24].copy_from_slice(&[64, protocol::UDP]);
//! frame[26..34].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
//! frame[34..38].copy_from_slice(&[0x30, 0x39, 0, 53]); // ports 12345 and 53
//!
//! let mut decoder = Decoder::new(DecodeOptions::default());
//! let frame = Frame { ts: Timestamp::from_micros(0), link: LinkType::ETHERNET, wire_bytes: 60, bytes: &frame };
//! let packet = decoder.decode(&frame, 0).expect("a complete frame");
//! assert_eq!((packet.src_port, packet.dst_port), (12_345, 53));
//! assert_eq!((packet.ip_bytes, packet.payload_bytes), (28, 0));
//!
//! let cut = Frame { bytes: &frame.bytes[..13], ..frame };
//! assert_eq!(decoder.decode(&cut, 1), Err(Skip::TruncatedLink));
//! ```

pub mod decoder;
pub mod duplicates;
pub mod skip;

mod cic;
mod counters;
mod ethernet;
mod fragment;
mod ieee802_11;
mod ip;
mod link;
mod ppp;
mod transport;
mod tunnel;
mod view;

pub use counters::{DecodeCounters, TunnelCounters};
pub use decoder::{Decapsulate, DecodeOptions, Decoder, Profile, fuzz_decode};
pub use duplicates::DuplicateWindow;
pub use skip::Skip;
