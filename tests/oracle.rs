//! Fresh random captures against the executable reading of CICFlowMeter, where that is at hand.

use std::process::Command;

use crate::support::generator::{Random, Shape, sequence};
use crate::support::packets::pcap;
use crate::support::program::{rows, shared};

#[test]
fn random_captures_agree_with_the_oracle() {
    let Some(oracle) = shared("oracle/cic_ref.py") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let shape = Shape {
            packets: 20 + random.below(400) as usize,
            out_of_order: random.one_of(&[0, 0, 5, 20]),
            loopback: random.chance(30),
        };
        let capture = pcap(&sequence(seed, shape));
        let path = folder.path().join("random.pcap");
        std::fs::write(&path, &capture).unwrap();
        for (schema, version) in [("cic-2018", "v2018"), ("cic-head", "head"), ("cic-gints", "gints")] {
            let output = Command::new("python3").arg(&oracle).arg(version).arg(&path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let expected = String::from_utf8(output.stdout).unwrap();
            let ours = rows(&["--schema", schema], &capture);
            let mut ours: Vec<&str> = ours.lines().skip(1).collect();
            let mut expected: Vec<&str> = expected.lines().collect();
            // Finished flows come in the tool's order; of those still open the tool's order has no meaning.
            ours.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ours, expected, "seed {seed}, {schema}");
            compared += ours.len();
        }
    }
    assert!(compared > 1_000, "only {compared} rows were compared");
    println!("{compared} rows agree");
}
