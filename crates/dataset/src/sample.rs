//! The rows that honesty checks look at: of each site as many hostile as benign ones, drawn evenly over the whole table.
//!
//! In: every row of the table, once, as numbers. Kept: [`ROWS_MAX`] of each site and kind, by reservoir sampling with a
//! fixed seed, and at most [`SITES_MAX`] sites; further sites are counted, not looked at.

use std::net::IpAddr;

use tapline_label::Class;

use crate::addresses::is_public;
use crate::random::Random;
use crate::trees::Matrix;

/// Rows kept of a site's hostile flows, and as many of its benign ones.
pub const ROWS_MAX: usize = 10_000;

/// Sites of which rows are kept.
pub const SITES_MAX: usize = 48;

/// What a number of a row may give away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// How the flow behaved.
    Ordinary,
    /// Who spoke, with which operating system, to which service: what a model can learn in place of an attack.
    Shortcut,
}

/// A number of each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The column, or what was made of it.
    pub name: String,
    /// What it may give away.
    pub role: Role,
}

/// Columns that say who spoke, with which system, to which service.
pub const SHORTCUTS: [&str; 10] = [
    "src_port",
    "dst_port",
    "ip_version",
    "vlan",
    "icmp_type",
    "icmp_code",
    "fwd_init_window_bytes",
    "bwd_init_window_bytes",
    "fwd_header_min_bytes",
    "bwd_header_min_bytes",
];

/// Columns that no model of the checks may look at: sums in which headers and volume are mixed, and numbers of tunnels.
pub const LEFT_OUT: [&str; 6] =
    ["fwd_ip_bytes", "bwd_ip_bytes", "fwd_header_bytes", "bwd_header_bytes", "vlan_inner", "tunnel_id"];

/// What is made of the two addresses, after the columns; see [`address_numbers`].
pub const OF_ADDRESSES: [&str; 6] =
    ["src_first_byte", "src_last_byte", "dst_first_byte", "dst_last_byte", "src_is_public", "dst_is_public"];

/// The role of a numeric column; `None` if it is left out.
#[must_use]
pub fn role_of(column: &str) -> Option<Role> {
    if LEFT_OUT.contains(&column) {
        return None;
    }
    Some(if SHORTCUTS.contains(&column) { Role::Shortcut } else { Role::Ordinary })
}

/// [`OF_ADDRESSES`] of a flow from `source` to `destination`.
#[must_use]
pub fn address_numbers(source: IpAddr, destination: IpAddr) -> [f32; 6] {
    let ends = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => [f32::from(v4.octets()[0]), f32::from(v4.octets()[3])],
        IpAddr::V6(v6) => [f32::from(v6.octets()[0]), f32::from(v6.octets()[15])],
    };
    let public = |ip| if is_public(ip) { 1.0 } else { 0.0 };
    let ([a, b], [c, d]) = (ends(source), ends(destination));
    [a, b, c, d, public(source), public(destination)]
}

/// The reservoirs.
#[derive(Debug)]
pub struct Sample {
    pub(crate) features: Vec<Feature>,
    pub(crate) sites: Vec<Site>,
    sites_left_out: u64,
    random: Random,
}

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    /// Benign, hostile.
    pub(crate) kinds: [Reservoir; 2],
}

#[derive(Debug)]
pub(crate) struct Reservoir {
    pub(crate) rows: Matrix,
    pub(crate) classes: Vec<Class>,
    seen: usize,
}

impl Sample {
    /// An empty sample of rows with these numbers.
    #[must_use]
    pub const fn new(features: Vec<Feature>, seed: u64) -> Self {
        Self { features, sites: Vec::new(), sites_left_out: 0, random: Random::new(seed) }
    }

    /// Shows a row to the sample. `row` has one finite number a feature.
    pub fn add(&mut self, site: &str, class: Class, row: &[f32]) {
        let at = match self.sites.iter().position(|known| known.name == site) {
            Some(at) => at,
            None if self.sites.len() == SITES_MAX => {
                self.sites_left_out += 1;
                return;
            }
            None => {
                let width = self.features.len();
                let empty = || Reservoir { rows: Matrix::new(width), classes: Vec::new(), seen: 0 };
                self.sites.push(Site { name: site.to_owned(), kinds: [empty(), empty()] });
                self.sites.len() - 1
            }
        };
        self.sites[at].kinds[usize::from(class.is_hostile())].add(class, row, &mut self.random);
    }

    /// Rows of sites beyond the first [`SITES_MAX`].
    #[must_use]
    pub const fn rows_of_further_sites(&self) -> u64 {
        self.sites_left_out
    }
}

impl Reservoir {
    fn add(&mut self, class: Class, row: &[f32], random: &mut Random) {
        self.seen += 1;
        if self.classes.len() < ROWS_MAX {
            self.rows.push(row);
            self.classes.push(class);
            return;
        }
        let at = random.below(self.seen);
        if at < ROWS_MAX {
            self.rows.replace(at, row);
            self.classes[at] = class;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservoir_is_bounded_and_even() {
        let features = vec![Feature { name: "x".to_owned(), role: Role::Ordinary }];
        let mut sample = Sample::new(features, 1);
        for index in 0..5 * ROWS_MAX {
            sample.add("a", Class::Scan, &[index as f32]);
        }
        sample.add("a", Class::Benign, &[0.0]);
        let [benign, hostile] = &sample.sites[0].kinds;
        assert_eq!((benign.classes.len(), hostile.classes.len()), (1, ROWS_MAX));
        let mean: f32 = (0..ROWS_MAX).map(|at| hostile.rows.row(at)[0]).sum::<f32>() / ROWS_MAX as f32;
        assert!((23_500.0..26_500.0).contains(&mean), "{mean}");
    }

    #[test]
    fn further_sites_are_counted() {
        let mut sample = Sample::new(Vec::new(), 1);
        for site in 0..SITES_MAX + 3 {
            sample.add(&site.to_string(), Class::Benign, &[]);
        }
        assert_eq!((sample.sites.len(), sample.rows_of_further_sites()), (SITES_MAX, 3));
    }
}
