//! The picture in ARCHITECTURE.md, kept true: dependencies between our crates go down only.

use std::collections::BTreeMap;
use std::process::Command;

const PICTURE: &[(&str, &[&str])] = &[
    (
        "tapline",
        // "blast" for its tests.
        &[
            "blast", "capture", "config", "control", "dataset", "export", "features", "flow", "label",
            "packet", "record", "rights", "score", "train",
        ],
    ),
    ("tapline-blast", &[]),
    ("tapline-capture", &["record"]),
    ("tapline-config", &[]),
    ("tapline-control", &[]),
    ("tapline-dataset", &["label", "record"]),
    ("tapline-export", &["record"]),
    ("tapline-features", &["record"]),
    ("tapline-flow", &["record"]),
    ("tapline-label", &["record"]),
    ("tapline-packet", &["record"]),
    ("tapline-record", &[]),
    // Its tests capture; it does not.
    ("tapline-rights", &["capture"]),
    ("tapline-score", &[]),
    ("tapline-train", &["score"]),
    ("tapline-wire", &[]),
];

#[test]
fn dependencies_are_as_drawn() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut drawn: BTreeMap<&str, &[&str]> = PICTURE.iter().copied().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let allowed = drawn.remove(name).unwrap_or_else(|| panic!("{name} is not in the picture"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let Some(ours) = dependency["name"].as_str().unwrap().strip_prefix("tapline-") else { continue };
            assert!(allowed.contains(&ours), "{name} may not depend on {ours}: see ARCHITECTURE.md");
        }
    }
    assert!(drawn.is_empty(), "drawn, but not there: {drawn:?}");
}
