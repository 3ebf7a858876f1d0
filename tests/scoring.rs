//! Verdicts and alerts: `replay --model`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::generator::{Shape, sequence};
use crate::support::model;
use crate::support::packets::{Packet, pcap};
use crate::support::program::{column, rows, stderr, tapline, tapline_with_input};

/// 2023-11-14T22:13:20Z.
const T0_US: i64 = 1_700_000_000_000_000;
const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 9);
const VERDICT: &str = "class,score,probability,p_value,top_features,model";

/// A folder with a model in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        model::write(&folder.0.path().join("model"));
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs `replay --model` on the capture with more arguments.
    fn replay(&self, capture: &[u8], more: &[&str]) -> Output {
        let model = self.path("model");
        let mut args = vec!["replay", "--model", &model];
        args.extend(more);
        args.push("-");
        tapline_with_input(&args, capture)
    }

    /// The rows as CSV; the run must be a good one.
    fn rows(&self, capture: &[u8], more: &[&str]) -> String {
        let output = self.replay(capture, &[&["--quiet", "--format", "csv"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn packet(at_us: i64, src: Ipv4Addr, dst: Ipv4Addr, ports: (u16, u16), flags: u8) -> Packet {
    Packet {
        ts_us: T0_US + at_us,
        src,
        dst,
        protocol: 6,
        sport: ports.0,
        dport: ports.1,
        flags,
        seq: 1,
        ack: 1,
        window: 1_000,
        payload: if flags == 0x18 { 300 } else { 0 },
        options: 0,
    }
}

/// Twenty hosts that talk to three servers each, over six minutes; and a host that knocks at sixty doors in half a minute, in the
/// third minute, of which none opens.
fn capture() -> Vec<u8> {
    let mut packets = Vec::new();
    for turn in 0..400_i64 {
        let at_us = turn * 900_000;
        let client = Ipv4Addr::new(10, 0, 0, (turn % 20) as u8 + 1);
        let server = Ipv4Addr::new(10, 0, 1, (turn % 3) as u8 + 1);
        let (out, back) = ((20_000 + turn as u16, 443), (443, 20_000 + turn as u16));
        for (step, flags) in [0x02, 0x12, 0x10, 0x18, 0x18, 0x11, 0x11, 0x10].into_iter().enumerate() {
            let at_us = at_us + step as i64 * 20_000;
            packets.push(match step {
                1 | 4 | 6 => packet(at_us, server, client, back, flags),
                _ => packet(at_us, client, server, out, flags),
            });
        }
    }
    for door in 0..60_u8 {
        let at_us = 120_000_000 + i64::from(door) * 500_000;
        packets.push(packet(at_us, SCANNER, Ipv4Addr::new(10, 0, 2, door), (40_000, 22), 0x02));
    }
    packets.sort_by_key(|packet| packet.ts_us);
    pcap(&packets)
}

#[test]
fn every_flow_leaves_once_in_its_order_with_a_verdict() {
    let (folder, capture) = (Folder::new(), capture());
    let plain = tapline_with_input(&["replay", "--quiet", "-"], &capture);
    let plain = String::from_utf8(plain.stdout).unwrap();
    let scored = folder.rows(&capture, &[]);
    assert_eq!(scored.lines().count(), 461);
    let columns = plain.lines().next().unwrap().split(',').count();
    for (plain, scored) in plain.lines().zip(scored.lines()) {
        assert_eq!(plain, scored.rsplitn(7, ',').nth(6).unwrap(), "{columns} columns are as they were");
    }
    assert!(scored.lines().next().unwrap().ends_with(VERDICT));

    // A flow is seen with those of the ten seconds that follow, so the first knock is known for what it is.
    for (source, class) in column(&scored, "src_ip").iter().zip(column(&scored, "class")) {
        assert_eq!(class, if *source == "10.0.9.9" { "scan" } else { "benign" }, "{source}");
    }
    let explained: Vec<&str> =
        column(&scored, "top_features").into_iter().filter(|names| !names.is_empty()).collect();
    assert!(!explained.is_empty() && explained.len() <= 4, "{explained:?}");
    assert!(explained.iter().all(|names| *names == "src_dsts_60s no_reply"), "{explained:?}");
    assert!(column(&scored, "model").iter().all(|model| model.starts_with("small-")));
}

#[test]
fn rows_and_alerts_are_the_same_for_any_number_of_workers() {
    let (folder, capture) = (Folder::new(), capture());
    for max_flows in ["64", "1000000"] {
        let of = |workers: &str| {
            let alerts = folder.path("alerts.ndjson");
            let rows =
                folder.rows(&capture, &["--workers", workers, "--max-flows", max_flows, "--alerts", &alerts]);
            (rows, fs::read_to_string(alerts).unwrap())
        };
        let one = of("1");
        assert!(one.1.contains("raised"));
        for workers in ["2", "3", "8", "64"] {
            assert!(one == of(workers), "{workers} workers, {max_flows} flows: bytes differ");
        }
    }
}

/// Flows of every kind, most of them odd; alerts are many and their reasons too.
#[test]
fn a_busy_capture_scores_the_same_for_any_number_of_workers() {
    let folder = Folder::new();
    let path = folder.path("model/model.toml");
    let text = fs::read_to_string(&path).unwrap();
    let eager = text
        .replace("investigate = 2.0", "investigate = -6.0")
        .replace("detect = 4.0", "detect = -4.0")
        .replace("alert_evidence = 20.0", "alert_evidence = 0.5")
        .replace("incident_gap_us = 600000000", "incident_gap_us = 20000000");
    assert_ne!(text, eager);
    fs::write(&path, eager).unwrap();
    let mut packets = Vec::new();
    for part in 0..40 {
        packets.extend(sequence(part, Shape { packets: 200, out_of_order: 2, loopback: part % 7 == 0 }));
    }
    packets.sort_by_key(|packet| packet.ts_us);
    let capture = pcap(&packets);
    let alerts = folder.path("alerts.ndjson");
    let of = |workers: &str| {
        let more = ["--workers", workers, "--max-flows", "128", "--alerts", &alerts];
        (folder.rows(&capture, &more), fs::read_to_string(&alerts).unwrap())
    };
    let one = of("1");
    let plain = rows(&["--max-flows", "128"], &capture);
    assert_eq!(one.0.lines().count(), plain.lines().count());
    assert!(one.1.lines().count() > 20, "{} lines of alerts", one.1.lines().count());
    for workers in ["2", "4", "8"] {
        assert!(one == of(workers), "{workers} workers: bytes differ");
    }
}

#[test]
fn an_alert_says_who_what_and_why() {
    let (folder, capture) = (Folder::new(), capture());
    let (alerts, stats) = (folder.path("alerts.ndjson"), folder.path("stats.json"));
    let output = folder.replay(&capture, &["--format", "none", "--alerts", &alerts, "--stats", &stats]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let lines = folder.lines("alerts.ndjson");
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["raised", "ended"]);
    assert!(
        lines.iter().all(|line| line["alert"] == 1 && line["by"] == "source" && line["source"] == "10.0.9.9")
    );
    let (raised, ended) = (&lines[0], &lines[1]);
    assert_eq!((&raised["class"], &raised["attack_id"]), (&"scan".into(), &"T1046".into()));
    assert!(raised["flows"].as_u64() >= Some(10));
    assert_eq!(ended["flows"], 60);
    assert!(ended["evidence"].as_f64().unwrap() >= raised["evidence"].as_f64().unwrap());
    assert!(raised["p_value"].as_f64().unwrap() <= 1e-3);
    assert_eq!(ended["first"], "2023-11-14T22:15:20.000000Z");
    assert_eq!(ended["last"], "2023-11-14T22:15:49.500000Z");
    assert_eq!(ended["ports"], serde_json::json!({ "count": 1, "exact": true, "examples": [22] }));
    let targets = ended["targets"]["count"].as_u64().unwrap();
    assert!((50..=60).contains(&targets) && ended["targets"]["exact"] == false, "{targets}");
    assert_eq!(ended["targets"]["examples"][7], "10.0.2.7");
    let reason = &raised["reasons"][0];
    assert_eq!(reason["input"], "src_dsts_60s");
    assert!(reason["log_odds"].as_f64().unwrap() > 5.0);
    let text = reason["text"].as_str().unwrap();
    assert!(text.ends_with("distinct destinations of the source, over 60 s (usually 1)"), "{text}");
    let example = &raised["example_flows"][0];
    assert!(example["community_id"].as_str().unwrap().starts_with("1:"));
    assert_eq!((&example["source"], &example["destination_port"]), (&"10.0.9.9".into(), &22.into()));

    let summary = stderr(&output);
    assert!(summary.contains("verdicts benign 400, scan 60 by small-"), "{summary}");
    assert!(summary.contains("1 incidents, 1 alerts"), "{summary}");
    let row = summary.lines().find(|line| line.contains("T1046")).unwrap();
    assert!(row.contains("2023-11-14T22:15:20Z") && row.contains("10.0.9.9"), "{row}");

    let stats: Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    let scoring = &stats["scoring"];
    assert_eq!(scoring["verdicts"], serde_json::json!({ "benign": 400, "scan": 60 }));
    assert_eq!((&scoring["alerts"], &scoring["incidents"]), (&1.into(), &1.into()));
    assert_eq!(stats["flows"]["emitted"], 460);
    let windows = &scoring["windows"];
    let closed_by = ["by_stride", "by_deadline", "by_end_of_input", "early"];
    let sum: u64 = closed_by.iter().map(|by| windows[by].as_u64().unwrap()).sum();
    assert_eq!(windows["closed"].as_u64(), Some(sum));
    let steps = scoring["steps"].as_u64().unwrap();
    assert!((460..=920).contains(&steps), "each flow once or twice: {steps}");
    assert_eq!(scoring["drift"]["flows"], 460);
}

#[test]
fn alerts_may_be_an_exit_code() {
    let (folder, capture) = (Folder::new(), capture());
    let code = |capture: &[u8], more: &[&str]| {
        let output = folder.replay(capture, &[&["--format", "none"], more].concat());
        (output.status.code(), stderr(&output))
    };
    let (with_alert, text) = code(&capture, &["--fail-on-alert"]);
    assert_eq!(with_alert, Some(3), "{text}");
    assert!(text.contains("T1046"), "the summary is written as well: {text}");
    // Some minutes in which nothing happens.
    let quiet = pcap(&[packet(0, SCANNER, Ipv4Addr::new(10, 0, 2, 1), (1, 22), 0x02)]);
    assert_eq!(code(&quiet, &["--fail-on-alert"]).0, Some(0));
}

#[test]
fn verdicts_stand_before_labels_in_every_format() {
    let (folder, capture) = (Folder::new(), capture());
    let truth = folder.path("truth.csv");
    let row = "1700000000000000,1700000900000000,10.0.9.9,,10.0.2.0/24,,,scan,1,scan,nmap,T1046,r,s";
    let header = "start_us,end_us,source,source_port,destination,destination_port,protocol,class,hostile,behaviour,\
                  tool,technique,run,site";
    fs::write(&truth, format!("{header}\n{row}\n")).unwrap();
    let output = folder.replay(&capture, &["--format", "none", "--truth", &truth]);
    assert!(stderr(&output).contains("by the truth 1 of them are true and 0 are not"), "{}", stderr(&output));
    let csv = folder.rows(&capture, &["--truth", &truth]);
    assert!(csv.lines().next().unwrap().contains(&format!("{VERDICT},label_class,")));
    let verdicts = column(&csv, "class").into_iter().zip(column(&csv, "label_class"));
    let scans: Vec<_> = verdicts.filter(|(class, _)| *class == "scan").collect();
    assert!(scans.len() == 60 && scans.iter().all(|(_, label)| *label == "scan"), "{scans:?}");

    let output = folder.replay(&capture, &["--quiet", "--format", "ndjson", "--truth", &truth]);
    let rows: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 460);
    for (row, score) in rows.iter().zip(column(&csv, "score")) {
        assert_eq!(row["score"].as_f64(), score.parse().ok());
        assert!(row["top_features"].is_null() || row["top_features"].is_string());
        assert!(row.get("label_class").is_some());
    }

    #[cfg(feature = "parquet")]
    {
        use parquet::file::reader::{FileReader, SerializedFileReader};
        let path = PathBuf::from(folder.path("flows.parquet"));
        let output = folder.replay(&capture, &["--quiet", "-o", path.to_str().unwrap(), "--truth", &truth]);
        assert!(output.status.success(), "{}", stderr(&output));
        let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr();
        let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
        assert!(names.join(",").contains(&format!("{VERDICT},label_class")), "{names:?}");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 460);
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let (folder, capture) = (Folder::new(), capture());
    let refused = |more: &[&str], code: i32, said: &str| {
        let output = folder.replay(&capture, more);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{more:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    };
    refused(&["--schema", "cic-2018"], 2, "--schema tapline-1");
    refused(&["--alerts", "-"], 2, "standard output");
    refused(&["--alerts", &folder.path("no/such/folder")], 73, "creating alerts");
    for args in [&["--alerts", "a.ndjson"][..], &["--fail-on-alert"]] {
        let output = tapline_with_input(&[&["replay"], args, &["-"]].concat(), &capture);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn alerts_may_go_where_no_rows_go() {
    let (folder, capture) = (Folder::new(), capture());
    let output = folder.replay(&capture, &["--quiet", "--format", "none", "--alerts", "-"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn alerts_that_cannot_be_written_are_a_failure() {
    let (folder, capture) = (Folder::new(), capture());
    for workers in ["1", "3"] {
        let output =
            folder.replay(&capture, &["--workers", workers, "--format", "none", "--alerts", "/dev/full"]);
        assert_eq!(output.status.code(), Some(74), "{}", stderr(&output));
        assert!(stderr(&output).contains("writing alerts to /dev/full"), "{}", stderr(&output));
    }
}

#[test]
fn a_model_that_is_not_what_it_says_is_refused() {
    let capture = capture();
    for (was, becomes) in [
        ("\"no_reply\"", "\"no_such_input\""),
        ("schema = \"inputs-1\"", "schema = \"inputs-0\""),
        ("sha256 = \"", "sha256 = \"0000"),
    ] {
        let folder = Folder::new();
        let path = folder.path("model/model.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(was), "{text}");
        fs::write(&path, text.replacen(was, becomes, 1)).unwrap();
        let output = folder.replay(&capture, &[]);
        assert_eq!(output.status.code(), Some(65), "{becomes}: {}", stderr(&output));
        assert!(stderr(&output).contains("model"), "{becomes}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
        // From a file packets are read while the model is loaded: the same is said, and nothing is created.
        let (file, rows, alerts) = (folder.path("a.pcap"), folder.path("a.csv"), folder.path("a.ndjson"));
        let model = folder.path("model");
        let replay =
            |file: &str| tapline(&["replay", "--model", &model, "-o", &rows, "--alerts", &alerts, file]);
        fs::write(&file, &capture).unwrap();
        for file in [file.as_str(), "/nowhere/a.pcap"] {
            let from_file = replay(file);
            assert_eq!((from_file.status.code(), stderr(&from_file)), (Some(65), stderr(&output)));
            assert!(!fs::exists(&rows).unwrap() && !fs::exists(&alerts).unwrap());
        }
    }
    let folder = Folder::new();
    let output = tapline_with_input(&["replay", "--model", &folder.path("nothing"), "-"], &capture);
    assert_eq!(output.status.code(), Some(66), "{}", stderr(&output));
}

#[test]
fn a_file_is_judged_as_a_pipe_is() {
    let (folder, capture) = (Folder::new(), capture());
    let (model, file) = (folder.path("model"), folder.path("a.pcap"));
    fs::write(&file, &capture).unwrap();
    let output = tapline(&["replay", "--quiet", "--format", "csv", "--model", &model, &file]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), folder.rows(&capture, &[]));
}
