//! Makes the packet traces that the benchmarks read.
//!
//! `grow` merges small captures so that their times overlap and repeats the merge with other addresses; `flood` makes
//! SYN frames, every one a flow of its own; `info` counts the packets of a trace. The same seed gives the same bytes.
//! Std only, so that a trace costs nothing to build; it reads and writes classic pcap, the one format every tool reads.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: its report is its output"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
Usage: trace grow --input PATH... (--copies N | --packets N) [--seed S] [--window SECONDS]
                  [--max-span SECONDS] [--lanes K] [--pad] -o FILE
       trace flood --packets N [--seed S] -o FILE
       trace info FILE...

grow   merges classic Ethernet pcap files (folders: every *.pcap inside) and writes the merge N times, one after the
       other, each time with other IPv4 and IPv6 addresses. Other captures are skipped and counted.
         --copies N          how many times the merge is written (1 to 65536)
         --packets N         as many whole copies as give at least N packets
         --window SECONDS    every file starts inside this time (600)
         --max-span SECONDS  files lasting longer are skipped (3600)
         --lanes K           K copies run side by side, for more flows at one time (1)
         --pad               fill frames that were cut on capture with zeros up to their length on the wire
flood  writes N TCP SYN frames of 60 bytes, 1 to 10 us apart, every one a flow of its own
info   prints packets, bytes captured, bytes on the wire and seconds, tab-separated, one line per file
";

/// Longest frame read or written: what tcpdump calls its maximum snapshot length.
const MAX_FRAME: u32 = 262_144;
/// First packet of every trace made here: 2023-11-14 22:13:20 UTC.
const EPOCH_US: u64 = 1_700_000_000_000_000;
const SECOND_US: u64 = 1_000_000;
const ETHERNET: u32 = 1;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("trace: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<String> {
    let Some((command, rest)) = args.split_first() else {
        return Err(format!("no command\n\n{USAGE}").into());
    };
    match command.as_str() {
        "grow" => grow_command(&Options::parse(rest)?),
        "flood" => flood_command(&Options::parse(rest)?),
        "info" => info_command(rest),
        "help" | "-h" | "--help" => Ok(USAGE.to_owned()),
        other => Err(format!("unknown command '{other}'\n\n{USAGE}").into()),
    }
}

// ---- Command line ----

#[derive(Debug, Default)]
struct Options {
    inputs: Vec<PathBuf>,
    output: Option<PathBuf>,
    copies: Option<u64>,
    packets: Option<u64>,
    seed: u64,
    window: Option<u64>,
    max_span: Option<u64>,
    lanes: Option<u64>,
    pad: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { seed: 1, ..Self::default() };
        let mut args = args.iter().peekable();
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--input" => {
                    options.inputs.push(value()?.into());
                    while let Some(path) = args.next_if(|next| !next.starts_with('-')) {
                        options.inputs.push(path.into());
                    }
                }
                "-o" | "--output" => options.output = Some(value()?.into()),
                "--copies" => options.copies = Some(number(name, value()?)?),
                "--packets" => options.packets = Some(number(name, value()?)?),
                "--seed" => options.seed = number(name, value()?)?,
                "--window" => options.window = Some(number(name, value()?)?),
                "--max-span" => options.max_span = Some(number(name, value()?)?),
                "--lanes" => options.lanes = Some(number(name, value()?)?),
                "--pad" => options.pad = true,
                other => return Err(format!("unknown option '{other}'\n\n{USAGE}").into()),
            }
        }
        Ok(options)
    }

    fn create_output(&self) -> Result<TraceWriter<BufWriter<File>>> {
        let path = self.output.as_ref().ok_or("no output: add -o FILE")?;
        let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(TraceWriter::new(BufWriter::with_capacity(1 << 20, file))?)
    }
}

fn number(name: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| format!("{name}: '{value}' is not a whole number").into())
}

// ---- Commands ----

