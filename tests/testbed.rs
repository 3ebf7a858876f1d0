//! The testbed for real: the scenario `mini` (namespaces, the switch, real programs), and whether its labels are true.
//!
//! It takes two minutes, needs root, and what `testbed/setup mini` installs (`make test` does). Without them it is
//! skipped, saying so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::{root, stderr, tapline};

const BENIGN: [&str; 4] = ["web-browse", "dns-names", "ssh-interactive", "health-checks"];
const HOSTILE: [(&str, &str); 4] = [
    ("scan-nmap-syn", "scan"),
    ("ssh-guess-hydra", "brute-force"),
    ("slow-http-slowhttptest", "dos"),
    ("beacon-http", "c2"),
];

#[test]
fn the_mini_scenario_gives_true_labels() {
    let Some(run) = mini_run() else { return };
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.join("run.json")).unwrap()).unwrap();
    assert_eq!(report["failures"], serde_json::json!({}), "{}", report["last_errors"]);
    let flows = labelled_flows(&run);
    let attackers = addresses(&report, &["attacker", "infected"]);
    let site = addresses(&report, &["attacker", "infected", "client", "server"]);

    let mut of_behaviour: BTreeMap<&str, usize> = BTreeMap::new();
    let mut conflicts = 0;
    let mut unlabelled = 0;
    for flow in &flows {
        let [source, destination] = [flow["src_ip"].as_str(), flow["dst_ip"].as_str()];
        if flow["label_class"].is_empty() {
            // Neighbour discovery and the like are nobody's behaviour.
            unlabelled += usize::from(site.contains(source) && site.contains(destination));
            continue;
        }
        *of_behaviour.entry(flow["label_behaviour"].as_str()).or_default() += 1;
        conflicts += usize::from(flow["label_conflict"] == "1");
        if flow["label_hostile"] == "1" {
            assert!(
                attackers.contains(source) || attackers.contains(destination),
                "nobody hostile: {flow:?}"
            );
        }
        // What the label says can be seen in the flow itself.
        match flow["label_behaviour"].as_str() {
            "ssh-guess-hydra" => assert!(flow["dst_port"] == "22" || flow["src_port"] == "22", "{flow:?}"),
            "ssh-interactive" => assert!(!attackers.contains(source) || flow["dst_port"] == "22", "{flow:?}"),
            "slow-http-slowhttptest" => {
                assert!(["80", "443"].contains(&flow["dst_port"].as_str()), "{flow:?}")
            }
            "dns-names" => assert_eq!(flow["dst_port"], "53", "{flow:?}"),
            _ => {}
        }
    }
    for name in BENIGN {
        assert!(of_behaviour.get(name).is_some_and(|&flows| flows >= 3), "{name}: {of_behaviour:?}");
    }
    for (name, class) in HOSTILE {
        assert!(of_behaviour.get(name).is_some_and(|&flows| flows >= 3), "{name}: {of_behaviour:?}");
        let classes: BTreeSet<&str> = flows
            .iter()
            .filter(|f| f["label_behaviour"] == name)
            .map(|f| f["label_class"].as_str())
            .collect();
        assert_eq!(classes, BTreeSet::from([class]), "{name}");
    }
    assert!(flows.len() > 200, "{} flows", flows.len());
    assert!(
        unlabelled * 25 <= flows.len(),
        "{unlabelled} of {} flows between hosts have no label",
        flows.len()
    );
    assert!(conflicts * 100 <= flows.len(), "{conflicts} of {} flows are in conflict", flows.len());
    std::fs::remove_dir_all(run).unwrap();
}

/// Runs the scenario; `None`, saying why, where it cannot run.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn mini_run() -> Option<PathBuf> {
    let python = root(".testbed/venv-mini/bin/python");
    let wire = Path::new(env!("CARGO_BIN_EXE_tapline")).with_file_name("tapline-wire");
    let allowed = Command::new("unshare")
        .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", "ip tuntap add dev probe mode tap"])
        .output()
        .is_ok_and(|output| output.status.success());
    let missing = if !python.exists() {
        "testbed/setup mini has not been run"
    } else if !wire.exists() {
        "tapline-wire has not been built"
    } else if !allowed {
        "namespaces or TAP devices are not allowed here"
    } else {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("testbed-mini-{}", std::process::id()));
        let output = Command::new(root("testbed/run"))
            .arg(root("testbed/scenarios/mini.toml"))
            .args(["--seed", "20", "--out"])
            .arg(&out)
            .arg("--wire")
            .arg(&wire)
            .env("TAPLINE_TESTBED_PYTHON", &python)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        return Some(out);
    };
    println!("skipped: {missing}");
    None
}

/// The rows of `tapline replay --truth`, by column name.
fn labelled_flows(run: &Path) -> Vec<BTreeMap<String, String>> {
    let [truth, span] = ["truth.csv", "span.pcap"].map(|name| run.join(name).to_str().unwrap().to_owned());
    let output = tapline(&["replay", "--quiet", "--format", "csv", "--truth", &truth, "-o", "-", &span]);
    assert!(output.status.success(), "{}", stderr(&output));
    let rows = String::from_utf8(output.stdout).unwrap();
    let mut lines = rows.lines().map(cells);
    let header = lines.next().unwrap();
    lines.map(|row| header.iter().cloned().zip(row).collect()).collect()
}

/// The cells of a CSV row; lists stand in quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().unwrap().push(other),
        }
    }
    cells
}

/// The addresses of all hosts with one of these roles.
fn addresses(report: &serde_json::Value, roles: &[&str]) -> BTreeSet<String> {
    let hosts = report["hosts"].as_array().unwrap().iter();
    hosts
        .filter(|host| roles.contains(&host["role"].as_str().unwrap()))
        .flat_map(|host| host["addresses"].as_array().unwrap())
        .map(|address| address.as_str().unwrap().to_owned())
        .collect()
}
