//! Labels from truth to rows: `replay --truth` and `tapline label`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::support::packets::{Packet, pcap};
use crate::support::program::{column, root, rows, stderr, tapline, tapline_with_input};

const HEADER: &str = "start_us,end_us,source,source_port,destination,destination_port,protocol,class,hostile,\
                      behaviour,tool,technique,run,site";
const LABELS: &str = "label_class,label_hostile,label_behaviour,label_tool,label_technique,label_site,label_run,\
                      label_conflict";
const SCHEMAS: [&str; 4] = ["tapline-1", "cic-2018", "cic-head", "cic-gints"];

/// 2018-02-14T13:00:00Z, an hour that every clock of CICFlowMeter can be made to tell.
const T0_US: i64 = 1_518_613_200_000_000;
const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn truth(&self, rows: &[String]) -> String {
        text(&self.file("truth.csv", format!("{HEADER}\n{}\n", rows.join("\n"))))
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn packet(second: i64, src: Ipv4Addr, sport: u16, dst: Ipv4Addr, dport: u16, protocol: u8) -> Packet {
    Packet {
        ts_us: T0_US + second * 1_000_000,
        src,
        dst,
        protocol,
        sport,
        dport,
        flags: if protocol == 6 { 0x02 } else { 0 },
        seq: 1,
        ack: 0,
        window: 1_000,
        payload: 10,
        options: 0,
    }
}

/// Five flows of two packets each (CICFlowMeter writes none of one packet), which end as the input does, in the order of their last packets: a scan's probe, the error it meets, a
/// login, a login attempt by the same client a minute later, and a flow that nothing is known about.
fn capture() -> Vec<u8> {
    let packets = [
        packet(0, SCANNER, 40_000, TARGET, 161, 17),
        packet(1, TARGET, 3, SCANNER, 3, 1),
        packet(2, CLIENT, 50_000, TARGET, 22, 6),
        packet(60, CLIENT, 50_001, TARGET, 22, 6),
        packet(70, CLIENT, 50_002, Ipv4Addr::new(8, 8, 8, 8), 53, 17),
    ];
    let again = |packet: &Packet| {
        let flags = if packet.protocol == 6 { 0x10 } else { 0 };
        [packet.clone(), Packet { ts_us: packet.ts_us + 100_000, flags, seq: 12, ..packet.clone() }]
    };
    pcap(&packets.iter().flat_map(again).collect::<Vec<_>>())
}

fn at(second: i64) -> i64 {
    T0_US + second * 1_000_000
}

fn truth_rows() -> Vec<String> {
    vec![
        // The whole scan, whatever the protocol: also the errors.
        format!("{},{},10.0.0.9,,10.0.0.1,,*,scan,1,udp-scan,nmap,T1046,run-1,lab", at(0), at(10)),
        // What the client does all along, and for a while.
        format!("{},{},10.0.0.0/24,,10.0.0.1,,,benign,0,\"admin, daily\",,,run-1,lab", at(0), at(100)),
        format!(
            "{},{},10.0.0.5,,10.0.0.1,22,tcp,brute-force,1,ssh-guess,hydra,T1110.001,run-1,lab",
            at(59),
            at(61)
        ),
    ]
}

fn replayed(args: &[&str]) -> Output {
    let mut all = vec!["replay"];
    all.extend(args);
    all.push("-");
    tapline_with_input(&all, &capture())
}

fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, message: &str) {
    let said = stderr(output);
    assert!(said.contains(message), "{said}");
    assert_eq!(output.status.code(), Some(code), "{said}");
}

/// The last `n` fields of each line; the labels' only comma is in a quoted field.
fn tails(csv: &str) -> Vec<String> {
    csv.lines()
        .map(|line| {
            let line = line.replace("\"admin, daily\"", "admin");
            let fields: Vec<&str> = line.split(',').collect();
            fields[fields.len() - 8..].join(",")
        })
        .collect()
}

const EXPECT: [&str; 6] = [
    LABELS,
    "scan,1,udp-scan,nmap,T1046,lab,run-1,0",
    "scan,1,udp-scan,nmap,T1046,lab,run-1,0",
    "benign,0,admin,,,lab,run-1,0",
    "brute-force,1,ssh-guess,hydra,T1110.001,lab,run-1,0",
    ",,,,,,,",
];

