//! Training tables: runs and corpora in, one Parquet file and its card out.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Row, RowAccessor};
use parquet::schema::types::Type;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::packets::{Packet, pcap};
use crate::support::program::{root, shared, stderr, tapline, unpacked};

const START_US: i64 = 1_700_000_000_000_000;
const HEADER: &str = "start_us,end_us,source,source_port,destination,destination_port,protocol,class,hostile,behaviour,tool,\
                      technique,run,site\n";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 80);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 66);

fn packet(at_us: i64, src: Ipv4Addr, sport: u16, dst: Ipv4Addr, dport: u16) -> Packet {
    Packet {
        ts_us: START_US + at_us,
        src,
        dst,
        protocol: 6,
        sport,
        dport,
        flags: 0x02,
        seq: 0,
        ack: 0,
        window: 64_240,
        payload: 0,
        options: 0,
    }
}

/// 40 requests of a client every 10 s; a scan of 200 ports, 20 minutes later of 100 more; the client scans 10 ports too; 7
/// lookups that truth says nothing about.
fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for request in 0..40 {
        let at_us = i64::from(request) * 10_000_000;
        let port = 40_000 + request as u16;
        packets.push(packet(at_us, CLIENT, port, SERVER, 80));
        packets.push(Packet { flags: 0x12, ..packet(at_us + 300, SERVER, 80, CLIENT, port) });
        packets.push(Packet { flags: 0x18, payload: 200, ..packet(at_us + 900, CLIENT, port, SERVER, 80) });
        packets.push(Packet { flags: 0x14, ..packet(at_us + 2_000, SERVER, 80, CLIENT, port) });
    }
    for probe in 0..300u16 {
        let pause_us = if probe < 200 { 0 } else { 1_200_000_000 };
        packets.push(packet(
            pause_us + 5_000_000 + i64::from(probe) * 1_000,
            SCANNER,
            50_000,
            SERVER,
            1_000 + probe,
        ));
    }
    for probe in 0..10u16 {
        packets.push(packet(100_500_000 + i64::from(probe) * 1_000, CLIENT, 50_001, SERVER, 2_000 + probe));
    }
    for lookup in 0..7u16 {
        packets.push(Packet {
            protocol: 17,
            flags: 0,
            ..packet(i64::from(lookup), SCANNER, 3_000 + lookup, SERVER, 53)
        });
    }
    packets.sort_by_key(|packet| packet.ts_us);
    packets
}

fn truth(shift_us: i64) -> String {
    let (start, end) = (START_US + shift_us, START_US + shift_us + 3_000_000_000);
    format!(
        "{HEADER}{start},{end},10.0.0.5,,10.0.0.80,80,tcp,benign,0,browse,curl,,r1,home\n\
         {start},{end},10.0.0.66,50000,10.0.0.80,,tcp,scan,1,syn-scan,nmap,T1046,r1,home\n\
         {start},{end},10.0.0.5,50001,10.0.0.80,,tcp,scan,1,slow-scan,own,T1046,r1,home\n"
    )
}

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run_dir(
        &self,
        name: &str,
        site: &str,
        split: &str,
        truth: Option<String>,
        packets: &[Packet],
    ) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("span.pcap"), pcap(packets)).unwrap();
        let about =
            serde_json::json!({"run": name, "site": site, "split": split, "scenario": "x.toml", "seed": 1});
        fs::write(dir.join("run.json"), about.to_string()).unwrap();
        if let Some(truth) = truth {
            fs::write(dir.join("truth.csv"), truth).unwrap();
        }
        dir
    }

    /// The same packets as a run to learn from and, later, as one to test by.
    fn home_and_office(&self) -> [PathBuf; 2] {
        let shift_us = 4_000_000_000;
        let mut later = packets();
        later.iter_mut().for_each(|packet| packet.ts_us += shift_us);
        [
            self.run_dir("r1", "home", "train", Some(truth(0)), &packets()),
            self.run_dir("r2", "office", "test", Some(truth(shift_us)), &later),
        ]
    }

    fn build(&self, options: &[&str], runs: &[&Path]) -> Output {
        let out = self.path("out");
        let mut args = vec!["dataset", "build", "--out", out.to_str().unwrap()];
        args.extend(options);
        args.extend(runs.iter().map(|run| run.to_str().unwrap()));
        tapline(&args)
    }

    fn built(&self, options: &[&str], runs: &[&Path]) -> Table {
        let output = self.build(options, runs);
        assert!(output.status.success(), "{}", stderr(&output));
        Table::read(&self.path("out"))
    }
}

