//! Where a frame goes, and whether the span port sees it.
//!
//! Owns the table of MAC addresses and the table of prefixes. In goes a frame with the port it came from; out comes a
//! [`Verdict`]. On the way the frame may be rewritten as a gateway does it, and it is shown to the span as it looks on
//! the LAN side of the gateway. It never copies or holds a frame and reads no clock.
//!
//! ```text
//!   to gateway_mac ── destination address, longest prefix ─┬─ lan → lan   shown as delivered
//!                                                          ├─ lan → wan   shown as it came, then TTL and MACs
//!                                                          ├─ wan → lan   TTL and MACs, then shown
//!                                                          └─ wan → wan   never shown: not on this site's wires
//!   to a group, from lan ── all other lan ports, shown
//!   to a station, from lan ── its port if known, else all other lan ports, shown
//!   from wan, not to gateway_mac ── dropped
//! ```
//!
//! **What nobody owns.** A frame from the WAN to an address of the site that no port owns is shown (dark space is
//! scanned too), then dropped. No host would have answered for it, so its destination is `gateway_mac` like its source.
//! A frame from the LAN that cannot be routed is shown as it came, then dropped.
//!
//! **TTL.** Hops lie on the WAN side only. A frame whose TTL or hop limit would reach 0 there is dropped; the span sees
//! it if it passed the LAN side first. The IPv4 checksum is updated, not made anew: a wrong one stays wrong.
//!
//! **Stations.** The configured MAC addresses are known from the start. Source addresses of LAN frames are learned, and
//! the newest sighting wins, so a host can take over another one's address. At most [`MAX_LEARNED`] addresses beyond
//! the configured ones are remembered, without ageing; more are counted and not learned.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::{Config, Mac, Prefix, Zone};

/// The tables of one site.
#[derive(Debug)]
pub struct Switch {
    gateway: [u8; 6],
    ports: Vec<Station>,
    stations: HashMap<[u8; 6], usize>,
    learned: usize,
    not_learned: u64,
    v4: Routes,
    v6: Routes,
}