#[test]
fn replay_appends_labels_in_every_schema() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    for schema in SCHEMAS {
        let labelled = good(replayed(&["--quiet", "--schema", schema, "--truth", &truth]));
        // CICFlowMeter takes no notice of ICMP, but for the fork.
        let plain = rows(&["--schema", schema], &capture());
        assert_eq!(labelled.lines().count(), plain.lines().count());
        for (labelled, plain) in labelled.lines().zip(plain.lines()) {
            assert!(labelled.starts_with(&format!("{plain},")), "{schema}: the row is as it was");
        }
        if schema == "tapline-1" {
            assert_eq!(tails(&labelled), EXPECT);
        } else {
            let mut found = tails(&labelled);
            let mut expect = EXPECT.to_vec();
            expect.truncate(6);
            found.sort();
            found.dedup();
            expect.sort_unstable();
            expect.dedup();
            assert_eq!(found, expect, "{schema}");
        }
    }
}

#[test]
fn labels_do_not_depend_on_the_number_of_workers() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    let one = good(replayed(&["--quiet", "--truth", &truth, "--workers", "1"]));
    assert_eq!(good(replayed(&["--quiet", "--truth", &truth, "--workers", "3"])), one);
}

#[test]
fn ndjson_has_the_same_labels() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    let lines = good(replayed(&["--quiet", "--truth", &truth, "--format", "ndjson"]));
    let objects: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[2]["label_behaviour"], "admin, daily");
    assert_eq!(objects[2]["label_tool"], "");
    assert_eq!(objects[3]["label_hostile"], 1);
    assert_eq!(objects[3]["label_technique"], "T1110.001");
    for name in LABELS.split(',') {
        assert_eq!(objects[4][name], serde_json::Value::Null, "{name}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_has_label_columns() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    let out = text(&folder.0.path().join("flows.parquet"));
    good(replayed(&["--quiet", "--truth", &truth, "-o", &out]));
    let bytes = fs::read(&out).unwrap();
    assert!(bytes.ends_with(b"PAR1"));
    for text in LABELS.split(',').chain(["udp-scan", "T1110.001", "admin, daily"]) {
        assert!(bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
}

#[test]
fn summary_and_statistics_count_labels() {
    let folder = Folder::new();
    let mut truth = truth_rows();
    truth.push(format!("{},{},10.0.0.5,,10.0.0.1,22,tcp,benign,0,,,,,", at(0), at(100)));
    truth.push(format!("{},{},1.1.1.1,,2.2.2.2,,,dos,1,,,,,", at(0), at(100)));
    let truth = folder.truth(&truth);
    let stats = folder.0.path().join("stats.json");
    let output = replayed(&["--truth", &truth, "--format", "none", "--stats", stats.to_str().unwrap()]);
    let said = stderr(&output);
    for line in [
        "labels   class               flows      packets    conflicts\n",
        "         benign                  1            2            0\n",
        "         brute-force             1            2            1\n",
        "         scan                    2            4            0\n",
        "         unlabelled              1            2            0\n",
        "         conflict: brute-force over benign 1\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // The second row is less specific than the fourth, the fifth is about nobody.
    assert!(
        said.contains(&format!("2 of 5 rows of truth matched no flow, the first is {truth}:3\n")),
        "{said}"
    );
    let stats: serde_json::Value = serde_json::from_slice(&fs::read(stats).unwrap()).unwrap();
    assert_eq!(stats["labels"]["by_class"]["brute-force"]["conflicts"], 1);
    assert_eq!(stats["labels"]["by_class"]["scan"]["flows"], 2);
    assert_eq!(stats["labels"]["unlabelled"]["packets"], 2);
    assert_eq!(stats["labels"]["reversed"], 1, "the ICMP error");
    assert_eq!(stats["labels"]["rows_never_used"], 2);
    assert_eq!(stats["labels"]["conflicts"][0]["rival"], "benign");
    let plain = stderr(&replayed(&["--format", "none"]));
    assert!(!plain.contains("labels"), "{plain}");
}

#[test]
fn rules_and_truth_work_together() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows()[..1]);
    let rules = folder.file(
        "rules.toml",
        "site = \"elsewhere\"\n[defaults]\nclass = \"benign\"\n\
         [[rule]]\nsource = [\"10.0.0.5\", \"10.0.0.6\"]\ndestination_port = 22\nprotocol = \"tcp\"\n\
         start = 2018-02-14T09:00:58-04:00\nend = \"2018-02-14T13:02:00Z\"\nclass = \"brute-force\"\n",
    );
    let labelled = good(replayed(&["--quiet", "--truth", &truth, "--rules", &text(&rules)]));
    assert_eq!(column(&labelled, "label_class"), ["scan", "scan", "benign", "brute-force", "benign"]);
    assert_eq!(column(&labelled, "label_site"), ["lab", "lab", "elsewhere", "elsewhere", "elsewhere"]);
}

#[test]
fn pads_widen_the_window() {
    let folder = Folder::new();
    let truth = folder.truth(&[format!("{},{},10.0.0.5,,10.0.0.1,22,tcp,dos,1,,,,,", at(11), at(50))]);
    let classes = |pads: &[&str]| {
        let mut args = vec!["--quiet", "--truth", &truth];
        args.extend(pads);
        let labelled = good(replayed(&args));
        let classes = column(&labelled, "label_class");
        [classes[2] == "dos", classes[3] == "dos"]
    };
    assert_eq!(classes(&[]), [false, false]);
    // The first login's last packet is at 2.1 s, the second's first at 60 s.
    assert_eq!(classes(&["--pad-before", "8899ms"]), [false, false]);
    assert_eq!(classes(&["--pad-before", "8900ms"]), [true, false]);
    assert_eq!(classes(&["--pad-after", "9999ms"]), [false, false]);
    assert_eq!(classes(&["--pad-after", "10s", "--pad-before", "0s"]), [false, true]);
}

#[test]
fn wrong_truth_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let out = text(&folder.0.path().join("flows.csv"));
    let with = |truth: &str| replayed(&["--quiet", "--truth", truth, "-o", &out]);
    refused(&with("/nowhere/truth.csv"), 66, "opening truth /nowhere/truth.csv: No such file");
    let wrong = folder.truth(&[truth_rows()[0].replace("scan,1", "scan,0")]);
    refused(&with(&wrong), 65, &format!("{wrong}:2:"));
    refused(&with(&wrong), 65, "hostile: 0, but scan is hostile; write 1");
    let long = folder.truth(&[truth_rows()[0].replace("udp-scan", &"u".repeat(56))]);
    refused(&with(&long), 65, "has 56 bytes; at most 55 fit a cell");
    let header = text(&folder.file("header.csv", format!("{HEADER},note\n")));
    refused(&with(&header), 65, "header.csv:1:122: unknown column \"note\"");
    let rules = text(&folder.file("r.toml", "[[rule]]\nclass = \"scan\"\nport = 1\n"));
    refused(&replayed(&["--quiet", "--rules", &rules]), 65, "r.toml:3:1: unknown field `port`");
    assert!(!Path::new(&out).exists());
}

/// Rows labelled afterwards are the rows that replay labels, for every schema that says the time to the microsecond,
/// and for the others as long as a second does not matter.
#[test]
fn label_gives_what_replay_gives() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    for (schema, clock) in
        [("tapline-1", None), ("cic-2018", Some("8")), ("cic-head", None), ("cic-gints", None)]
    {
        let plain = folder.file("flows.csv", rows(&["--schema", schema], &capture()));
        let mut args = vec!["label", "--quiet", "--truth", &truth];
        args.extend(clock.iter().flat_map(|clock| ["--clock", *clock]));
        let plain = text(&plain);
        args.push(&plain);
        let labelled = good(tapline(&args));
        assert_eq!(labelled, good(replayed(&["--quiet", "--schema", schema, "--truth", &truth])), "{schema}");
    }
    let ndjson = good(replayed(&["--quiet", "--format", "ndjson"]));
    let plain = text(&folder.file("flows.ndjson", ndjson));
    let labelled = good(tapline(&["label", "--quiet", "--truth", &truth, &plain]));
    assert_eq!(labelled, good(replayed(&["--quiet", "--truth", &truth, "--format", "ndjson"])));
}