struct Table {
    file: SerializedFileReader<File>,
    names: Vec<String>,
    rows: Vec<Row>,
    card: Value,
}

/// The columns that are read: to read all takes long.
const READ: [&str; 16] = [
    "x_link_flows_3600s",
    "view",
    "fwd_pkts",
    "bwd_pkts",
    "dst_port",
    "protocol",
    "label_class",
    "label_hostile",
    "label_behaviour",
    "label_tool",
    "site",
    "run",
    "source",
    "split",
    "capture",
    "decided_us",
];

impl Table {
    fn read(dir: &Path) -> Self {
        let file = SerializedFileReader::new(File::open(dir.join("flows.parquet")).unwrap()).unwrap();
        let schema = file.metadata().file_metadata().schema_descr().root_schema();
        let names = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        let fields =
            schema.get_fields().iter().filter(|field| READ.contains(&field.name())).cloned().collect();
        let read = Type::group_type_builder("tapline").with_fields(fields).build().unwrap();
        let rows = file.get_row_iter(Some(read)).unwrap().map(Result::unwrap).collect();
        let card = serde_json::from_slice(&fs::read(dir.join("card.json")).unwrap()).unwrap();
        Self { file, names, rows, card }
    }

    fn at(&self, name: &str) -> usize {
        let read = self.names.iter().filter(|known| READ.contains(&known.as_str()));
        read.enumerate().find(|(_, known)| *known == name).unwrap_or_else(|| panic!("{name} is not read")).0
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        let at = self.at(name);
        self.rows.iter().map(|row| row.get_string(at).unwrap().as_str()).collect()
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        let at = self.at(name);
        self.rows.iter().map(|row| row.get_double(at).unwrap()).collect()
    }

    fn longs(&self, name: &str) -> Vec<i64> {
        let at = self.at(name);
        self.rows.iter().map(|row| row.get_long(at).unwrap()).collect()
    }

    /// Port and class of the rows of a behaviour, in order.
    fn ports_of(&self, behaviour: &str) -> Vec<i64> {
        let ports = self.longs("dst_port");
        self.texts("label_behaviour")
            .iter()
            .zip(ports)
            .filter(|(name, _)| **name == behaviour)
            .map(|(_, port)| port)
            .collect()
    }

    fn fact(&self, key: &str) -> &str {
        let pairs = self.file.metadata().file_metadata().key_value_metadata().unwrap();
        pairs
            .iter()
            .find(|pair| pair.key == key)
            .and_then(|pair| pair.value.as_deref())
            .unwrap_or_else(|| panic!("no {key}"))
    }

    fn dropped(&self, reason: &str) -> u64 {
        let all = self.card["dropped"].as_array().unwrap();
        all.iter().filter(|one| one["reason"] == reason).map(|one| one["flows"].as_u64().unwrap()).sum()
    }

    /// Every flow is a row or dropped for a reason.
    fn check_account(&self) {
        let dropped: u64 =
            self.card["dropped"].as_array().unwrap().iter().map(|one| one["flows"].as_u64().unwrap()).sum();
        assert_eq!(self.card["flows_seen"].as_u64().unwrap(), self.rows.len() as u64 + dropped);
        assert_eq!(self.card["rows"].as_u64().unwrap(), self.rows.len() as u64);
    }
}