fn grow_command(options: &Options) -> Result<String> {
    if options.inputs.is_empty() {
        return Err("no captures: add --input PATH...".into());
    }
    let max_span = options.max_span.unwrap_or(3600).saturating_mul(SECOND_US);
    let window = options.window.unwrap_or(600).saturating_mul(SECOND_US);
    let mut merge = Merge::default();
    let mut rng = SplitMix64(options.seed);
    let (mut used, mut skipped) = (0_u64, 0_u64);
    for path in list_captures(&options.inputs)? {
        let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        // Drawn for skipped files too: one unreadable file does not move the others.
        let offset = rng.below(window.max(1));
        match read_capture(&bytes, max_span) {
            Ok(packets) => {
                used += 1;
                merge.add(&bytes, &packets, offset);
            }
            Err(why) => {
                skipped += 1;
                eprintln!("trace: skipped {}: {why}", path.display());
            }
        }
    }
    merge.sort();
    let per_copy = merge.packets.len() as u64;
    if per_copy == 0 {
        return Err("the captures hold no packet that can be used".into());
    }
    let copies = match (options.copies, options.packets) {
        (Some(copies), None) => copies,
        (None, Some(packets)) => packets.div_ceil(per_copy),
        _ => return Err("give one of --copies and --packets".into()),
    };
    if !(1..=65_536).contains(&copies) {
        return Err(format!("{copies} copies: between 1 and 65536 are possible").into());
    }
    let layout =
        Layout { copies, lanes: options.lanes.unwrap_or(1).max(1), seed: options.seed, pad: options.pad };
    let mut writer = options.create_output()?;
    merge.write(layout, &mut writer)?;
    let cut = merge.packets.iter().filter(|packet| (packet.frame.1 as u64) < u64::from(packet.wire)).count();
    Ok(format!(
        "files used {used}, skipped {skipped}; copies {copies} of {per_copy} packets ({cut} cut on capture), {} in all\n",
        writer.finish()?
    ))
}

fn flood_command(options: &Options) -> Result<String> {
    let packets = options.packets.ok_or("no size: add --packets N")?;
    let mut writer = options.create_output()?;
    flood(packets, options.seed, &mut writer)?;
    Ok(format!("{} packets, each a flow of its own\n", writer.finish()?))
}

fn info_command(paths: &[String]) -> Result<String> {
    if paths.is_empty() {
        return Err("no trace: name at least one file".into());
    }
    let mut report = String::new();
    for path in paths {
        let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
        let info = count(BufReader::with_capacity(1 << 20, file)).map_err(|e| format!("{path}: {e}"))?;
        let span = info.last_us.saturating_sub(info.first_us);
        report += &format!(
            "{}\t{}\t{}\t{}.{:06}\t{path}\n",
            info.packets,
            info.captured,
            info.wire,
            span / SECOND_US,
            span % SECOND_US
        );
    }
    Ok(report)
}

