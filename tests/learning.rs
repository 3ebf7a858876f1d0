//! `tapline learn`: another model out of ordinary traffic.

use std::fs;
use std::path::Path;

use crate::support::model;
use crate::support::program::{stderr, tapline};

const DEMO: &str = "tests/data/demo.pcap.zst";
const TRUTH: &str = "tests/data/demo.truth.csv";

fn manifest(path: &Path) -> toml::Table {
    fs::read_to_string(path.join("model.toml")).unwrap().parse().unwrap()
}

fn number(manifest: &toml::Table, table: &str, key: &str) -> f64 {
    manifest[table][key].as_float().unwrap()
}

#[test]
fn ordinary_traffic_sets_the_points() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    model::write(&old);
    let before = fs::read(old.join("model.toml")).unwrap();
    let args = ["learn", "--model", old.to_str().unwrap(), "--out", new.to_str().unwrap(), DEMO];
    let output = tapline(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("3936 ordinary flows"), "{}", stderr(&output));
    // The old model is as it was, nothing is left behind, the new one can be loaded.
    assert_eq!(fs::read(old.join("model.toml")).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(tapline(&["model", "verify", new.to_str().unwrap()]).status.success());
    let manifest = manifest(&new);
    assert_eq!(manifest["calibration"]["benign_flows"].as_integer(), Some(3936));
    assert_eq!(manifest["calibration"]["source"].as_str(), Some("learnt"));
    assert!(number(&manifest, "thresholds", "detect") >= number(&manifest, "thresholds", "investigate"));
    assert_eq!(manifest["card"]["learnt_labels"].as_str(), Some("0"));

    // Of the very flows that were learnt from, at most one in a hundred still counts as evidence.
    let replay = ["replay", "--quiet", "--model", new.to_str().unwrap(), "--format", "csv", DEMO];
    let rows = String::from_utf8(tapline(&replay).stdout).unwrap();
    let mut lines = rows.lines();
    let class = lines.next().unwrap().split(',').position(|name| name == "class").unwrap();
    let suspicious = lines.filter(|line| line.split(',').nth(class) != Some("benign")).count();
    assert!(suspicious <= 39, "{suspicious}");

    let output = tapline(&args);
    assert_eq!(output.status.code(), Some(73), "{}", stderr(&output));
    assert!(stderr(&output).contains("models are never overwritten"), "{}", stderr(&output));
}

#[test]
fn labels_train_the_head_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    model::write(&model);
    let mut args = vec!["learn", "--model", "models/default", "--out", model.to_str().unwrap()];
    // What is there stays there.
    args.extend(["--labels", TRUTH, DEMO]);
    assert_eq!(tapline(&args).status.code(), Some(73));
    let out = folder.path().join("learnt");
    args[4] = out.to_str().unwrap();
    let output = tapline(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let tensors = |path: &Path| {
        let bytes = fs::read(path.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<(String, Vec<u8>)> =
            file.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect();
        tensors.sort();
        tensors
    };
    let (old, new) = (tensors(Path::new("models/default")), tensors(&out));
    assert_eq!(old.len(), new.len());
    for ((name, old), (_, new)) in old.iter().zip(&new) {
        assert_eq!(old != new, name.starts_with("bilstm-attn.head."), "{name}");
    }
    assert!(stderr(&output).contains("with hostile labels"), "{}", stderr(&output));
}

#[test]
fn too_little_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    model::write(Path::new(&old));
    let learn = |capture: &str| {
        let output = tapline(&["learn", "--model", &old, "--out", &new, capture]);
        (output.status.code(), stderr(&output))
    };
    let (code, text) = learn("tests/golden/fuzz03.pcap");
    assert_eq!(code, Some(65), "{text}");
    assert!(text.contains("too few to learn from"), "{text}");
    let (code, text) = learn("no.pcap");
    assert_eq!(code, Some(66), "{text}");
    let output = tapline(&["learn", "--model", "nowhere", "--out", &new, DEMO]);
    assert_eq!(output.status.code(), Some(66), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}
