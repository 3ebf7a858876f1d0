//! The public corpus: how its labels become ours. One table, read from top to bottom; the first line that fits counts.
//!
//! In: `labels.tsv`. Out: for each file what its flows are, which of them can be trusted, or why the file is left out.
//! `docs/dataset.md` shows the same table to readers.
//!
//! A label of the corpus holds for a whole file, and captures of infected hosts hold ordinary traffic too. Of those only
//! TCP flows are kept ([`Keep::Tcp`]), or only TCP flows with a public address on one side ([`Keep::PublicTcp`]), and
//! name lookups, announcements and address leases never.

use std::net::IpAddr;

use serde::Serialize;
use tapline_label::Class;
use tapline_record::protocol;

use crate::addresses::is_public;
use crate::split::Split;

/// A line of `labels.tsv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusFile {
    /// Path below the corpus's folder.
    pub path: String,
    /// What its rows are for.
    pub split: Split,
    /// The corpus's own class.
    pub class: String,
    /// The collection: the network.
    pub source: String,
}

/// What is known about the flows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All that are kept are of one class.
    Whole(Label, Keep),
    /// Packets have labels: flows with an attack packet are of this class, the others benign.
    ByPacket(Label),
    /// The file teaches nothing that is true, or nothing we have a class for; the reason.
    LeftOut(&'static str),
}

/// What a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its class.
    pub class: Class,
    /// What was done.
    pub behaviour: &'static str,
}

/// Which flows of a file the label can be trusted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// All.
    All,
    /// TCP, but no name lookups.
    Tcp,
    /// Those with a public address on one side.
    PublicTcp,
}

impl Keep {
    /// Whether a flow between these endpoints is kept.
    #[must_use]
    pub fn keeps(self, ip_protocol: u8, ends: [(IpAddr, u16); 2]) -> bool {
        let background = || ends.iter().any(|(_, port)| BACKGROUND_PORTS.contains(port));
        match self {
            Self::All => true,
            Self::Tcp => ip_protocol == protocol::TCP && !background(),
            Self::PublicTcp => {
                ip_protocol == protocol::TCP && !background() && ends.iter().any(|(ip, _)| is_public(*ip))
            }
        }
    }
}

/// DNS, DHCP, NetBIOS names, DHCPv6, SSDP, mDNS, LLMNR: any host speaks them.
const BACKGROUND_PORTS: [u16; 10] = [53, 67, 68, 137, 138, 546, 547, 1900, 5353, 5355];

struct Line {
    /// The corpus's class; a `*` at the end stands for any rest.
    class: &'static str,
    /// Any of these must be in the file's name (without its source and hash), cases alike; none: any name.
    names: &'static [&'static str],
    reading: Reading,
}

const fn all(class: Class, behaviour: &'static str) -> Reading {
    Reading::Whole(Label { class, behaviour }, Keep::All)
}

const fn tcp(class: Class, behaviour: &'static str) -> Reading {
    Reading::Whole(Label { class, behaviour }, Keep::Tcp)
}

const fn public_tcp(class: Class, behaviour: &'static str) -> Reading {
    Reading::Whole(Label { class, behaviour }, Keep::PublicTcp)
}