/// Files as given, folders as their `*.pcap` files in name order: the order decides what the seed does.
fn list_captures(inputs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            files.push(input.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(input).map_err(|e| format!("{}: {e}", input.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pcap") && path.is_file() {
                inside.push(path);
            }
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

// ---- Reading classic pcap ----

/// What the 24 bytes at the start of a capture say.
#[derive(Debug, Clone, Copy)]
struct Format {
    big_endian: bool,
    nanoseconds: bool,
    link_type: u32,
}

impl Format {
    fn parse(header: &[u8; 24]) -> std::result::Result<Self, &'static str> {
        let (big_endian, nanoseconds) = match header[..4] {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, true),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, false),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
            _ => return Err("not a classic pcap file"),
        };
        let format = Self { big_endian, nanoseconds, link_type: 0 };
        // The upper bits of the field tell the length of the frame check sequence.
        Ok(Self { link_type: format.u32_at(header, 20) & 0xffff, ..format })
    }

    fn u32_at(self, bytes: &[u8], at: usize) -> u32 {
        let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    fn record(self, header: &[u8; 16]) -> Record {
        let fraction = u64::from(self.u32_at(header, 4));
        let micros = if self.nanoseconds { fraction / 1000 } else { fraction };
        Record {
            time_us: u64::from(self.u32_at(header, 0)) * SECOND_US + micros,
            captured: self.u32_at(header, 8),
            wire: self.u32_at(header, 12),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    time_us: u64,
    captured: u32,
    wire: u32,
}

/// A packet of a merge: its time, its length on the wire, and where its bytes start and how many there are.
#[derive(Debug, Clone, Copy)]
struct Packet {
    time_us: u64,
    wire: u32,
    frame: (usize, usize),
}

/// The packets of one capture, times counted from its earliest packet, frames as places in `bytes`.
///
/// A file that ends inside a record gives the packets before it.
fn read_capture(bytes: &[u8], max_span: u64) -> std::result::Result<Vec<Packet>, String> {
    let (header, mut rest) = bytes.split_first_chunk::<24>().ok_or("shorter than a pcap header")?;
    let format = Format::parse(header)?;
    if format.link_type != ETHERNET {
        return Err(format!("link type {} is not Ethernet", format.link_type));
    }
    let mut packets = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let record = format.record(header);
        let length = record.captured as usize;
        if record.captured > MAX_FRAME || length > after.len() {
            break;
        }
        let start = bytes.len() - after.len();
        let wire = record.wire.max(record.captured);
        packets.push(Packet { time_us: record.time_us, wire, frame: (start, length) });
        rest = &after[length..];
    }
    let Some(first) = packets.iter().map(|packet| packet.time_us).min() else {
        return Err("no packet".into());
    };
    for packet in &mut packets {
        packet.time_us -= first;
        if packet.time_us > max_span {
            return Err(format!("lasts longer than {} s", max_span / SECOND_US));
        }
    }
    Ok(packets)
}

#[derive(Debug, Default)]
struct Info {
    packets: u64,
    captured: u64,
    wire: u64,
    first_us: u64,
    last_us: u64,
}

fn count(mut input: impl Read) -> Result<Info> {
    let mut header = [0; 24];
    input.read_exact(&mut header)?;
    let format = Format::parse(&header)?;
    let mut info = Info { first_us: u64::MAX, ..Info::default() };
    let mut header = [0; 16];
    loop {
        match input.read_exact(&mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(info),
            Err(e) => return Err(e.into()),
        }
        let record = format.record(&header);
        let captured = u64::from(record.captured);
        if io::copy(&mut input.by_ref().take(captured), &mut io::sink())? < captured {
            return Ok(info);
        }
        info.packets += 1;
        info.captured += captured;
        info.wire += u64::from(record.wire);
        info.first_us = info.first_us.min(record.time_us);
        info.last_us = info.last_us.max(record.time_us);
    }
}

// ---- Growing ----

/// The small captures on one time axis.
#[derive(Debug, Default)]
struct Merge {
    data: Vec<u8>,
    packets: Vec<Packet>,
}

impl Merge {
    /// Takes over the frames of one capture, shifted by `offset`.
    fn add(&mut self, bytes: &[u8], packets: &[Packet], offset: u64) {
        for packet in packets {
            let (start, length) = packet.frame;
            let frame = (self.data.len(), length);
            self.data.extend_from_slice(&bytes[start..start + length]);
            self.packets.push(Packet { time_us: packet.time_us + offset, frame, ..*packet });
        }
    }

    /// Brings the packets into time order; packets of one time stay in file order.
    fn sort(&mut self) {
        self.packets.sort_by_key(|packet| packet.time_us);
    }

    /// Writes the copies, `lanes` at a time and then a second of silence.
    fn write(&self, layout: Layout, out: &mut TraceWriter<impl Write>) -> io::Result<()> {
        let first = self.packets.first().map_or(0, |packet| packet.time_us);
        let last = self.packets.last().map_or(0, |packet| packet.time_us);
        let mut start_us = EPOCH_US;
        let mut frame = Vec::new();
        let mut copy = 0;
        while copy < layout.copies {
            let end = (copy + layout.lanes).min(layout.copies);
            let masks: Vec<_> = (copy..end).map(|copy| address_mask(copy, layout.seed)).collect();
            for packet in &self.packets {
                let (start, length) = packet.frame;
                for mask in &masks {
                    frame.clear();
                    frame.extend_from_slice(&self.data[start..start + length]);
                    remap_addresses(&mut frame, *mask);
                    if layout.pad {
                        frame.resize((packet.wire.min(MAX_FRAME) as usize).max(length), 0);
                    }
                    out.packet(start_us + packet.time_us - first, packet.wire, &frame)?;
                }
            }
            start_us += last - first + SECOND_US;
            copy = end;
        }
        Ok(())
    }
}

/// How often a merge is written, and how.
#[derive(Debug, Clone, Copy)]
struct Layout {
    copies: u64,
    lanes: u64,
    seed: u64,
    pad: bool,
}

/// The value by which the low 16 bits of every address differ in a copy: none in the first, another one in every copy.
fn address_mask(copy: u64, seed: u64) -> [u8; 2] {
    // An odd factor makes the product a permutation of the 16-bit numbers, so no two copies share a value.
    let odd = SplitMix64(seed).next() | 1;
    (copy.wrapping_mul(odd) as u16).to_be_bytes()
}

/// Changes the outermost IPv4 or IPv6 addresses of an Ethernet frame. Checksums are left as they were.
fn remap_addresses(frame: &mut [u8], mask: [u8; 2]) {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    let (source, length) = match frame.get(at..at + 2) {
        Some([0x08, 0x00]) => (at + 2 + 12, 4),
        Some([0x86, 0xdd]) => (at + 2 + 8, 16),
        _ => return,
    };
    for start in [source, source + length] {
        if let Some(address) = frame.get_mut(start..start + length) {
            remap_address(address, mask);
        }
    }
}

/// One host has the same new address wherever it appears, so both directions stay one flow.
///
/// Multicast, broadcast and unspecified addresses mean something and stay.
fn remap_address(address: &mut [u8], mask: [u8; 2]) {
    let stays = if address.len() == 4 { address[0] >= 224 } else { address[0] == 0xff };
    if stays || address.iter().all(|byte| *byte == 0) {
        return;
    }
    let low = address.len() - 2;
    address[low] ^= mask[0];
    address[low + 1] ^= mask[1];
}

// ---- Flooding ----

fn flood(packets: u64, seed: u64, out: &mut TraceWriter<impl Write>) -> io::Result<()> {
    let mut rng = SplitMix64(seed);
    let key = rng.next();
    let mut time_us = EPOCH_US;
    for index in 0..packets {
        let (address, port) = flood_source(index, key);
        let draw = rng.next();
        out.packet(time_us, 60, &syn_frame(address, port, draw))?;
        time_us += 1 + (draw >> 32) % 10;
    }
    Ok(())
}

/// Address and port of the sender of SYN `index`: no two are alike below 2^24 x 64512.
fn flood_source(index: u64, key: u64) -> (u32, u16) {
    // An odd factor permutes the 24-bit numbers; once they are used up, every address goes on to its next port.
    let host = (index & 0x00ff_ffff).wrapping_mul(key | 1) & 0x00ff_ffff;
    let first_port = SplitMix64(key ^ host).next() % 64_512;
    let port = 1024 + (first_port + (index >> 24)) % 64_512;
    (0x0a00_0000 | host as u32, port as u16)
}

/// A SYN from 10/8 to one of 256 servers of the benchmark network 198.18.0.0/24, checksums right, padded to 60 bytes.
fn syn_frame(address: u32, port: u16, draw: u64) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    // Version and header length, total length 40, do not fragment, 64 hops, TCP.
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
    frame[26..30].copy_from_slice(&address.to_be_bytes());
    frame[30..34].copy_from_slice(&[198, 18, 0, draw as u8]);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&[0, 80]);
    frame[38..42].copy_from_slice(&(draw as u32).to_be_bytes());
    // Header length 20, SYN, window 64240.
    frame[46..50].copy_from_slice(&[0x50, 0x02, 0xfa, 0xf0]);
    let sum = checksum(0, &frame[14..34]);
    frame[24..26].copy_from_slice(&sum);
    // The pseudo header adds the addresses, the protocol number and the length of the segment.
    let sum = checksum(6 + 20, &frame[26..54]);
    frame[50..52].copy_from_slice(&sum);
    frame
}