impl Switch {
    /// The tables as the config has them.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut switch = Self {
            gateway: config.gateway_mac.0,
            ports: Vec::with_capacity(config.ports.len()),
            stations: HashMap::with_capacity(config.ports.len() + MAX_LEARNED),
            learned: 0,
            not_learned: 0,
            v4: Routes::default(),
            v6: Routes::default(),
        };
        for &prefix in &config.lan {
            switch.add_route(prefix, Route::Site);
        }
        for (index, port) in config.ports.iter().enumerate() {
            let Mac(mac) = port.mac;
            if port.zone == Zone::Lan {
                switch.stations.insert(mac, index);
            }
            // After the site's own prefixes: an owner takes the place of an equal one.
            for &prefix in &port.prefixes {
                switch.add_route(prefix, Route::Port(index));
            }
            switch.ports.push(Station { mac, zone: port.zone, hops: port.hops, vlan: port.vlan });
        }
        switch
    }

    fn add_route(&mut self, prefix: Prefix, route: Route) {
        match prefix.address {
            IpAddr::V4(v4) => self.v4.add(u128::from(v4.to_bits()), 32, prefix.bits, route),
            IpAddr::V6(v6) => self.v6.add(v6.to_bits(), 128, prefix.bits, route),
        }
    }

    /// Decides about a frame that came from port `from`, rewrites it if it is routed, and shows it to `span` together
    /// with a VLAN id (0 for none) if the span port sees it.
    ///
    /// # Errors
    ///
    /// What `span` returns.
    pub fn forward<E>(
        &mut self,
        from: usize,
        frame: &mut [u8],
        mut span: impl FnMut(&[u8], u16) -> Result<(), E>,
    ) -> Result<Verdict, E> {
        let Some((&destination, rest)) = frame.split_first_chunk::<6>() else {
            return Ok(Verdict::Drop(Reason::NotSwitched));
        };
        let Some((&source, [_, _, ..])) = rest.split_first_chunk::<6>() else {
            return Ok(Verdict::Drop(Reason::NotSwitched));
        };
        if self.ports[from].zone == Zone::Lan {
            self.learn(source, from);
        }
        if destination == self.gateway {
            return self.route(from, frame, span);
        }
        if self.ports[from].zone == Zone::Wan {
            return Ok(Verdict::Drop(Reason::NotSwitched));
        }
        let verdict = match self.stations.get(&destination) {
            Some(&to) if to == from => return Ok(Verdict::Drop(Reason::NotSwitched)),
            Some(&to) => Verdict::Port(to),
            None => Verdict::Flood,
        };
        span(frame, self.ports[from].vlan)?;
        Ok(verdict)
    }

    fn route<E>(
        &self,
        from: usize,
        frame: &mut [u8],
        mut span: impl FnMut(&[u8], u16) -> Result<(), E>,
    ) -> Result<Verdict, E> {
        let sender = &self.ports[from];
        let header = IpHeader::of(frame);
        let route = header.and_then(|header| match header {
            IpHeader::V4 => self.v4.find(field::<4>(frame, V4_DESTINATION).map(u32::from_be_bytes)?.into()),
            IpHeader::V6 => self.v6.find(field::<16>(frame, V6_DESTINATION).map(u128::from_be_bytes)?),
        });
        let (Some(header), Some(route)) = (header, route) else {
            if sender.zone == Zone::Lan {
                span(frame, sender.vlan)?;
            }
            return Ok(Verdict::Drop(Reason::Unroutable));
        };
        match route {
            Route::Port(to) if to != from => {
                let receiver = &self.ports[to];
                if (sender.zone, receiver.zone) == (Zone::Lan, Zone::Wan) {
                    span(frame, sender.vlan)?;
                }
                if !header.pass(frame, sender.wan_hops() + receiver.wan_hops()) {
                    return Ok(Verdict::Drop(Reason::Ttl));
                }
                readdress(frame, receiver.mac, self.gateway);
                if receiver.zone == Zone::Lan {
                    span(frame, receiver.vlan)?;
                }
                Ok(Verdict::Port(to))
            }
            Route::Port(_) | Route::Site if sender.zone == Zone::Lan => {
                span(frame, sender.vlan)?;
                Ok(Verdict::Drop(Reason::Unroutable))
            }
            // Back to where it came from: no router on the way would send it here.
            Route::Port(_) => Ok(Verdict::Drop(Reason::Unroutable)),
            Route::Site => {
                if !header.pass(frame, sender.wan_hops()) {
                    return Ok(Verdict::Drop(Reason::Ttl));
                }
                readdress(frame, self.gateway, self.gateway);
                span(frame, 0)?;
                Ok(Verdict::Drop(Reason::Unroutable))
            }
        }
    }

    fn learn(&mut self, source: [u8; 6], from: usize) {
        if Mac(source).is_multicast() || source == self.gateway {
            return;
        }
        if let Some(port) = self.stations.get_mut(&source) {
            *port = from;
        } else if self.learned < MAX_LEARNED {
            self.learned += 1;
            self.stations.insert(source, from);
        } else {
            self.not_learned += 1;
        }
    }

    /// The ports that a flooded frame from port `from` goes to.
    pub fn flood_targets(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        let lan = |&(_, port): &(usize, &Station)| port.zone == Zone::Lan;
        self.ports.iter().enumerate().filter(lan).map(|(index, _)| index).filter(move |&index| index != from)
    }

    /// How often a source address was not learned because the table was full.
    #[must_use]
    pub const fn not_learned(&self) -> u64 {
        self.not_learned
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To this port.
    Port(usize),
    /// To all [`Switch::flood_targets`].
    Flood,
    /// Nowhere.
    Drop(Reason),
}

/// Why a frame goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No port owns its destination address.
    Unroutable,
    /// Its TTL or hop limit ended on the way.
    Ttl,
    /// Too short, behind the port it came from, or from the WAN and not to the gateway.
    NotSwitched,
}

#[derive(Debug)]
struct Station {
    mac: [u8; 6],
    zone: Zone,
    hops: u8,
    vlan: u16,
}