#[test]
fn a_run_becomes_a_table_in_the_order_in_which_flows_ended() {
    let bench = Bench::new();
    let run = bench.run_dir("r1", "home", "train", Some(truth(0)), &packets());
    let table = bench.built(&["--no-checks"], &[&run]);
    table.check_account();
    assert_eq!(table.rows.len(), 40 + 300 + 10);
    assert_eq!(table.dropped("unlabelled"), 7);

    let names = &table.names;
    let features = tapline(&["features", "list"]);
    let listed = String::from_utf8(features.stdout).unwrap();
    let inputs = String::from_utf8(tapline(&["features", "inputs"]).stdout).unwrap();
    let inputs: Vec<String> =
        inputs.lines().skip(2).map(|line| format!("x_{}", line.split(' ').next().unwrap())).collect();
    let of_schema = listed.lines().count() - 2;
    assert_eq!(names[of_schema + 13..], inputs);
    assert_eq!(
        names[of_schema..of_schema + 13],
        [
            "label_class",
            "label_hostile",
            "label_behaviour",
            "label_tool",
            "label_technique",
            "label_conflict",
            "site",
            "run",
            "source",
            "split",
            "capture",
            "view",
            "decided_us"
        ]
    );
    assert!(table.longs("decided_us").is_sorted());
    let classes = table.texts("label_class");
    for (class, hostile) in classes.iter().zip(table.longs("label_hostile")) {
        assert_eq!(*class != "benign", hostile == 1);
    }
    assert_eq!(classes.iter().filter(|class| **class == "scan").count(), 310);
    assert!(table.texts("source").iter().all(|source| *source == "testbed/home"));
    assert!(table.texts("capture").iter().all(|capture| *capture == "span.pcap"));
    assert!(table.texts("split").iter().all(|split| *split == "train"));
    let nmap = table.texts("label_tool").iter().filter(|tool| **tool == "nmap").count();
    assert_eq!(nmap, 300);

    let hash = listed.split("hash ").nth(1).unwrap().lines().next().unwrap();
    assert_eq!((table.fact("tapline.schema"), table.fact("tapline.schema_hash")), ("tapline-1", hash));
    assert!(table.fact("tapline.producer").starts_with("tapline "));
    assert!(table.fact("tapline.dataset.command").contains("--no-checks"));
    assert!(table.fact("tapline.dataset.caps").starts_with("1000 flows per corpus file"));
    assert_eq!(table.fact("tapline.dataset.rows"), "350");

    let card = &table.card;
    assert_eq!(card["sites"]["home"]["scan"], 310);
    assert_eq!(card["hosts"]["home"], serde_json::json!({"benign_only": 0, "hostile_only": 1, "both": 1}));
    assert_eq!(card["class_by_service"]["benign"]["http"], 40);
    assert_eq!(card["class_by_split"]["scan"]["train"], 310);
    let browse = &card["behaviours"][0];
    assert_eq!(
        (browse["behaviour"].as_str(), browse["flows"].as_u64(), browse["packets"].as_u64()),
        (Some("browse"), Some(40), Some(160))
    );
    assert_eq!(browse["median_duration_us"], 2_000);
    let gaps: Vec<&str> = card["gaps"].as_array().unwrap().iter().map(|gap| gap.as_str().unwrap()).collect();
    assert!(gaps.contains(&"no c2 flow in train") && gaps.contains(&"no flow at all in test"), "{gaps:#?}");
    assert!(card["honesty"].is_null());

    let printed = tapline(&["dataset", "card", bench.path("out").to_str().unwrap()]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.starts_with("# Data card") && printed.contains("| scan | syn-scan | 300 |"), "{printed}");
}

#[test]
fn caps_keep_the_beginning_of_each_episode() {
    let bench = Bench::new();
    let run = bench.run_dir("r1", "home", "train", Some(truth(0)), &packets());
    let table = bench.built(&["--no-checks", "--cap-per-behaviour", "100"], &[&run]);
    table.check_account();
    let kept: Vec<i64> = (1_000..1_050).chain(1_200..1_250).collect();
    assert_eq!(table.ports_of("syn-scan"), kept);
    assert_eq!(table.ports_of("slow-scan").len(), 10);
    assert_eq!(table.ports_of("browse").len(), 40);
    assert_eq!(table.dropped("behaviour_cap"), 200);
}

#[test]
fn a_benign_share_leaves_stretches_of_every_behaviour() {
    let bench = Bench::new();
    let run = bench.run_dir("r1", "home", "train", Some(truth(0)), &packets());
    // 40 benign flows at 80 % leave room for 10 hostile ones: five of either scan.
    let table = bench.built(&["--no-checks", "--benign-share", "0.8"], &[&run]);
    table.check_account();
    assert_eq!(table.ports_of("slow-scan"), (2_000..2_005).collect::<Vec<_>>());
    assert_eq!(table.ports_of("syn-scan"), [1_000, 1_001, 1_200, 1_201, 1_202]);
    assert_eq!(table.dropped("benign_share"), 300);
}