/// The Internet checksum of an even number of bytes, on top of `start`.
fn checksum(start: u32, bytes: &[u8]) -> [u8; 2] {
    let sum = bytes
        .chunks_exact(2)
        .fold(start, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!sum as u16).to_be_bytes()
}

// ---- Writing ----

/// Writes classic pcap: little-endian, microseconds, Ethernet.
#[derive(Debug)]
struct TraceWriter<W> {
    out: W,
    packets: u64,
}

impl<W: Write> TraceWriter<W> {
    fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        // Version 2.4.
        out.write_all(&[2, 0, 4, 0])?;
        for word in [0, 0, MAX_FRAME, ETHERNET] {
            out.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { out, packets: 0 })
    }

    fn packet(&mut self, time_us: u64, wire: u32, frame: &[u8]) -> io::Result<()> {
        let mut header = [0; 16];
        // 32 bits of seconds are what the format has; they end in 2106.
        header[..4].copy_from_slice(&((time_us / SECOND_US) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((time_us % SECOND_US) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        header[12..].copy_from_slice(&wire.to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(frame)?;
        self.packets += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.packets)
    }
}

// ---- Chance ----

/// Steele, Lea and Flood's generator: small, fast, and the same on every machine.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, with a bias too small to matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn small_capture(pairs: &[(u64, &[u8], u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = TraceWriter::new(&mut bytes).unwrap();
        for (time_us, frame, wire) in pairs {
            writer.packet(*time_us, *wire, frame).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn grown(capture: &[u8], copies: u64, lanes: u64, pad: bool) -> Vec<u8> {
        let mut merge = Merge::default();
        merge.add(capture, &read_capture(capture, SECOND_US).unwrap(), 7);
        merge.sort();
        let mut bytes = Vec::new();
        let mut writer = TraceWriter::new(&mut bytes).unwrap();
        merge.write(Layout { copies, lanes, seed: 3, pad }, &mut writer).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn frames(trace: &[u8]) -> Vec<(u64, &[u8])> {
        let packets = read_capture(trace, u64::MAX).unwrap();
        packets.iter().map(|p| (p.time_us, &trace[p.frame.0..p.frame.0 + p.frame.1])).collect()
    }

    #[test]
    fn copies_follow_on_with_other_addresses_and_keep_both_directions_together() {
        let there = syn_frame(0x0a01_0203, 5000, 9);
        let mut back = there;
        back[26..30].copy_from_slice(&there[30..34]);
        back[30..34].copy_from_slice(&there[26..30]);
        let trace = grown(&small_capture(&[(50, &there, 60), (90, &back, 60)]), 3, 1, false);
        let frames = frames(&trace);
        assert_eq!(
            frames.iter().map(|f| f.0).collect::<Vec<_>>(),
            [0, 40, 1_000_040, 1_000_080, 2_000_080, 2_000_120]
        );
        assert_eq!(frames[0].1, there, "the first copy is the original");
        for pair in frames.chunks(2) {
            assert_eq!(pair[0].1[26..30], pair[1].1[30..34]);
            assert_eq!(pair[0].1[30..34], pair[1].1[26..30]);
        }
        let senders: HashSet<_> = frames.iter().step_by(2).map(|f| &f.1[26..30]).collect();
        assert_eq!(senders.len(), 3);
    }

    #[test]
    fn lanes_run_side_by_side() {
        let frame = syn_frame(0x0a01_0203, 5000, 9);
        let trace = grown(&small_capture(&[(0, &frame, 60), (5, &frame, 60)]), 3, 2, false);
        let frames = frames(&trace);
        assert_eq!(frames.iter().map(|f| f.0).collect::<Vec<_>>(), [0, 0, 5, 5, 1_000_005, 1_000_010]);
        assert_eq!(frames[0].1, frames[2].1);
        assert_eq!(frames[1].1, frames[3].1);
        assert_ne!(frames[0].1, frames[1].1);
    }

    #[test]
    fn cut_frames_stay_cut_unless_padded() {
        let capture = small_capture(&[(0, &[1; 30], 100)]);
        assert_eq!(frames(&grown(&capture, 1, 1, false))[0].1.len(), 30);
        let padded = grown(&capture, 1, 1, true);
        assert_eq!(frames(&padded)[0].1.len(), 100);
        assert_eq!(count(padded.as_slice()).unwrap().wire, 100);
    }

    #[test]
    fn both_byte_orders_and_both_time_units_are_read() {
        let mut header = [0; 24];
        header[..4].copy_from_slice(&[0xa1, 0xb2, 0x3c, 0x4d]);
        header[23] = 1;
        let format = Format::parse(&header).unwrap();
        let record = format.record(&[0, 0, 0, 1, 0, 0, 0x07, 0xd0, 0, 0, 0, 5, 0, 0, 0, 6]);
        assert_eq!((record.time_us, record.captured, record.wire), (1_000_002, 5, 6));
        header[23] = 113;
        assert_eq!(read_capture(&header, 0).unwrap_err(), "link type 113 is not Ethernet");
        assert_eq!(read_capture(&[0; 24], 0).unwrap_err(), "not a classic pcap file");
    }

    #[test]
    fn a_flood_never_repeats_a_sender() {
        let senders: HashSet<_> =
            (0..50_000).chain((1 << 24)..(1 << 24) + 50_000).map(|i| flood_source(i, 77)).collect();
        assert_eq!(senders.len(), 100_000);
    }

    #[test]
    fn a_syn_carries_right_checksums() {
        let frame = syn_frame(0x0a00_0001, 1024, 5);
        assert_eq!(checksum(0, &frame[14..34]), [0, 0]);
        assert_eq!(checksum(26, &frame[26..54]), [0, 0]);
    }

    #[test]
    fn a_cut_file_gives_the_packets_before_the_cut() {
        let capture = small_capture(&[(0, &[1; 30], 30), (1, &[2; 30], 30)]);
        assert_eq!(read_capture(&capture[..capture.len() - 1], 10).unwrap().len(), 1);
    }
}
