//! One capture, one output: whatever the number of workers, however the capture is cut, whichever way it is mirrored.

use crate::support::generator::{Random, Shape, sequence};
use crate::support::packets::{Packet, pcap};
use crate::support::program::{column, rows, stderr, tapline, tapline_with_input};

const SCHEMAS: [&str; 4] = ["tapline-1", "cic-2018", "cic-head", "cic-gints"];

fn busy_capture(seed: u64) -> Vec<Packet> {
    // Many small sequences side by side, so that every shard has something to do.
    let mut packets = Vec::new();
    for part in 0..200 {
        let shape = Shape { packets: 40, out_of_order: 2, loopback: part % 7 == 0 };
        let mut more = sequence(seed * 1_000 + part, shape);
        let [a, b] = (part as u16 + 1).to_be_bytes();
        for packet in &mut more {
            // The last byte, too: the sequence's own hosts stay apart.
            packet.src = [packet.src.octets()[0], a, b, packet.src.octets()[3]].into();
            packet.dst = [packet.dst.octets()[0], a, b, packet.dst.octets()[3]].into();
        }
        packets.extend(more);
    }
    packets.sort_by_key(|packet| packet.ts_us);
    packets
}

#[test]
fn any_number_of_workers_writes_the_same_bytes() {
    let capture = pcap(&busy_capture(1));
    for schema in SCHEMAS {
        // 64 flows at once: evictions are part of the promise.
        for max_flows in ["64", "1000000"] {
            let of = |workers| {
                rows(&["--schema", schema, "--max-flows", max_flows, "--workers", workers], &capture)
            };
            let one = of("1");
            assert!(one.lines().count() > 1_000, "{schema}: {} rows", one.lines().count());
            for workers in ["2", "3", "4", "8", "64"] {
                assert!(one == of(workers), "{schema}, {workers} workers, {max_flows} flows: bytes differ");
            }
        }
    }
}

#[test]
fn a_capture_in_pieces_is_the_whole_capture() {
    let packets = busy_capture(2);
    let whole = rows(&[], &pcap(&packets));
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(3);
    let mut rest = packets.as_slice();
    let mut piece = 0;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at((1 + random.below(2_500) as usize).min(rest.len()));
        std::fs::write(folder.path().join(format!("{piece:03}.pcap")), pcap(head)).unwrap();
        rest = tail;
        piece += 1;
    }
    assert!(piece > 2);
    let output = tapline(&["replay", "--quiet", folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8(output.stdout).unwrap() == whole, "rows of the pieces differ");
}

#[test]
fn a_mirrored_capture_has_mirrored_rows() {
    // Without SYN-ACK, which says by itself who the initiator is.
    let plain: Vec<Packet> = busy_capture(4)
        .into_iter()
        .filter(|packet| packet.flags & 0x12 != 0x12 && packet.protocol != 1 && packet.src != packet.dst)
        .collect();
    let mirrored: Vec<Packet> = plain.iter().map(Packet::mirrored).collect();
    let (plain, mirrored) = (rows(&[], &pcap(&plain)), rows(&[], &pcap(&mirrored)));
    assert_eq!(column(&plain, "src_ip"), column(&mirrored, "dst_ip"));
    for name in ["src_port", "dst_port"] {
        let other = if name == "src_port" { "dst_port" } else { "src_port" };
        assert_eq!(column(&plain, name), column(&mirrored, other));
    }
    // Directions are relative to the initiator: everything else stays.
    let same = |text: &str| -> Vec<String> {
        text.lines().skip(1).map(|row| row.splitn(6, ',').last().unwrap().to_owned()).collect()
    };
    assert_eq!(same(&plain), same(&mirrored));
}

/// One packet with a clock eighty years ahead ends the flows that are live then, and no later ones.
#[test]
fn a_clock_that_was_wrong_once_does_no_lasting_harm() {
    let packets = busy_capture(6);
    let mut wrong = packets.clone();
    let stray = Packet { ts_us: 4_000_000_000_000_000, src: [203, 0, 113, 1].into(), ..packets[0].clone() };
    wrong.insert(packets.len() / 10, stray);
    let right = column(&rows(&[], &pcap(&packets)), "src_ip").len();
    let csv = rows(&["--workers", "3"], &pcap(&wrong));
    assert!(csv == rows(&["--workers", "1"], &pcap(&wrong)));
    let flows = column(&csv, "src_ip").len();
    assert!(flows > right && flows < right + right / 10, "{flows} flows, {right} without the stray packet");
    let output = tapline_with_input(&["replay", "--format", "none", "-"], &pcap(&wrong));
    assert!(stderr(&output).contains("clock fell back"), "{}", stderr(&output));
    assert!(stderr(&output).contains(" 0 unaccounted"), "{}", stderr(&output));
}

#[test]
fn every_packet_is_accounted_for() {
    let capture = pcap(&busy_capture(5));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stats.json");
    for schema in SCHEMAS {
        for extra in [&["--workers", "1"][..], &["--workers", "4", "--filter", "tcp", "--max-flows", "64"]] {
            let mut args =
                vec!["replay", "--schema", schema, "--format", "none", "--stats", path.to_str().unwrap()];
            args.extend(extra);
            args.push("-");
            let output = tapline_with_input(&args, &capture);
            assert!(output.status.success(), "{}", stderr(&output));
            let stats: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let packets = &stats["packets"];
            let count = |name: &str| packets[name].as_u64().unwrap();
            assert_eq!(count("seen"), 8_000);
            assert_eq!(
                count("seen"),
                count("processed") + count("filtered") + count("undecodable"),
                "{schema} {extra:?}: {stats:#}"
            );
            assert_eq!(count("processed"), count("in_emitted_flows") + count("non_flow"), "{stats:#}");
            assert_eq!(count("unaccounted"), 0);
            assert_eq!(count("filtered") > 0, extra.contains(&"--filter"));
            assert_eq!(stats["flows"]["live"], 0);
        }
    }
}