#[test]
fn copies_of_flows_are_left_out() {
    let bench = Bench::new();
    let first = bench.run_dir("r1", "home", "train", Some(truth(0)), &packets());
    let mut more = packets();
    more.push(packet(2_000_000_000, CLIENT, 45_000, SERVER, 80));
    let second = bench.run_dir("r2", "office", "test", Some(truth(0)), &more);
    let table = bench.built(&["--no-checks"], &[&first, &second]);
    table.check_account();
    assert_eq!(table.dropped("copy"), 350);
    assert_eq!(table.card["sites"]["office"], serde_json::json!({"benign": 1}));
    assert_eq!(table.texts("run").iter().filter(|run| **run == "r2").count(), 1);
}

#[test]
fn training_runs_are_repeated_as_short_captures_see_them() {
    let bench = Bench::new();
    let [first, second] = bench.home_and_office();
    let table = bench.built(&["--no-checks", "--views", "whole,short"], &[&first, &second]);
    table.check_account();
    // Requests come every ten seconds; short captures are of 180, 90, 360, 180, 90 and 360 s.
    let past = |wanted: &str| {
        let flows = table.texts("run").into_iter().zip(table.texts("label_behaviour"));
        let past = table.doubles("x_link_flows_3600s");
        flows
            .zip(past)
            .filter(|((run, behaviour), _)| *run == wanted && *behaviour == "browse")
            .map(|(_, past)| past)
            .collect::<Vec<_>>()
    };
    let whole = past("r1");
    assert_eq!(whole.len(), 40);
    assert!(whole[20] > 2.0 * whole[0], "{whole:?}");
    let (mut from, mut parts) = (0, 0);
    for (start, flows) in [(0, 18), (180, 9), (270, 13)] {
        // Each knows nothing of the one before, so its past is that of the first flows of the run.
        let part = past(&format!("r1, from {start} s"));
        assert_eq!(part.len(), flows, "{start}");
        assert_eq!(part[..5], whole[..5], "{start}");
        from += flows;
        parts += 1;
    }
    assert_eq!((from, parts), (40, 3));
    for (run, view) in table.texts("run").into_iter().zip(table.texts("view")) {
        assert_eq!(view, if run.contains(", from ") { "short" } else { "whole" });
        assert!(!run.starts_with("r2,"), "a test run is as it is");
    }
    assert_eq!(table.ports_of("syn-scan").len(), 900, "of r1 twice, of r2 once");

    let alone = bench.built(&["--no-checks", "--views", "short"], &[&second]);
    alone.check_account();
    assert_eq!(alone.rows.len(), 350);
    assert!(alone.texts("view").iter().all(|view| *view == "short"));
}

#[test]
fn training_runs_are_repeated_as_taps_on_segments_see_them() {
    let bench = Bench::new();
    // 60 clients ask one server each, twice.
    let mut packets = Vec::new();
    for client in 0..60_u8 {
        for (at_us, port) in [(0, 40_000), (20_000_000, 40_001)] {
            let at_us = at_us + i64::from(client) * 1_000;
            let (client, server) = (Ipv4Addr::new(10, 0, 1, client), Ipv4Addr::new(10, 0, 2, client));
            packets.push(packet(at_us, client, port, server, 80));
            packets.push(Packet { flags: 0x14, ..packet(at_us + 300, server, 80, client, port) });
        }
    }
    packets.sort_by_key(|packet| packet.ts_us);
    let end = START_US + 3_000_000_000;
    let truth =
        format!("{HEADER}{START_US},{end},10.0.1.0/24,,10.0.2.0/24,80,tcp,benign,0,browse,curl,,r1,home\n");
    let run = bench.run_dir("r1", "home", "train", Some(truth), &packets);
    let table = bench.built(&["--no-checks", "--views", "whole,segment"], &[&run]);
    table.check_account();
    let flows = |wanted: &str| table.texts("run").iter().filter(|run| **run == wanted).count();
    assert_eq!(flows("r1"), 120);
    for segment in ["r1, segment 1", "r1, segment 2"] {
        // Of a client or its server one in six is on it: 11 in 36 of the pairs, both flows of each.
        let seen = flows(segment);
        assert!(seen.is_multiple_of(2) && (16..64).contains(&seen), "{seen}");
    }
    for (run, view) in table.texts("run").into_iter().zip(table.texts("view")) {
        assert_eq!(view, if run.contains(", segment") { "segment" } else { "whole" });
    }
}

