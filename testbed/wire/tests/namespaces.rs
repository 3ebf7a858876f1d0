//! The program as it is used: real TAP devices in real network namespaces, real TCP.
//!
//! Needs root, `ip` and /dev/net/tun; without them the tests say so and pass. All traffic stays in namespaces that
//! carry the process id in their names and are deleted at the end, also after a failure.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that fails or is skipped should say so at once"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

const GATEWAY: &str = "02:00:00:00:00:01";
const A: &str = "02:00:00:00:01:0a";
const B: &str = "02:00:00:00:01:0b";
const W: &str = "02:00:00:00:02:01";
const STREAM_BYTES: usize = 300_000;

#[test]
fn frames_cross_take_their_time_and_are_recorded() {
    let Some(mut bed) = Bed::build("x", &["a", "b", "w"]) else { return };
    let link = |delay_us: u64| json!({"delay_us": delay_us});
    bed.start(&json!({
        "span": bed.path("span.pcap"), "seed": 1, "gateway_mac": GATEWAY, "lan": ["10.7.0.0/16", "2001:db8:7::/48"],
        "ports": [
            {"tap": "a", "mac": A, "zone": "lan", "prefixes": ["10.7.1.5/32", "2001:db8:7::5/128"],
             "up": link(1_000), "down": link(1_000)},
            {"tap": "b", "mac": B, "zone": "lan", "prefixes": ["10.7.1.6/32"], "vlan": 12,
             "up": link(2_000), "down": link(2_000)},
            {"tap": "w", "mac": W, "zone": "wan", "prefixes": ["198.51.100.0/24", "2001:db8:99::/48"], "hops": 7,
             "up": link(10_000), "down": {"delay_us": 10_000, "rate_kbps": 50_000, "queue_ms": 1_000}},
        ]
    }));
    bed.host("a", A, &["10.7.1.5/24", "2001:db8:7::5/64"], Some(("10.7.1.254", "2001:db8:7::ffff")));
    bed.host("b", B, &["10.7.1.6/24"], None);
    bed.host(
        "w",
        W,
        &["198.51.100.9/24", "2001:db8:99::9/64"],
        Some(("198.51.100.254", "2001:db8:99::ffff")),
    );

    // Across the LAN: ARP finds the way.
    let near: SocketAddr = "10.7.1.6:7007".parse().unwrap();
    let answers = bed.echo("b", near, 21);
    let rtts = bed.ping("a", "10.7.1.5:0".parse().unwrap(), near, 20);
    answers.join().unwrap();
    check_rtts(&rtts, 6_000);

    // Through the gateway, in both families.
    for (from, to) in [("10.7.1.5:0", "198.51.100.9:7007"), ("[2001:db8:7::5]:0", "[2001:db8:99::9]:7007")] {
        let far: SocketAddr = to.parse().unwrap();
        let answers = bed.echo("w", far, 21);
        let rtts = bed.ping("a", from.parse().unwrap(), far, 20);
        answers.join().unwrap();
        check_rtts(&rtts, 22_000);
    }

    // Packet time skips; frames do not.
    bed.say("advance 5000000\nidle\n");
    let answer = bed.line();
    let words: Vec<&str> = answer.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("idle", "0"), "{answer}");
    assert!(words[1].parse::<u64>().unwrap() < 5_000_000, "{answer}");

    // 300,000 octets at 50 Mbit/s take 48 ms.
    let far: SocketAddr = "198.51.100.9:7008".parse().unwrap();
    let server = bed.sink("w", far);
    let began = Instant::now();
    bed.stream("a", far);
    assert_eq!(server.join().unwrap(), STREAM_BYTES);
    let took = began.elapsed();
    assert!((Duration::from_millis(70)..Duration::from_secs(10)).contains(&took), "{took:?}");

    // Dark space, a host that is down, one that is gone.
    bed.send("a", "10.7.2.99:9");
    bed.send("w", "10.7.2.99:9");
    bed.in_namespace("b", &["link", "set", "dev", "b", "down"]);
    bed.send("a", "10.7.1.255:9");
    thread::sleep(Duration::from_millis(100));
    bed.in_namespace("b", &["link", "del", "dev", "b"]);
    thread::sleep(Duration::from_millis(100));
    let busy_before = bed.cpu_ticks();
    thread::sleep(Duration::from_millis(500));
    assert!(bed.cpu_ticks() - busy_before < 10, "it must not spin");

    bed.say("what\nstop\n");
    let (report, errors) = bed.finish();
    assert!(errors.contains("TAP device b is gone"), "{errors}");
    assert!(errors.contains("unknown command `what`"), "{errors}");
    check_report(&report);
    check_recording(&fs::read(bed.path("span.pcap")).unwrap(), &report);
}