const fn line(class: &'static str, names: &'static [&'static str], reading: Reading) -> Line {
    Line { class, names, reading }
}

const fn by_packet(class: Class, behaviour: &'static str) -> Reading {
    Reading::ByPacket(Label { class, behaviour })
}

use Class::{Benign, BruteForce, C2, Dos, Exfiltration, Lateral, Scan, WebAttack};

/// The mapping.
const LINES: &[Line] = &[
    // Benign.
    line("iot", &[], all(Benign, "iot")),
    line("ics", &[], all(Benign, "ics")),
    line("apps", &[], all(Benign, "apps")),
    line("apps/proto", &[], all(Benign, "apps")),
    line("proto", &[], all(Benign, "protocol-sample")),
    line("tls/quic/proto (unverified)", &[], all(Benign, "protocol-sample-unverified")),
    line("dns bulk", &[], all(Benign, "dns-bulk")),
    line("enterprise", &[], all(Benign, "enterprise")),
    // Scans and floods.
    line("scan", &["ftp_bounce"], all(Scan, "ftp-bounce-scan")),
    line("scan", &[], all(Scan, "port-scan")),
    line("scan/flood", &["arp"], Reading::LeftOut("arp, without ip flows")),
    line(
        "scan/flood",
        &["url_redirection"],
        Reading::LeftOut("a browser's ordinary traffic around one redirection"),
    ),
    line("scan/flood", &["ping", "icmpscan", "ipscan"], all(Scan, "host-scan")),
    line("scan/flood", &[], all(Scan, "port-scan")),
    line("ddos (CIC-DDoS2019)", &["synflood"], all(Dos, "syn-flood")),
    line("ddos (CIC-DDoS2019)", &[], all(Dos, "http-flood")),
    line("ddos-flood/amplification", &["synflood", "dominate"], all(Dos, "syn-flood")),
    line("ddos-flood/amplification", &[], all(Dos, "amplification")),
    line("bruteforce-ftp", &[], all(BruteForce, "ftp-guess")),
    // Tunnels.
    line("dns-tunnel", &[], all(Exfiltration, "dns-tunnel")),
    // One file, one exploit.
    line("exploit", &["denial_of_service", "_dos"], all(Dos, "crash-exploit")),
    line("exploit", &["mailenable", "sonicwall", "vsftpd", "mysql"], all(Lateral, "service-exploit")),
    line(
        "exploit",
        &["sql", "xss", "joomla", "tomcat", "source_code_disclosure", "_get_authorization", "ibm_post"],
        all(WebAttack, "web-request"),
    ),
    line("exploit", &[], all(WebAttack, "drive-by")),
    line("exploit/scan", &["portscan", "osfingerprinting"], all(Scan, "port-scan")),
    line("exploit/scan", &["dosattack"], all(Dos, "flood")),
    line("exploit/scan", &["covertinfo"], all(Exfiltration, "covert-channel")),
    line("exploit/scan", &["evilprogram"], public_tcp(C2, "malware")),
    line("exploit/scan", &[], Reading::LeftOut("it is not known what of it is the attack")),
    line("scan/exploit", &["scan", "fingerprinting"], all(Scan, "port-scan")),
    line("scan/exploit", &["ratinfected"], public_tcp(C2, "malware")),
    line("scan/exploit", &["aurora"], tcp(WebAttack, "drive-by")),
    line("scan/exploit", &[], Reading::LeftOut("it is not known what of it is the attack")),
    line("exploit/malware", &["attack-trace"], tcp(Lateral, "service-exploit")),
    line(
        "exploit/malware",
        &["forensic_challenge"],
        Reading::LeftOut("it is not known what of it is the attack"),
    ),
    line("exploit/malware", &[], public_tcp(C2, "malware")),
    // Infected hosts, with the traffic that any host has.
    line("malware/exploit-kit*", &["portscan"], public_tcp(Scan, "port-scan")),
    line("malware/exploit-kit*", &["-ek-", "exploit_"], public_tcp(WebAttack, "drive-by")),
    line("malware/exploit-kit*", &["heart2"], public_tcp(WebAttack, "service-exploit")),
    line("malware/exploit-kit*", &[], public_tcp(C2, "malware")),
    line("malware (mixed*", &[], public_tcp(C2, "malware")),
    line("malware (timestamps relative)", &[], Reading::LeftOut("its times are not true")),
    line("misc attack", &["synscan"], all(Scan, "port-scan")),
    line("misc attack", &["dns"], all(Exfiltration, "dns-tunnel")),
    line("misc attack", &["log4j"], tcp(WebAttack, "web-request")),
    line("misc attack", &["mining", "ethereum"], Reading::LeftOut("mining coins is none of our classes")),
    line("misc attack", &[], public_tcp(C2, "malware")),
    // Windows networks: the addresses are private.
    line("windows lateral/cred", &["dnstxt"], all(Exfiltration, "dns-tunnel")),
    line("windows lateral/cred", &["c2_foudre"], Reading::LeftOut("one lookup, as any host makes them")),
    line("windows lateral/cred", &["dos_"], tcp(Dos, "crash-exploit")),
    line("windows lateral/cred", &["passwordspray"], tcp(BruteForce, "kerberos-spray")),
    line("windows lateral/cred", &["discovery"], tcp(Lateral, "domain-discovery")),
    line("windows lateral/cred", &["zerologon", "cve-", "lm_"], tcp(Lateral, "remote-execution")),
    line("windows lateral/cred", &[], tcp(Lateral, "credential-access")),
    // Modbus, labelled packet by packet.
    line("ics attack, per-packet*", &["characterization"], by_packet(Scan, "modbus-characterisation")),
    line("ics attack, per-packet*", &["cnc"], by_packet(C2, "modbus-c2")),
    line("ics attack, per-packet*", &["fake_command"], by_packet(Lateral, "modbus-fake-command")),
    line("ics attack, per-packet*", &["ms08"], by_packet(Lateral, "service-exploit")),
    line("ics attack, per-packet*", &["moving"], by_packet(Lateral, "file-transfer")),
];

impl CorpusFile {
    /// What its flows are; `None` if the table has no line for it.
    #[must_use]
    pub fn reading(&self) -> Option<Reading> {
        let name = self.own_name().to_lowercase();
        LINES
            .iter()
            .find(|line| {
                let class = match line.class.strip_suffix('*') {
                    Some(start) => self.class.starts_with(start),
                    None => self.class == line.class,
                };
                class && (line.names.is_empty() || line.names.iter().any(|part| name.contains(part)))
            })
            .map(|line| line.reading)
    }

    /// The file's name without source and hash: `scan.pcap` of `train/attack/lab__0123456789ab__scan.pcap`.
    #[must_use]
    pub fn own_name(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.splitn(3, "__").last().unwrap_or(name)
    }
}

/// Reads `labels.tsv`.
///
/// # Errors
///
/// [`CorpusError`], with the line.
pub fn parse(tsv: &str) -> Result<Vec<CorpusFile>, CorpusError> {
    let mut lines = tsv.lines().enumerate();
    let header = lines.next().map_or("", |(_, header)| header);
    if !header.starts_with("file\tsplit\tlabel\tclass\tsource\t") {
        return Err(CorpusError::Header { found: header.chars().take(80).collect() });
    }
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            let line_number = index + 1;
            let fields: Vec<&str> = line.split('\t').collect();
            let [path, split, _label, class, source, ..] = fields[..] else {
                return Err(CorpusError::Fields { line: line_number, found: fields.len() });
            };
            let split = match split {
                "train" => Split::Train,
                "val" => Split::Validate,
                "test" => Split::Test,
                other => return Err(CorpusError::Split { line: line_number, found: other.to_owned() }),
            };
            Ok(CorpusFile {
                path: path.to_owned(),
                split,
                class: class.to_owned(),
                source: source.to_owned(),
            })
        })
        .collect()
}