#[test]
fn training_runs_are_repeated_as_a_one_way_tap_sees_them() {
    let bench = Bench::new();
    let [first, second] = bench.home_and_office();
    let table = bench.built(&["--no-checks", "--views", "whole,one-way"], &[&first, &second]);
    table.check_account();
    let of_run = |wanted: &str| {
        let flows = table.texts("run").into_iter().zip(table.texts("label_behaviour"));
        let packets = table.longs("fwd_pkts").into_iter().zip(table.longs("bwd_pkts"));
        flows
            .zip(packets)
            .filter(|((run, behaviour), _)| *run == wanted && *behaviour == "browse")
            .map(|(_, packets)| packets)
            .collect::<Vec<_>>()
    };
    for (run, view) in table.texts("run").into_iter().zip(table.texts("view")) {
        assert_eq!(view, if run.ends_with(", one way") { "one-way" } else { "whole" });
    }
    assert_eq!(of_run("r1"), [(2, 2); 40]);
    // This client is heard of by what it is told.
    assert_eq!(of_run("r1, one way"), [(0, 2); 40]);
    assert_eq!(of_run("r2"), [(2, 2); 40]);
    assert!(table.texts("run").iter().all(|run| *run != "r2, one way"), "a test run is as it is");
    // Probes without an answer are the same flows from one side, or not seen from the other.
    assert_eq!(table.ports_of("syn-scan").len(), 600);

    let alone = bench.built(&["--no-checks", "--views", "one-way"], &[&second]);
    alone.check_account();
    let packets = alone.longs("fwd_pkts").into_iter().zip(alone.longs("bwd_pkts"));
    assert!(packets.into_iter().all(|(forward, backward)| forward == 0 || backward == 0));
    assert_eq!(alone.ports_of("browse").len(), 40);
}

#[test]
fn shortcuts_are_told_from_behaviour() {
    let bench = Bench::new();
    // The same scenes on two networks, shifted so that nothing is a copy.
    let moved: Vec<Packet> = packets()
        .into_iter()
        .map(|packet| Packet { ts_us: packet.ts_us + 86_400_000_000, ..packet })
        .collect();
    // Enough benign flows for a test: the requests twice a second.
    let twice = |packets: Vec<Packet>| -> Vec<Packet> {
        let web = |packet: &Packet| packet.sport == 80 || packet.dport == 80;
        let again = packets.iter().filter(|packet| web(packet)).map(|packet| {
            let mut again = packet.clone();
            again.ts_us += 3_000_000;
            let port = if again.sport == 80 { &mut again.dport } else { &mut again.sport };
            *port += 1_000;
            again
        });
        let mut all: Vec<Packet> = packets.iter().cloned().chain(again).collect();
        all.sort_by_key(|packet| packet.ts_us);
        all
    };
    let a = bench.run_dir("r1", "a", "train", Some(truth(0)), &twice(packets()));
    let b = bench.run_dir("r2", "b", "test", Some(truth(86_400_000_000)), &twice(moved));
    let table = bench.built(&[], &[&a, &b]);
    table.check_account();
    let honesty = &table.card["honesty"];
    assert_eq!(honesty["sites"], serde_json::json!(["a", "b"]));
    assert_eq!(honesty["rows"], 2 * (80 + 310));
    let model = |name: &str| {
        honesty["models"].as_array().unwrap().iter().find(|model| model["name"] == name).unwrap().clone()
    };
    // A request has four packets, a probe one: on both networks, so it carries over.
    assert_eq!(model("ordinary_forest")["across_auc"], 1.0);
    assert_eq!(model("one_threshold")["across_balanced_accuracy"], 1.0);
    let shortcut = model("shortcut_forest");
    let columns: Vec<&str> =
        shortcut["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(
        columns.contains(&"dst_port") && columns.contains(&"src_last_byte") && !columns.contains(&"fwd_pkts")
    );
    // The scans go to ports that no request goes to: the card must say so.
    assert_eq!(shortcut["left_out_mean_auc"], 1.0);
    let text = fs::read_to_string(bench.path("out").join("card.md")).unwrap();
    assert!(text.contains("**Shortcuts do better than chance on other networks**"), "{text}");
    // All 310 probes look alike, and no request looks like one.
    assert_eq!(honesty["conflicting_vectors"]["hostile_equal_to_benign"], 0.0);

    // The same sources give the same bytes.
    let files = ["flows.parquet", "card.json", "card.md"].map(|name| bench.path("out").join(name));
    let first = files.each_ref().map(|path| fs::read(path).unwrap());
    bench.built(&[], &[&a, &b]);
    assert!(first == files.each_ref().map(|path| fs::read(path).unwrap()));
}