#[test]
fn a_signal_and_the_end_of_input_stop_it_in_good_order() {
    let Some(mut bed) = Bed::build("s", &["a"]) else { return };
    let config = json!({"span": bed.path("span.pcap"), "gateway_mac": GATEWAY,
        "ports": [{"tap": "a", "mac": A, "zone": "lan"}]});
    for signal in ["TERM", "INT", ""] {
        bed.start(&config);
        if signal.is_empty() {
            bed.close_input();
        } else {
            let pid = bed.wire.as_ref().unwrap().child.id();
            assert!(run("sh", &["-c", &format!("kill -{signal} {pid}")]).status.success());
        }
        let (report, errors) = bed.finish();
        assert_eq!((report["span"]["frames"].as_u64(), errors.as_str()), (Some(0), ""), "{signal}");
        assert_eq!(fs::read(bed.path("span.pcap")).unwrap().len(), 24);
    }
}

#[test]
fn a_full_disk_ends_it_with_a_word() {
    let Some(mut bed) = Bed::build("f", &["a"]) else { return };
    let config = json!({"span": bed.path("span.pcap"), "gateway_mac": GATEWAY,
        "ports": [{"tap": "a", "mac": A, "zone": "lan"}]});
    // Files of this process end after 4 KiB, and the write says so instead of a signal.
    bed.start_with(&config, &["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$1\""]);
    bed.host("a", A, &["10.7.1.5/24"], None);
    for _ in 0..20 {
        bed.send("a", "10.7.1.255:9");
    }
    let output = bed.wait();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{errors}");
    assert!(errors.contains("cannot write span file"), "{errors}");
    assert!(errors.contains("span.pcap"), "{errors}");
}

#[test]
fn what_it_cannot_start_with_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.json");
    let wire = |path: &Path| run(env!("CARGO_BIN_EXE_tapline-wire"), &[path.to_str().unwrap()]);

    let output = run(env!("CARGO_BIN_EXE_tapline-wire"), &[]);
    assert_eq!(output.status.code(), Some(2));
    let output = wire(&path);
    assert_eq!(output.status.code(), Some(66));
    fs::write(&path, r#"{"span":"x","gateway_mac":"02:00:00:00:00:01","ports":[],"port":[]}"#).unwrap();
    let output = wire(&path);
    assert_eq!(output.status.code(), Some(65));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("wire.json") && text.contains("unknown field `port`"), "{text}");
}

fn check_rtts(rtts: &[Duration], configured_us: u64) {
    let mut sorted = rtts.to_vec();
    sorted.sort();
    let configured = Duration::from_micros(configured_us);
    eprintln!(
        "round trips: configured {configured:?}, from {:?}, median {:?}",
        sorted[0],
        sorted[sorted.len() / 2]
    );
    assert!(sorted[0] >= configured, "faster than the cables: {sorted:?}");
    assert!(sorted[sorted.len() / 2] < configured + Duration::from_millis(10), "{sorted:?}");
}