/// The tables that CICFlowMeter itself wrote: a rule for a network finds what a filter finds.
#[test]
fn tables_of_cicflowmeter_are_labelled() {
    let folder = Folder::new();
    let rules = text(&folder.file(
        "rules.toml",
        "[defaults]\nclass = \"benign\"\n[[rule]]\nsource = \"192.168.0.0/16\"\nclass = \"dos\"\nprotocol = 6\n",
    ));
    for (version, schema) in [("v2018", "cic-2018"), ("head", "cic-head"), ("gints", "cic-gints")] {
        // The golden tables have no header; all versions' are known from `cic_columns.rs`.
        let header = rows(&["--schema", schema], &capture()).lines().next().unwrap().to_owned();
        let golden = fs::read_to_string(root(&format!("tests/golden/fuzz00.{version}.csv"))).unwrap();
        let original = format!("{header}\n{golden}");
        let table = folder.file("cic.csv", &original);
        let output = tapline(&["label", "--quiet", "--rules", &rules, "--clock", "0", &text(&table)]);
        let labelled = good(output);
        let at = |names: &[&str]| header.split(',').position(|name| names.contains(&name)).unwrap();
        let (source, destination, protocol) = (at(&["Src IP"]), at(&["Dst IP"]), at(&["Protocol"]));
        let mut hostile = 0;
        for (before, after) in original.lines().zip(labelled.lines()).skip(1) {
            let tail = after.strip_prefix(before).unwrap();
            let fields: Vec<&str> = before.split(',').collect();
            let dos = fields[protocol] == "6"
                && (fields[source].starts_with("192.") || fields[destination].starts_with("192."));
            assert_eq!(tail, if dos { ",dos,1,,,,,,0" } else { ",benign,0,,,,,,0" }, "{before}");
            hostile += usize::from(dos);
        }
        assert_eq!(original.lines().count(), labelled.lines().count());
        assert!(hostile > 0, "{version}: the test has something to find");
    }
}