impl Station {
    fn wan_hops(&self) -> u16 {
        if self.zone == Zone::Wan { u16::from(self.hops) } else { 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// The site has the address, and no port owns it.
    Site,
    Port(usize),
}

/// Longest prefix first: one hash table for each length that occurs.
#[derive(Debug, Default)]
struct Routes {
    by_length: Vec<(u8, u128, HashMap<u128, Route>)>,
}

impl Routes {
    fn add(&mut self, address: u128, width: u8, bits: u8, route: Route) {
        let index = match self.by_length.binary_search_by(|(length, ..)| bits.cmp(length)) {
            Ok(index) => index,
            Err(index) => {
                let mask = u128::MAX.checked_shl(u32::from(width - bits)).unwrap_or(0);
                self.by_length.insert(index, (bits, mask, HashMap::new()));
                index
            }
        };
        self.by_length[index].2.insert(address, route);
    }

    fn find(&self, address: u128) -> Option<Route> {
        self.by_length.iter().find_map(|(_, mask, table)| table.get(&(address & mask)).copied())
    }
}

#[derive(Debug, Clone, Copy)]
enum IpHeader {
    V4,
    V6,
}

impl IpHeader {
    /// The fixed part of an IP header right behind the MAC addresses, if the frame has one.
    fn of(frame: &[u8]) -> Option<Self> {
        match (field::<2>(frame, 12)?, frame.get(14)? >> 4) {
            ([0x08, 0x00], 4) if frame.len() >= 14 + 20 => Some(Self::V4),
            ([0x86, 0xdd], 6) if frame.len() >= 14 + 40 => Some(Self::V6),
            _ => None,
        }
    }

    /// Takes `hops` off the TTL or hop limit; false if it would reach 0.
    fn pass(self, frame: &mut [u8], hops: u16) -> bool {
        if hops == 0 {
            return true;
        }
        let at = match self {
            Self::V4 => V4_TTL,
            Self::V6 => V6_HOP_LIMIT,
        };
        let Some(left) = u16::from(frame[at]).checked_sub(hops).and_then(|left| u8::try_from(left).ok())
        else {
            return false;
        };
        if left == 0 {
            return false;
        }
        if matches!(self, Self::V4) {
            let old_word = u16::from_be_bytes([frame[at], frame[at + 1]]);
            let new_word = u16::from_be_bytes([left, frame[at + 1]]);
            let old_sum = u16::from_be_bytes([frame[V4_CHECKSUM], frame[V4_CHECKSUM + 1]]);
            let new_sum = updated_checksum(old_sum, old_word, new_word);
            frame[V4_CHECKSUM..V4_CHECKSUM + 2].copy_from_slice(&new_sum.to_be_bytes());
        }
        frame[at] = left;
        true
    }
}

/// RFC 1624, equation 3: the checksum after one 16-bit word changed.
fn updated_checksum(checksum: u16, old_word: u16, new_word: u16) -> u16 {
    let mut sum = u32::from(!checksum) + u32::from(!old_word) + u32::from(new_word);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

fn readdress(frame: &mut [u8], destination: [u8; 6], source: [u8; 6]) {
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
}

fn field<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk::<N>().copied()
}

/// Addresses remembered beyond the configured ones.
pub const MAX_LEARNED: usize = 4096;

const V4_TTL: usize = 14 + 8;
const V4_CHECKSUM: usize = 14 + 10;
const V4_DESTINATION: usize = 14 + 16;
const V6_HOP_LIMIT: usize = 14 + 7;
const V6_DESTINATION: usize = 14 + 24;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const A: usize = 0;
    const B: usize = 1;
    const C: usize = 2;
    const NEAR: usize = 3;
    const FAR: usize = 4;

    fn mac(port: usize) -> [u8; 6] {
        [2, 0, 0, 0, 1, port as u8]
    }

    fn site() -> Switch {
        let port = |index: usize, zone: &str, prefixes: &str, hops: u8, vlan: u16| {
            let mac = Mac(mac(index));
            format!(
                r#"{{"tap":"p{index}","mac":"{mac}","zone":"{zone}","prefixes":[{prefixes}],"hops":{hops},
                "vlan":{vlan}}}"#
            )
        };
        let ports = [
            port(A, "lan", r#""10.7.1.1/32","2001:db8:7::1/128""#, 0, 0),
            port(B, "lan", r#""10.7.2.1/32""#, 0, 20),
            port(C, "lan", r#""10.7.1.3/32""#, 0, 0),
            port(NEAR, "wan", r#""198.51.100.0/24","2001:db8:99::/48""#, 3, 0),
            port(FAR, "wan", r#""0.0.0.0/0","198.51.100.7/32""#, 9, 0),
        ];
        let text = format!(
            r#"{{"span":"x","gateway_mac":"{}","lan":["10.7.0.0/16","2001:db8:7::/48"],"ports":[{}]}}"#,
            Mac(GATEWAY),
            ports.join(",")
        );
        Switch::new(&Config::parse(&text).unwrap())
    }

    fn checksum(header: &[u8]) -> u16 {
        let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        !(((sum & 0xffff) + (sum >> 16)) as u16)
    }

    fn v4(to_mac: [u8; 6], from_mac: [u8; 6], to: [u8; 4], ttl: u8) -> Vec<u8> {
        let mut frame = [&to_mac[..], &from_mac, &[8, 0]].concat();
        frame.extend([0x45, 0, 0, 28, 0x12, 0x34, 0, 0, ttl, 17, 0, 0, 10, 7, 1, 1]);
        frame.extend(to);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend([0, 53, 0, 53, 0, 8, 0, 0]);
        frame
    }

    fn v6(to_mac: [u8; 6], from_mac: [u8; 6], to: &str, hop_limit: u8) -> Vec<u8> {
        let mut frame = [&to_mac[..], &from_mac, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, hop_limit]].concat();
        frame.extend("2001:db8:7::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        frame.extend(to.parse::<std::net::Ipv6Addr>().unwrap().octets());
        frame
    }

    type Seen = Vec<(Vec<u8>, u16)>;

    fn forward(switch: &mut Switch, from: usize, frame: &mut [u8]) -> (Verdict, Seen) {
        let mut seen = Seen::new();
        let verdict = switch.forward(from, frame, |frame, vlan| {
            seen.push((frame.to_vec(), vlan));
            Ok::<(), Infallible>(())
        });
        let Ok(verdict) = verdict;
        (verdict, seen)
    }

    #[test]
    fn lan_to_wan_is_recorded_before_it_is_changed() {
        let mut switch = site();
        let mut frame = v4(GATEWAY, mac(B), [198, 51, 100, 9], 64);
        let before = frame.clone();
        let (verdict, seen) = forward(&mut switch, B, &mut frame);
        assert_eq!(verdict, Verdict::Port(NEAR));
        assert_eq!(seen, [(before, 20)]);
        assert_eq!(frame, v4(mac(NEAR), GATEWAY, [198, 51, 100, 9], 61));
        assert_eq!(checksum(&frame[14..34]), 0);
    }

    #[test]
    fn wan_to_lan_is_recorded_after_it_was_changed() {
        let mut switch = site();
        let mut frame = v4(GATEWAY, mac(FAR), [10, 7, 2, 1], 64);
        let (verdict, seen) = forward(&mut switch, FAR, &mut frame);
        assert_eq!(verdict, Verdict::Port(B));
        assert_eq!(frame, v4(mac(B), GATEWAY, [10, 7, 2, 1], 55));
        assert_eq!(seen, [(frame, 20)]);
    }

    #[test]
    fn lan_to_lan_through_the_gateway_is_recorded_once_as_delivered() {
        let mut switch = site();
        let mut frame = v4(GATEWAY, mac(A), [10, 7, 2, 1], 64);
        let (verdict, seen) = forward(&mut switch, A, &mut frame);
        assert_eq!(verdict, Verdict::Port(B));
        assert_eq!(frame, v4(mac(B), GATEWAY, [10, 7, 2, 1], 64));
        assert_eq!(seen, [(frame, 20)]);
    }

    #[test]
    fn wan_to_wan_is_forwarded_and_never_recorded() {
        let mut switch = site();
        let mut frame = v4(GATEWAY, mac(NEAR), [203, 0, 113, 5], 64);
        let (verdict, seen) = forward(&mut switch, NEAR, &mut frame);
        assert_eq!(verdict, Verdict::Port(FAR));
        assert_eq!(frame, v4(mac(FAR), GATEWAY, [203, 0, 113, 5], 52));
        assert!(seen.is_empty());
    }

    #[test]
    fn the_longest_prefix_wins_and_the_site_hides_the_default_route() {
        let mut switch = site();
        let to = |switch: &mut Switch, from, address| {
            forward(switch, from, &mut v4(GATEWAY, mac(from), address, 64)).0
        };
        assert_eq!(to(&mut switch, A, [198, 51, 100, 7]), Verdict::Port(FAR));
        assert_eq!(to(&mut switch, A, [198, 51, 100, 8]), Verdict::Port(NEAR));
        assert_eq!(to(&mut switch, A, [192, 0, 2, 1]), Verdict::Port(FAR));
        assert_eq!(to(&mut switch, A, [10, 7, 9, 9]), Verdict::Drop(Reason::Unroutable));
        assert_eq!(to(&mut switch, FAR, [192, 0, 2, 1]), Verdict::Drop(Reason::Unroutable));
    }

    #[test]
    fn dark_space_is_recorded_and_dropped() {
        let mut switch = site();
        let mut frame = v4(GATEWAY, mac(FAR), [10, 7, 9, 9], 64);
        let (verdict, seen) = forward(&mut switch, FAR, &mut frame);
        assert_eq!(verdict, Verdict::Drop(Reason::Unroutable));
        assert_eq!(seen, [(v4(GATEWAY, GATEWAY, [10, 7, 9, 9], 55), 0)]);
        // From inside as it came.
        let mut frame = v4(GATEWAY, mac(B), [10, 7, 9, 9], 64);
        let before = frame.clone();
        assert_eq!(forward(&mut switch, B, &mut frame).1, [(before, 20)]);
        // IPv6 has no default route here.
        let mut frame = v6(GATEWAY, mac(A), "2001:db8:dead::1", 64);
        let before = frame.clone();
        let (verdict, seen) = forward(&mut switch, A, &mut frame);
        assert_eq!(verdict, Verdict::Drop(Reason::Unroutable));
        assert_eq!(seen, [(before, 0)]);
    }

    #[test]
    fn ttl_ends_on_the_way() {
        let mut switch = site();
        for (ttl, verdict, from_lan, from_wan) in
            [(3, Verdict::Drop(Reason::Ttl), 1, 0), (4, Verdict::Port(NEAR), 1, 1)]
        {
            let (out, seen) = forward(&mut switch, A, &mut v4(GATEWAY, mac(A), [198, 51, 100, 9], ttl));
            assert_eq!((out, seen.len()), (verdict, from_lan));
            let (_, seen) = forward(&mut switch, NEAR, &mut v4(GATEWAY, mac(NEAR), [10, 7, 1, 1], ttl));
            assert_eq!(seen.len(), from_wan);
            let (_, seen) = forward(&mut switch, NEAR, &mut v6(GATEWAY, mac(NEAR), "2001:db8:7::1", ttl));
            assert_eq!(seen.len(), from_wan);
        }
    }

    #[test]
    fn hop_limits_count_like_ttls() {
        let mut switch = site();
        let mut frame = v6(GATEWAY, mac(A), "2001:db8:99::5", 64);
        assert_eq!(forward(&mut switch, A, &mut frame).0, Verdict::Port(NEAR));
        assert_eq!(frame, v6(mac(NEAR), GATEWAY, "2001:db8:99::5", 61));
    }

    #[test]
    fn the_checksum_update_agrees_with_a_new_sum_for_every_ttl() {
        for hops in 1..=255 {
            for ttl in hops + 1..=255 {
                let mut frame = v4(GATEWAY, mac(A), [198, 51, 100, 9], ttl as u8);
                assert!(IpHeader::V4.pass(&mut frame, hops));
                assert_eq!(checksum(&frame[14..34]), 0, "{ttl} {hops}");
            }
        }
    }

    #[test]
    fn stations_are_known_learned_and_stolen() {
        let mut switch = site();
        let verdict = |switch: &mut Switch, from: usize, to_mac, from_mac| {
            let (verdict, seen) = forward(switch, from, &mut v4(to_mac, from_mac, [10, 7, 1, 3], 64));
            (verdict, seen.len())
        };
        assert_eq!(verdict(&mut switch, A, mac(C), mac(A)), (Verdict::Port(C), 1));
        let stranger = [2, 9, 9, 9, 9, 9];
        assert_eq!(verdict(&mut switch, A, stranger, mac(A)), (Verdict::Flood, 1));
        assert_eq!(verdict(&mut switch, C, mac(A), stranger), (Verdict::Port(A), 1));
        assert_eq!(verdict(&mut switch, A, stranger, mac(A)), (Verdict::Port(C), 1));
        // B speaks with A's address and gets A's frames, until A speaks again.
        assert_eq!(verdict(&mut switch, B, mac(C), mac(A)), (Verdict::Port(C), 1));
        assert_eq!(verdict(&mut switch, C, mac(A), mac(C)), (Verdict::Port(B), 1));
        assert_eq!(verdict(&mut switch, A, mac(C), mac(A)), (Verdict::Port(C), 1));
        assert_eq!(verdict(&mut switch, C, mac(A), mac(C)), (Verdict::Port(A), 1));
        // To itself, and from a WAN host to a LAN station: no cable leads there.
        assert_eq!(verdict(&mut switch, A, mac(A), stranger), (Verdict::Drop(Reason::NotSwitched), 0));
        assert_eq!(verdict(&mut switch, FAR, mac(A), mac(FAR)), (Verdict::Drop(Reason::NotSwitched), 0));
        // The gateway's address cannot be taken.
        assert_eq!(verdict(&mut switch, B, mac(C), GATEWAY).0, Verdict::Port(C));
        assert_eq!(
            forward(&mut switch, A, &mut v4(GATEWAY, mac(A), [198, 51, 100, 9], 64)).0,
            Verdict::Port(NEAR)
        );
    }

    #[test]
    fn groups_are_flooded_to_the_lan_only() {
        let mut switch = site();
        let mut frame = v4([0xff; 6], mac(B), [10, 7, 255, 255], 64);
        let (verdict, seen) = forward(&mut switch, B, &mut frame);
        assert_eq!(verdict, Verdict::Flood);
        assert_eq!(seen, [(frame.clone(), 20)]);
        assert_eq!(switch.flood_targets(B).collect::<Vec<_>>(), [A, C]);
        let (verdict, seen) = forward(&mut switch, FAR, &mut frame);
        assert_eq!((verdict, seen.len()), (Verdict::Drop(Reason::NotSwitched), 0));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_counted() {
        let mut switch = site();
        for i in 0..5_000_u32 {
            let [_, _, a, b] = i.to_be_bytes();
            let _ = forward(&mut switch, A, &mut v4(mac(C), [2, 8, 8, 8, a, b], [10, 7, 1, 3], 64));
        }
        assert_eq!(switch.stations.len(), 3 + MAX_LEARNED);
        assert_eq!(switch.not_learned(), 5_000 - MAX_LEARNED as u64);
    }

    #[test]
    fn odd_frames_to_the_gateway_do_no_harm() {
        let mut switch = site();
        let whole = v4(GATEWAY, mac(A), [198, 51, 100, 9], 64);
        for len in 0..34 {
            let (verdict, seen) = forward(&mut switch, A, &mut whole.clone()[..len]);
            let expected = if len < 14 { Reason::NotSwitched } else { Reason::Unroutable };
            assert_eq!((verdict, seen.len()), (Verdict::Drop(expected), usize::from(len >= 14)));
        }
        let whole = v6(GATEWAY, mac(NEAR), "2001:db8:7::1", 64);
        for len in 0..54 {
            assert!(matches!(forward(&mut switch, NEAR, &mut whole.clone()[..len]).0, Verdict::Drop(_)));
        }
    }
}