fn check_report(report: &Value) {
    let ports = report["ports"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let mut taken = number(&report["flood_copies"]);
    let mut given = number(&report["in_flight"]);
    for port in ports {
        taken += number(&port["frames_in"]);
        given += number(&port["frames_out"]);
        for (name, value) in port.as_object().unwrap() {
            given += if name.starts_with("dropped_") { number(value) } else { 0 };
        }
    }
    assert_eq!(taken, given, "{report}");
    assert_eq!(number(&report["advanced_us"]), 5_000_000);
    assert_eq!(number(&ports[0]["dropped_unroutable"]), 1);
    assert_eq!(number(&ports[2]["dropped_unroutable"]), 1);
    assert!(number(&ports[1]["dropped_down"]) >= 1);
    assert!(number(&ports[1]["read_errors"]) >= 1);
}

fn check_recording(bytes: &[u8], report: &Value) {
    let packets = pcap(bytes);
    assert_eq!(packets.len() as u64, report["span"]["frames"].as_u64().unwrap());
    let mut last_us = 0;
    let mut longest_gap_us = 0;
    let mut arp = Vec::new();
    let mut streamed = 0;
    let (mut near, mut out, mut back, mut out6, mut back6, mut dark) = (0, 0, 0, 0, 0, Vec::new());
    for packet in &packets {
        assert!(packet.at_us >= last_us);
        longest_gap_us = longest_gap_us.max(if last_us == 0 { 0 } else { packet.at_us - last_us });
        last_us = packet.at_us;
        assert!(packet.frame.len() <= 1518, "no offload, no giant frames");
        let (to, from) = (mac(&packet.frame[..6]), mac(&packet.frame[6..12]));
        let tagged = packet.frame[12..14] == [0x81, 0];
        assert_eq!(tagged, from == B, "the tag of the port of a LAN sender");
        let rest = &packet.frame[if tagged { 16 } else { 12 }..];
        if tagged {
            assert_eq!(packet.frame[14..16], [0, 12]);
        }
        match rest[..2] {
            [8, 6] => arp.push((to, from)),
            [8, 0] => {
                let ip = &rest[2..];
                assert_eq!(sum(&ip[..20], 0), 0xffff, "IPv4 header checksum");
                let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
                let (ttl, protocol) = (ip[8], ip[9]);
                let (source, destination) = (Ipv4Addr::from(u32_at(ip, 12)), Ipv4Addr::from(u32_at(ip, 16)));
                if protocol == 6 {
                    let segment = &ip[20..length];
                    let pseudo = sum(&ip[12..20], 6 + segment.len() as u32);
                    assert_eq!(sum(segment, u32::from(pseudo)), 0xffff, "TCP checksum");
                    if source == Ipv4Addr::new(10, 7, 1, 5) {
                        streamed += segment.len() - usize::from(segment[12] >> 4) * 4;
                    }
                }
                match (source.octets(), destination.octets()) {
                    ([10, 7, 1, 5], [10, 7, 1, 6]) => {
                        near += 1;
                        assert_eq!((to.as_str(), from.as_str(), ttl), (B, A, 64));
                    }
                    ([10, 7, 1, 6], [10, 7, 1, 5]) => {
                        near += 1;
                        assert_eq!((to.as_str(), from.as_str(), ttl), (A, B, 64));
                    }
                    ([10, 7, 1, 5], [198, 51, 100, 9]) => {
                        out += 1;
                        assert_eq!((to.as_str(), from.as_str(), ttl), (GATEWAY, A, 64));
                    }
                    ([198, 51, 100, 9], [10, 7, 1, 5]) => {
                        back += 1;
                        assert_eq!((to.as_str(), from.as_str(), ttl), (A, GATEWAY, 57));
                    }
                    (_, [10, 7, 2, 99]) => dark.push((to, from, ttl)),
                    _ => {}
                }
            }
            [0x86, 0xdd] if rest[8] == 17 => {
                let hop_limit = rest[9];
                if from == A {
                    out6 += 1;
                    assert_eq!((to.as_str(), hop_limit), (GATEWAY, 64));
                } else {
                    back6 += 1;
                    assert_eq!((to.as_str(), from.as_str(), hop_limit), (A, GATEWAY, 57));
                }
            }
            _ => {}
        }
    }
    assert_eq!(near, 42);
    assert!(out >= 21 + STREAM_BYTES / 1460 && back > 21, "{out} {back}");
    assert_eq!((out6, back6), (21, 21));
    assert!(streamed >= STREAM_BYTES, "{streamed}");
    assert!(longest_gap_us >= 5_000_000, "the clock was moved ahead");
    let text = |to: &str, from: &str| (to.to_owned(), from.to_owned());
    assert_eq!(arp.iter().filter(|&pair| *pair == text("ff:ff:ff:ff:ff:ff", A)).count(), 1, "{arp:?}");
    assert!(arp.contains(&text(A, B)), "{arp:?}");
    assert_eq!(dark.len(), 2);
    assert!(dark.contains(&(GATEWAY.to_owned(), A.to_owned(), 64)), "{dark:?}");
    assert!(dark.contains(&(GATEWAY.to_owned(), GATEWAY.to_owned(), 57)), "{dark:?}");
}

struct Packet<'a> {
    at_us: u64,
    frame: &'a [u8],
}