/// The published day files of 2017: blanks before names, minutes, CRLF, rows of commas, text in Latin-1.
#[test]
fn the_tables_of_2017_are_read_as_they_are() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    let mut table = b"Flow ID, Source IP, Source Port, Destination IP, Destination Port, Protocol, Timestamp, Flow Duration, Label\r\n".to_vec();
    table.extend(b"a,10.0.0.5,50001,10.0.0.1,22,6,14/2/2018 10:00,500000,Web Attack \x96 XSS\r\n");
    table.extend(b",,,,,,,,\r\n");
    table.extend(b"\"b, c\",10.0.0.1,161,10.0.0.9,40000,17,14/2/2018 9:59,-1,BENIGN\r\n");
    let table = text(&folder.file("friday.csv", table));
    let args = ["label", "--quiet", "--truth", &truth, "--utc-offset", "-03:00", "--clock", "8", &table];
    let output = tapline(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<&[u8]> = output.stdout.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines[0].ends_with(format!(", Label,{LABELS}\r\n").as_bytes()));
    assert!(
        lines[1].ends_with(b"Web Attack \x96 XSS,brute-force,1,ssh-guess,hydra,T1110.001,lab,run-1,0\r\n")
    );
    assert_eq!(lines[2], b",,,,,,,,,,,,,,,,\r\n");
    // The minute 9:59 reaches up to the first packet of the scan's window, with the slack before it.
    assert!(lines[3].ends_with(b"BENIGN,scan,1,udp-scan,nmap,T1046,lab,run-1,0\r\n"));
    assert_eq!(lines.len(), 4);
    // An hour off, nothing is known.
    let mut args = args;
    args[5] = "-02:00";
    let output = tapline(&args);
    assert!(output.stdout.ends_with(b"BENIGN,,,,,,,,\r\n"));
}