#[test]
fn runs_that_cannot_be_used_are_refused() {
    let bench = Bench::new();
    let good = bench.run_dir("good", "home", "train", Some(truth(0)), &packets());
    let check = |run: &Path, code: i32, says: &str| {
        let output = bench.build(&["--quiet", "--no-checks"], &[run]);
        assert_eq!(
            (output.status.code(), stderr(&output).contains(says)),
            (Some(code), true),
            "{}",
            stderr(&output)
        );
        assert!(
            !bench.path("out/flows.parquet").exists() && !bench.path("out/flows.parquet.partial").exists()
        );
    };
    let no_truth = bench.run_dir("no-truth", "home", "train", None, &packets());
    check(&no_truth, 66, "truth.csv; a run holds captures, truth.csv and run.json");
    let odd_split = bench.run_dir("odd", "home", "holdout", Some(truth(0)), &packets());
    check(&odd_split, 65, "unknown split \"holdout\" (train, validate, test or none)");
    let empty = bench.path("empty");
    fs::create_dir(&empty).unwrap();
    check(&empty, 66, "run.json");
    fs::copy(good.join("run.json"), empty.join("run.json")).unwrap();
    check(&empty, 66, "holds no capture");
    let broken = bench.run_dir("broken", "home", "train", Some("start,end\n1,2\n".to_owned()), &packets());
    check(&broken, 65, "truth.csv:1:");
    let late = bench.run_dir("late", "home", "train", Some(truth(7_200_000_000)), &packets());
    check(
        &late,
        65,
        "packets are of 1700000000 to 1700001205, truth of 1700007200 to 1700010200 (unix seconds); the clocks differ",
    );
    let elsewhere = truth(0).replace("10.0.0.", "10.9.9.");
    let elsewhere = bench.run_dir("elsewhere", "home", "train", Some(elsewhere), &packets());
    check(&elsewhere, 65, "though the times fit: addresses or ports differ");

    // Beside a good run it is a warning, on standard error and in the card.
    let output = bench.build(&["--quiet", "--no-checks"], &[&good, &late]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("warning: ") && stderr(&output).contains("the clocks differ"));
    let table = Table::read(&bench.path("out"));
    assert_eq!((table.rows.len(), table.dropped("unlabelled")), (350, 7 + 357));
    assert!(table.card["warnings"][0].as_str().unwrap().contains("none of 357 flows has a label"));

    assert_eq!(bench.build(&[], &[]).status.code(), Some(2));
    assert_eq!(bench.build(&["--benign-share", "1.5"], &[&good]).status.code(), Some(2));
    let nothing = tapline(&["dataset", "card", bench.path("empty").to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(66));
}

#[test]
fn a_small_corpus_is_read_as_its_labels_say() {
    let bench = Bench::new();
    let corpus = bench.path("corpus");
    fs::create_dir_all(corpus.join("train/mixed")).unwrap();
    fs::create_dir_all(corpus.join("val")).unwrap();
    let outside = Ipv4Addr::new(93, 184, 216, 34);
    let infected = vec![
        packet(0, CLIENT, 1_000, SERVER, 445),
        packet(1, CLIENT, 1_001, outside, 80),
        Packet { protocol: 17, flags: 0, ..packet(2, CLIENT, 1_002, outside, 53) },
    ];
    fs::write(corpus.join("train/lab__01__bot.pcap"), pcap(&infected)).unwrap();
    // Packets 2 and 4 are the attack's: the second flow, and the first one's later packet.
    let modbus = vec![
        packet(0, CLIENT, 2_000, SERVER, 502),
        packet(10, SCANNER, 2_001, SERVER, 502),
        packet(20, CLIENT, 2_002, SERVER, 502),
        Packet { flags: 0x18, payload: 12, ..packet(30, CLIENT, 2_000, SERVER, 502) },
    ];
    fs::write(corpus.join("train/mixed/ics__02__send_a_fake_command.pcap"), pcap(&modbus)).unwrap();
    let scan: Vec<Packet> = (0..30).map(|n| packet(100 + n, SCANNER, 9, SERVER, 1 + n as u16)).collect();
    fs::write(corpus.join("val/web__03__scan.pcap"), pcap(&scan)).unwrap();
    let labels = "file\tsplit\tlabel\tclass\tsource\tpackets\n\
                  train/lab__01__bot.pcap\ttrain\tattack\tmalware (mixed with host background)\tlab\t3\n\
                  train/mixed/ics__02__send_a_fake_command.pcap\ttrain\tmixed\tics attack, per-packet csv labels\tics\t4\n\
                  val/web__03__scan.pcap\tval\tattack\tscan\tweb\t30\n\
                  val/web__04__gone.pcap\tval\tattack\tscan\tweb\t30\n";
    fs::write(bench.path("labels.tsv"), labels).unwrap();
    fs::create_dir(bench.path("modbus")).unwrap();
    fs::write(bench.path("modbus/send_a_fake_command_labeled.csv"), "1;0\r\n2;1\r\n3;0\r\n4;1\r\n").unwrap();
    let (corpus, labels, modbus) = (corpus.to_str().unwrap(), bench.path("labels.tsv"), bench.path("modbus"));
    let options =
        ["--no-checks", "--corpus", corpus, "--labels", labels.to_str().unwrap(), "--cap-per-file", "8"];
    let with_modbus: Vec<&str> =
        options.iter().copied().chain(["--modbus", modbus.to_str().unwrap()]).collect();

    let table = bench.built(&with_modbus, &[]);
    table.check_account();
    assert_eq!(table.ports_of("malware"), [80]);
    assert_eq!(table.dropped("host_background"), 2);
    assert_eq!(table.card["sites"]["ics"], serde_json::json!({"benign": 1, "lateral": 2}));
    assert_eq!(table.ports_of("port-scan"), (1..9).collect::<Vec<_>>());
    assert_eq!(table.dropped("file_cap"), 22);
    let of_scan: Vec<usize> =
        (0..table.rows.len()).filter(|row| table.texts("site")[*row] == "web").collect();
    assert!(of_scan.iter().all(|row| table.texts("split")[*row] == "validate"));
    assert!(table.card["warnings"][0].as_str().unwrap().contains("web__04__gone.pcap"));

    let table = bench.built(&options, &[]);
    assert_eq!(table.dropped("file_not_trusted"), 3);
    assert!(table.card["warnings"][0].as_str().unwrap().contains("--modbus"));
}

#[test]
fn the_public_corpus_becomes_a_table() {
    let Some(archive) = shared("corpus/captures.tar.zst") else { return };
    let corpus = unpacked(&archive, "corpus");
    let bench = Bench::new();
    let labels = root("../shared/corpus/labels.tsv");
    let modbus = root("../shared/corpus/modbus_labels");
    let options = [
        "--corpus",
        corpus.to_str().unwrap(),
        "--labels",
        labels.to_str().unwrap(),
        "--modbus",
        modbus.to_str().unwrap(),
    ];
    let table = bench.built(&options, &[]);
    table.check_account();
    assert!(table.rows.len() > 80_000, "{}", table.rows.len());
    for class in ["benign", "scan", "brute-force", "dos", "web-attack", "c2", "exfiltration", "lateral"] {
        assert!(!table.card["class_by_split"][class].is_null(), "{class}");
    }
    assert_eq!(table.card["warnings"], serde_json::json!([]));
    // Captures one after the other, each in the order in which its flows ended.
    let captures = table.texts("capture");
    let decided_us = table.longs("decided_us");
    let mut seen = Vec::new();
    for (row, capture) in captures.iter().enumerate() {
        if row == 0 || captures[row - 1] != *capture {
            seen.push(*capture);
        } else {
            assert!(decided_us[row - 1] <= decided_us[row], "{capture}");
        }
    }
    let runs = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), runs, "a capture in two pieces");
    // Infected hosts: TCP alone, and no name lookups.
    let behaviours = table.texts("label_behaviour");
    for ((behaviour, protocol), port) in
        behaviours.iter().zip(table.longs("protocol")).zip(table.longs("dst_port"))
    {
        assert!(*behaviour != "malware" || protocol == 6 && port != 53);
    }
    // What the corpus's own notes say: a random split flatters.
    let models = table.card["honesty"]["models"].as_array().unwrap();
    let ordinary = models.iter().find(|model| model["name"] == "ordinary_forest").unwrap();
    let figure = |name: &str| ordinary[name].as_f64().unwrap();
    assert!(figure("random_split_auc") > 0.97, "{ordinary:#}");
    assert!(figure("site_folds_auc") < 0.92 && figure("across_auc") < 0.92, "{ordinary:#}");
}