fn pcap(bytes: &[u8]) -> Vec<Packet<'_>> {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(bytes, 0), word(bytes, 20)), (0xa1b2_c3d4, 1));
    let mut rest = &bytes[24..];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let (header, tail) = rest.split_at(16);
        let (frame, tail) = tail.split_at(word(header, 8) as usize);
        assert_eq!(word(header, 12) as usize, frame.len());
        packets.push(Packet {
            at_us: u64::from(word(header, 0)) * 1_000_000 + u64::from(word(header, 4)),
            frame,
        });
        rest = tail;
    }
    packets
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The sum of RFC 1071, not inverted.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
    let mut sum = bytes.chunks(2).map(word).sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Namespaces, and the wire between them.
struct Bed {
    tag: String,
    namespaces: Vec<String>,
    folder: tempfile::TempDir,
    wire: Option<Running>,
}

struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Bed {
    /// One namespace for the switch and one for each host; nothing, and a message, where that is not allowed.
    fn build(test: &str, hosts: &[&str]) -> Option<Self> {
        let tag = format!("tw{}{test}", std::process::id());
        let mut bed = Self { tag, namespaces: Vec::new(), folder: tempfile::tempdir().unwrap(), wire: None };
        for name in [&["switch"], hosts].concat() {
            let namespace = bed.namespace(name);
            match Command::new("ip").args(["netns", "add", &namespace]).output() {
                Ok(output) if output.status.success() => bed.namespaces.push(namespace),
                failed => {
                    eprintln!("skipped: cannot make network namespaces: {failed:?}");
                    return None;
                }
            }
        }
        let probe =
            ["netns", "exec", &bed.namespace("switch"), "ip", "tuntap", "add", "probe", "mode", "tap"];
        let output = run("ip", &probe);
        if !output.status.success() {
            eprintln!("skipped: cannot make TAP devices: {output:?}");
            return None;
        }
        Some(bed)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn in_namespace(&self, name: &str, command: &[&str]) {
        let namespace = self.namespace(name);
        let output = run("ip", &[&["-n", namespace.as_str()], command].concat());
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    fn start(&mut self, config: &Value) {
        self.start_with(config, &[]);
    }

    fn start_with(&mut self, config: &Value, shell: &[&str]) {
        let path = self.path("wire.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace("switch")])
            .args(shell)
            .arg(env!("CARGO_BIN_EXE_tapline-wire"))
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.wire = Some(Running { child, input, output });
        assert_eq!(self.line(), "ready");
    }

    /// Moves a TAP device into its namespace and makes it a host.
    fn host(&self, name: &str, mac: &str, addresses: &[&str], gateways: Option<(&str, &str)>) {
        self.in_namespace("switch", &["link", "set", "dev", name, "netns", &self.namespace(name)]);
        self.in_namespace(name, &["link", "set", "dev", name, "address", mac, "up"]);
        for address in addresses {
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            self.in_namespace(name, &[&["addr", "add", address, "dev", name], nodad].concat());
        }
        let Some((v4, v6)) = gateways else { return };
        for (family, gateway) in [("-4", v4), ("-6", v6)] {
            self.in_namespace(
                name,
                &["neigh", "add", gateway, "lladdr", GATEWAY, "dev", name, "nud", "permanent"],
            );
            self.in_namespace(name, &[family, "route", "add", "default", "via", gateway]);
        }
    }

    /// Runs `work` on a thread in the namespace of a host.
    fn on<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = File::open(Path::new("/run/netns").join(self.namespace(name))).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }

    /// Answers `count` datagrams.
    fn echo(&self, name: &str, at: SocketAddr, count: usize) -> thread::JoinHandle<()> {
        let (ready, wait) = std::sync::mpsc::channel();
        let thread = self.on(name, move || {
            let socket = UdpSocket::bind(at).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            ready.send(()).unwrap();
            let mut buffer = [0; 100];
            for _ in 0..count {
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                socket.send_to(&buffer[..len], from).unwrap();
            }
        });
        wait.recv().unwrap();
        thread
    }

    /// Round trips of `count` datagrams, after one that may have to wait for ARP.
    fn ping(&self, name: &str, from: SocketAddr, to: SocketAddr, count: usize) -> Vec<Duration> {
        let work = move || {
            let socket = UdpSocket::bind(from).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.connect(to).unwrap();
            let round_trip = |_| {
                let sent = Instant::now();
                socket.send(b"ping").unwrap();
                socket.recv(&mut [0; 100]).unwrap();
                sent.elapsed()
            };
            (0..=count).map(round_trip).skip(1).collect()
        };
        self.on(name, work).join().unwrap()
    }

    fn sink(&self, name: &str, at: SocketAddr) -> thread::JoinHandle<usize> {
        let (ready, wait) = std::sync::mpsc::channel();
        let thread = self.on(name, move || {
            let listener = TcpListener::bind(at).unwrap();
            ready.send(()).unwrap();
            let mut bytes = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap()
        });
        wait.recv().unwrap();
        thread
    }

    fn stream(&self, name: &str, to: SocketAddr) {
        let work = move || {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(&vec![7; STREAM_BYTES]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        };
        self.on(name, work).join().unwrap();
    }

    /// Sends one datagram that nobody answers.
    fn send(&self, name: &str, to: &str) {
        let to: SocketAddr = to.parse().unwrap();
        let work = move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(&[0; 1_000], to).unwrap();
        };
        self.on(name, work).join().unwrap();
    }

    fn say(&mut self, text: &str) {
        let input = self.wire.as_mut().unwrap().input.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    fn close_input(&mut self) {
        self.wire.as_mut().unwrap().input = None;
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.wire.as_mut().unwrap().output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// User and system time of the wire, in ticks of 10 ms.
    fn cpu_ticks(&self) -> u64 {
        let pid = self.wire.as_ref().unwrap().child.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// The counters and the messages of a wire that was told to stop.
    fn finish(&mut self) -> (Value, String) {
        let line = self.line();
        let output = self.wait();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        (serde_json::from_str(&line).unwrap(), errors)
    }

    fn wait(&mut self) -> Output {
        let Running { child, input, .. } = self.wire.take().unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        output
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut wire) = self.wire.take() {
            let _ = wire.child.kill();
            let _ = wire.child.wait();
        }
        for namespace in &self.namespaces {
            run("ip", &["netns", "del", namespace]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap()
}