#[test]
fn rows_that_cannot_be_read_are_told() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    let plain = rows(&[], &capture());
    let label = |name: &str, text_of: &str, more: &[&str]| {
        let path = text(&folder.file(name, text_of));
        let mut args = vec!["label", "--quiet", "--truth", &truth];
        args.extend(more);
        args.push(&path);
        tapline(&args)
    };
    refused(
        &label("a.csv", &plain.replace("src_port", "sport"), &[]),
        65,
        "a.csv:1:1: no column src_port or Src Port",
    );
    refused(&label("a.csv", "", &[]), 65, "a.csv:1:1: the file is empty");
    refused(&label("a.csv", &plain.replace("10.0.0.5", "10.0.0.x"), &[]), 65, "\"10.0.0.x\" is no address");
    refused(&label("a.csv", &plain.replace("10.0.0.5", "10.0.0.x"), &[]), 65, "a.csv:4:");
    let short: Vec<&str> = plain.lines().next().into_iter().chain(["x,y"]).collect();
    refused(&label("a.csv", &short.join("\n"), &[]), 65, "a.csv:2:4: the row ends before start");
    let cic = rows(&["--schema", "cic-2018"], &capture());
    refused(&label("a.csv", &cic, &[]), 65, "has neither AM nor PM; say --clock 24, or --clock 8");
    let twice = good(label("a.csv", &plain, &[]));
    refused(&label("b.csv", &twice, &[]), 65, "b.csv:1:1: column label_class is there already");
    refused(
        &label("a.ndjson", "{\"src_ip\":\"10.0.0.1\"}\n", &[]),
        65,
        "a.ndjson:1:1: no column start or Timestamp",
    );
    refused(&label("a.ndjson", "\n{\"src_ip\":1}\n", &[]), 65, "a.ndjson:2:11: invalid type: integer `1`");
    refused(
        &label("a.csv", &format!("{plain}\"{}", "x".repeat(1 << 20)), &[]),
        65,
        "the row is longer than 1 MiB",
    );
    refused(&label("a.csv", &format!("{plain}\"x"), &[]), 65, "a.csv:7:1: a quoted field is not closed");
    refused(&label("a.parquet", "PAR1", &[]), 2, "label while replaying: tapline replay --truth");
    refused(&tapline(&["label", "-"]), 2, "say --truth or --rules");
    refused(&tapline(&["label", "--truth", &truth, "/nowhere.csv"]), 66, "opening flows /nowhere.csv");
    let own = text(&folder.file("own.csv", &plain));
    refused(
        &tapline(&["label", "--truth", &truth, "-o", &own, &own]),
        2,
        "write the labelled rows elsewhere",
    );
    assert_eq!(fs::read_to_string(&own).unwrap(), plain);
}

/// The rules in docs/labels.md are rules, and the hours are those of New Brunswick.
#[test]
fn the_documented_rules_are_read() {
    let folder = Folder::new();
    let docs = fs::read_to_string(root("docs/labels.md")).unwrap();
    let blocks: Vec<&str> =
        docs.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let rules = text(&folder.file("rules.toml", block));
        let table = "Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration\n\
                     172.16.0.1,52108,192.168.10.50,21,6,04/07/2017 09:20:00 AM,1000\n\
                     172.16.0.1,52108,192.168.10.50,21,6,04/07/2017 09:19:58 AM,1000\n";
        let table = text(&folder.file("flows.csv", table));
        let output = tapline(&["label", "--quiet", "--rules", &rules, "--utc-offset", "-03:00", &table]);
        let expect =
            [LABELS, "brute-force,1,ftp-patator,,T1110.001,cic-ids2017,,0", "benign,0,,,,cic-ids2017,,0"];
        assert_eq!(tails(&good(output)), expect);
    }
}

#[test]
fn help_has_examples() {
    let help = good(tapline(&["label", "--help"]));
    assert!(help.contains("EXAMPLES") && help.contains("--pad-before"), "{help}");
}

#[test]
fn several_tables_become_one() {
    let folder = Folder::new();
    let truth = folder.truth(&truth_rows());
    let plain = rows(&[], &capture());
    let (a, b) = (text(&folder.file("a.csv", &plain)), text(&folder.file("b.csv", &plain)));
    let out = text(&folder.0.path().join("out.csv"));
    let output = tapline(&["label", "--truth", &truth, "-o", &out, &a, &b]);
    let said = stderr(&output);
    assert!(said.starts_with("labels   class               flows    conflicts\n"), "{said}");
    assert!(said.contains("         scan                    4            0\n"), "{said}");
    let written = fs::read_to_string(&out).unwrap();
    assert_eq!(tails(&written), [&EXPECT[..], &EXPECT[1..]].concat());
    let other = text(&folder.file("c.csv", rows(&["--schema", "cic-gints"], &capture())));
    refused(&tapline(&["label", "--truth", &truth, &a, &other]), 65, "c.csv:1:1: another header");
}
