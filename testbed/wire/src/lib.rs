//! The wire of a testbed: a switch and a gateway in user space, between the hosts of one site.
//!
//! ```text
//!   host a01 ── TAP ─► up pipe ─┐                   ┌─ down pipe ─► TAP ── host a02
//!   host a02 ── TAP ─► up pipe ─┼─► switch, gateway ┼─ down pipe ─► TAP ── host w01
//!   host w01 ── TAP ─► up pipe ─┘        │          └─ ...
//!                                        └─► span file: what a mirror port on the LAN side sees
//! ```
//!
//! Each host is a network namespace; each TAP device is its cable. A [`Wire`] creates the devices, the caller moves
//! them. A [`Config`] says how long each cable is, how much it loses and which addresses lie behind it. The
//! [`switch`] decides, the [`Pipe`](crate::pipe::Pipe)s take their time, the [`Fabric`](crate::fabric::Fabric)
//! holds what is under way, and the [`Span`](crate::span::Span) writes it down.
//!
//! * **[`mod@wire`] alone knows devices, clocks and streams.** Pipes, switch and fabric are told the time, so that they
//!   are tested without devices and without rights.
//! * **Every bound has a counter**: see [`Report`].
//! * **It makes no frames**: it answers no ARP, no neighbour solicitation and no echo request, and sends no ICMP error.
//!   Hosts need a permanent neighbour entry for the gateway.

#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod counters;
pub mod fabric;
pub mod pipe;
pub mod span;
pub mod switch;
pub mod wire;

pub use config::{Config, ConfigError};
pub use counters::Report;
pub use wire::{Wire, WireError};