/// What is wrong with `labels.tsv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorpusError {
    /// Another file.
    #[error("line 1: expected the columns file, split, label, class, source, parted by tabs, not {found:?}")]
    Header {
        /// The line.
        found: String,
    },
    /// A line that is too short.
    #[error("line {line}: {found} fields; file, split, label, class and source are needed")]
    Fields {
        /// The line, from 1.
        line: usize,
        /// How many it has.
        found: usize,
    },
    /// A split of another name.
    #[error("line {line}: unknown split {found:?} (train, val or test)")]
    Split {
        /// The line, from 1.
        line: usize,
        /// What it says.
        found: String,
    },
    /// A packet label that is none.
    #[error("line {line}: expected \"packet;0\" or \"packet;1\", not {found:?}")]
    PacketLabel {
        /// The line, from 1.
        line: usize,
        /// What it says.
        found: String,
    },
}

/// Reads labels of packets, `packet;0` or `packet;1` a line, packets from 1. Gives the numbers of the attack's packets,
/// in the order of the file.
///
/// # Errors
///
/// [`CorpusError::PacketLabel`], with the line.
pub fn attack_packets(text: &str) -> Result<Vec<u64>, CorpusError> {
    let mut attacks = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || CorpusError::PacketLabel { line: index + 1, found: line.chars().take(40).collect() };
        let (number, label) = line.trim().split_once(';').ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        match label {
            "0" => {}
            "1" => attacks.push(number),
            _ => return Err(wrong()),
        }
    }
    Ok(attacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(class: &str, name: &str) -> CorpusFile {
        CorpusFile {
            path: format!("train/attack/lab__0123456789ab__{name}"),
            split: Split::Train,
            class: class.to_owned(),
            source: "lab".to_owned(),
        }
    }

    #[test]
    fn names_refine_classes() {
        let reading = |class, name| file(class, name).reading();
        assert_eq!(reading("exploit", "joomla_sql_injection1.pcap"), Some(all(WebAttack, "web-request")));
        assert_eq!(
            reading("exploit", "Telnet_Multiple_EOTCharacters_Denial_of_Service.pcap"),
            Some(all(Dos, "crash-exploit"))
        );
        assert_eq!(reading("exploit", "Zune_ActiveX.pcap"), Some(all(WebAttack, "drive-by")));
        assert_eq!(
            reading("malware (mixed with host background)", "x.pcap"),
            Some(public_tcp(C2, "malware"))
        );
        assert_eq!(
            reading("ics attack, per-packet csv labels", "CnC_uploading.pcap"),
            Some(by_packet(C2, "modbus-c2"))
        );
        assert_eq!(reading("something new", "x.pcap"), None);
    }

    #[test]
    fn host_background_is_not_trusted() {
        let inside: IpAddr = [192, 168, 0, 2].into();
        let outside: IpAddr = [93, 184, 216, 34].into();
        let ends = |port| [(inside, 50_000), (outside, port)];
        assert!(Keep::PublicTcp.keeps(6, ends(80)));
        assert!(!Keep::PublicTcp.keeps(17, ends(80)));
        assert!(!Keep::PublicTcp.keeps(6, ends(53)));
        assert!(!Keep::PublicTcp.keeps(6, [(inside, 50_000), (inside, 80)]));
        assert!(Keep::Tcp.keeps(6, [(inside, 50_000), (inside, 445)]));
        assert!(!Keep::Tcp.keeps(17, [(inside, 137), (inside, 137)]));
        assert!(Keep::All.keeps(17, ends(53)));
    }

    #[test]
    fn labels_are_read() {
        let header = "file\tsplit\tlabel\tclass\tsource\tpackets\n";
        let files = parse(&format!("{header}val/a/b__c__d.pcap\tval\tattack\tscan\tlab\t3\n")).unwrap();
        assert_eq!((files[0].split, files[0].own_name()), (Split::Validate, "d.pcap"));
        assert_eq!(
            parse(&format!("{header}a\tdev\tattack\tscan\tlab\n")).unwrap_err().to_string(),
            "line 2: unknown split \"dev\" (train, val or test)"
        );
        assert!(matches!(parse("a,b"), Err(CorpusError::Header { .. })));
        assert_eq!(attack_packets("1;0\r\n2;1\r\n"), Ok(vec![2]));
        assert!(attack_packets("1,0").is_err());
    }
}
