use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use candle_nn::{VarBuilder, VarMap};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::manifest::{
    BudgetPoint, Calibration, DetectorSpec, InputColumn, Inputs, NetworkSpec, Thresholds, Weights, Window,
};
use crate::network::initialise;
use crate::tensors::Numbers;
use crate::trees::{TreeArrays, TreeMethod};
use crate::{Vote, WindowBatch};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const HASH: &str = "0123456789abcdef";
const SCHEMA: InputSchema<'_> = InputSchema { name: "inputs-1", hash: HASH, inputs: &NAMES };

fn network() -> NetworkSpec {
    NetworkSpec { hidden: vec![2, 3], heads: 2, attention: 4, norm: "batch".to_owned(), dropout: 0.25 }
}

fn trees() -> Trees {
    Trees::new(TreeArrays {
        method: TreeMethod::Boosted,
        width: 3,
        classes: 3,
        root: vec![0, 3],
        feature: vec![2, 0, 1, 2],
        threshold: vec![0.5, 0.0, 0.0, 0.0],
        left: vec![1, 0, 0, 0],
        value: vec![0.5, 0.0, -0.5, 0.25, 0.0, 1.0, 0.0, 0.0, 0.125],
        class: Vec::new(),
        base: vec![1.0, -1.0, 0.0],
    })
    .unwrap()
}

fn manifest() -> Manifest {
    let detector = |vote, kind| DetectorSpec { vote: Vote::always(vote), kind };
    let column = |name: &str, scale| InputColumn {
        name: name.to_owned(),
        center: 0.1,
        scale,
        clip: 5.0,
        knots: Vec::new(),
        marks: Vec::new(),
        edges: vec![-1.0, 0.0, 1.0],
        shares: vec![0.1, 0.4, 0.3, 0.2],
    };
    Manifest {
        format: 1,
        id: "small".to_owned(),
        classes: ["benign", "scan", "c2"].map(str::to_owned).to_vec(),
        attack_ids: [("scan", "T1046"), ("c2", "T1071.001")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into(),
        inputs: Inputs {
            schema: "inputs-1".to_owned(),
            schema_hash: HASH.to_owned(),
            columns: vec![column("a", 1.0), column("c", 0.3), column("d", 1e-3)],
        },
        window: Window {
            steps: 16,
            stride: 8,
            deadline_us: 1_000_000,
            computed_at_most: 2,
            padding: "left".to_owned(),
        },
        detectors: vec![
            detector(2.0, DetectorKind::BilstmAttn(network())),
            detector(1.0, DetectorKind::Trees(trees().spec())),
            detector(0.0, DetectorKind::Logistic),
            detector(0.0, DetectorKind::OneInput),
        ],
        calibration: Calibration {
            temperature: 1.5,
            source: "validation".to_owned(),
            benign_flows: 1_000,
            benign_span_s: 3_600.0,
            scores: vec![-9.25, -1.0, 2.5],
            ranks: vec![1_000, 50, 2],
        },
        thresholds: Thresholds {
            investigate: -1.0,
            detect: 2.5,
            block: 2.5,
            alert_evidence: 8.0,
            alert_flows: [("scan".to_owned(), 5)].into(),
            incident_gap_us: 600_000_000,
            budget: [(4.0, 12.5), (8.0, 1.0), (16.0, 0.0)]
                .map(|(alert_evidence, alerts_per_day)| BudgetPoint { alert_evidence, alerts_per_day })
                .to_vec(),
        },
        weights: Weights { file: String::new(), sha256: String::new() },
        card: [("trained".to_owned(), "for a test\nof two lines".to_owned())].into(),
    }
}

fn tensors() -> Vec<StoredTensor> {
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    BilstmAttn::new(&network(), 3, 3, builder).unwrap();
    initialise(&variables, 7).unwrap();
    let variables = variables.data().lock().unwrap();
    let mut tensors: Vec<StoredTensor> = variables
        .iter()
        .map(|(name, variable)| {
            let numbers = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            StoredTensor::f32(name, variable.dims(), &numbers)
        })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let logistic = Logistic::new(3, &[0.5; 9], vec![1.0, 0.0, -1.0]).unwrap();
    let one = OneInput { width: 3, input: 2, threshold: 0.5, slope: 2.0, bias: vec![0.0, -1.0, -0.5] };
    tensors.extend(trees().tensors());
    tensors.extend(logistic.tensors());
    tensors.extend(one.tensors());
    tensors
}

fn batch() -> WindowBatch {
    let inputs = (0..12).map(|value| value as f32 / 4.0 - 1.5).collect();
    WindowBatch { width: 3, lengths: vec![3, 1], inputs, fresh: Vec::new() }
}

fn logits(model: &LoadedModel) -> Vec<f32> {
    let mut logits = Vec::new();
    model.ensemble().unwrap().logits(&batch(), &mut logits).unwrap();
    for mut detector in model.detectors().unwrap() {
        detector.logits(&batch(), &mut logits).unwrap();
    }
    logits
}

/// A directory with the good model in it.
fn written() -> (TempDir, ModelDir) {
    let parent = TempDir::new().unwrap();
    let dir = ModelDir::new(parent.path().join("small"));
    dir.write(manifest(), &tensors(), "# Small\n").unwrap();
    (parent, dir)
}

/// Files as they are, whatever they say; the manifest is told of the weights' hash.
fn write_raw(path: &Path, mut manifest: Manifest, weights: &[u8]) {
    manifest.weights = Weights { file: WEIGHTS_FILE.to_owned(), sha256: sha256(weights) };
    manifest.id = format!("small-{}", &manifest.weights.sha256[..8]);
    write_unaided(path, &manifest, weights);
}

fn write_unaided(path: &Path, manifest: &Manifest, weights: &[u8]) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join(MANIFEST_FILE), toml::to_string(manifest).unwrap()).unwrap();
    fs::write(path.join(WEIGHTS_FILE), weights).unwrap();
}

/// A sparse file.
fn write_zeros(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(path);
    file.unwrap().set_len(bytes).unwrap();
}

fn serialized(tensors: &[StoredTensor]) -> Vec<u8> {
    safetensors::serialize(tensors.iter().map(|tensor| (&tensor.name, tensor)), None).unwrap()
}

fn refusal(path: &Path) -> String {
    match ModelDir::new(path).load(&SCHEMA) {
        Err(error @ ScoreError::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_loaded() {
    let (parent, dir) = written();
    let model = dir.load(&SCHEMA).unwrap();
    let hash = &model.manifest.weights.sha256;
    assert_eq!(model.manifest.id, format!("small-{}", &hash[..8]));
    let expected = Manifest {
        id: model.manifest.id.clone(),
        weights: Weights { file: WEIGHTS_FILE.to_owned(), sha256: hash.clone() },
        ..manifest()
    };
    assert_eq!(model.manifest, expected);
    assert_eq!(fs::read_to_string(dir.path.join(README_FILE)).unwrap(), "# Small\n");
    let names: Vec<_> =
        fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["small"]);

    let told = logits(&model);
    assert_eq!(told.len(), 5 * 4 * 3);
    assert!(told.iter().all(|logit| logit.is_finite()));
    assert_eq!(model.parameters()[1..], [2 + 4 + 4 + 4 + 9 + 3, 12, 6]);
    // Written again from what was loaded: the same bytes, and the id keeps its name.
    let again = ModelDir::new(parent.path().join("deeper/again"));
    again.write(model.manifest.clone(), &model.tensors().unwrap(), "").unwrap();
    let again = again.load(&SCHEMA).unwrap();
    assert_eq!((&again.manifest, &again.weights), (&model.manifest, &model.weights));
    assert_eq!(logits(&again), told);
}

#[test]
fn detectors_are_made_of_the_tensors_that_are_expected() {
    let expected: BTreeMap<String, bool> = manifest()
        .detectors
        .iter()
        .flat_map(|spec| expected_tensors(&spec.kind, 3, 3))
        .filter(|tensor| !tensor.optional)
        .map(|tensor| (tensor.name, true))
        .collect();
    let made: BTreeMap<String, bool> = tensors().into_iter().map(|tensor| (tensor.name, true)).collect();
    assert_eq!(expected, made);
}

#[test]
fn nothing_is_overwritten() {
    let (parent, dir) = written();
    let before = fs::read(dir.path.join(MANIFEST_FILE)).unwrap();
    let error = dir.write(manifest(), &tensors(), "other").unwrap_err().to_string();
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(fs::read(dir.path.join(MANIFEST_FILE)).unwrap(), before);
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(ModelDir::new(&file).write(manifest(), &tensors(), "").is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn what_would_be_refused_is_not_written() {
    let parent = TempDir::new().unwrap();
    let dir = ModelDir::new(parent.path().join("small"));
    let mut wrong = manifest();
    wrong.calibration.temperature = 0.0;
    assert!(dir.write(wrong, &tensors(), "").is_err());
    assert!(dir.write(manifest(), &tensors()[1..], "").is_err());
    let mut unnamed = manifest();
    unnamed.id = "no name".to_owned();
    assert!(dir.write(unnamed, &tensors(), "").is_err());
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn manifests_that_make_no_sense_are_refused() {
    type Damage = fn(&mut Manifest);
    let table: &[(Damage, &str)] = &[
        (|m| m.format = 2, "format is 2, and this build reads 1; use a newer Tapline"),
        (|m| m.format = 0, "format is 0, and this build reads 1; train again"),
        (|m| m.classes.clear(), "classes: 0 of them"),
        (|m| m.classes[1].clear(), "classes[1] is \"\": names have"),
        (|m| m.classes[2] = "scan".to_owned(), "classes[2]: \"scan\" is there twice"),
        (|m| m.classes[0] = "normal".to_owned(), "the first class is always \"benign\""),
        (|m| m.classes[1] = "a\"b".to_owned(), "classes[1]"),
        (
            |m| drop(m.attack_ids.insert("dos".to_owned(), "T1498".to_owned())),
            "attack_ids.dos: there is no such",
        ),
        (|m| drop(m.attack_ids.insert("benign".to_owned(), "T1498".to_owned())), "attack_ids.benign"),
        (|m| drop(m.attack_ids.insert("scan".to_owned(), "T46".to_owned())), "attack_ids.scan is \"T46\""),
        (|m| drop(m.attack_ids.insert("scan".to_owned(), "T1046.1".to_owned())), "T1234 or T1234.001"),
        (|m| m.inputs.schema = "inputs-2".to_owned(), "inputs.schema is \"inputs-2\""),
        (|m| m.inputs.schema_hash = "00".to_owned(), "inputs.schema_hash is \"00\""),
        (
            |m| m.inputs.columns[1].name = "q".to_owned(),
            "inputs.columns[1]: this build computes no input \"q\"; use",
        ),
        (|m| m.inputs.columns[2].name = "a".to_owned(), "inputs.columns[2], \"a\": it is there twice"),
        (|m| m.inputs.columns.clear(), "inputs.columns: 0 of them"),
        (|m| m.inputs.columns[0].center = f32::NAN, "inputs.columns[0], \"a\": center is NaN"),
        (|m| m.inputs.columns[0].scale = 0.0, "scale is 0; it is finite and greater than 0"),
        (|m| m.inputs.columns[0].clip = f32::INFINITY, "clip is inf"),
        (|m| m.inputs.columns[0].clip = -1.0, "clip is -1"),
        (|m| m.inputs.columns[0].knots = vec![0.0, 1.0], "2 knots with 0 marks"),
        (
            |m| (m.inputs.columns[0].knots, m.inputs.columns[0].marks) = (vec![0.0], vec![0.0]),
            "1 knots with 1 marks; there are as many, none or 2 to 256",
        ),
        (
            |m| (m.inputs.columns[0].knots, m.inputs.columns[0].marks) = (vec![0.0, 0.0], vec![0.0, 1.0]),
            "knots are not finite or do not ascend",
        ),
        (
            |m| {
                (m.inputs.columns[0].knots, m.inputs.columns[0].marks) = (vec![0.0, 1.0], vec![0.0, f32::NAN])
            },
            "marks are not finite or do not ascend",
        ),
        (|m| m.inputs.columns[0].edges[1] = 7.0, "edges do not ascend"),
        (|m| m.inputs.columns[0].edges[1] = f32::NAN, "an edge is NaN"),
        (
            |m| {
                m.inputs.columns[0].edges.pop();
            },
            "4 shares for 2 edges",
        ),
        (|m| m.inputs.columns[0].shares[0] = 0.2, "shares add up to 1.1"),
        (|m| m.inputs.columns[0].shares[0] = -0.1, "a share is -0.1"),
        (|m| m.window.steps = 0, "window.steps is 0"),
        (|m| m.window.steps = 257, "window.steps is 257"),
        (|m| m.window.stride = 17, "window.stride is 17; with 16 steps, 1 to 16 are possible"),
        (|m| m.window.computed_at_most = 0, "window.computed_at_most is 0"),
        (|m| m.window.deadline_us = 3_600_000_001, "window.deadline_us"),
        (|m| m.window.padding = "right".to_owned(), "window.padding is \"right\""),
        (|m| m.detectors.clear(), "detectors: none has a vote"),
        (|m| m.detectors.iter_mut().for_each(|d| d.vote.share = 0.0), "detectors: none has a vote"),
        (|m| m.detectors[1].vote.share = -0.5, "detectors[1].vote is -0.5"),
        (|m| m.detectors[1].vote.share = f32::NAN, "detectors[1].vote is NaN"),
        (|m| m.detectors[0].vote.asked_from = Some(f32::NAN), "detectors[0].asked_from is NaN"),
        (
            |m| m.detectors.iter_mut().for_each(|d| d.vote.asked_from = Some(-4.0)),
            "detectors: all that vote have asked_from",
        ),
        (|m| m.detectors[3].kind = DetectorKind::Logistic, "detectors[3]: logistic is there twice"),
        (|m| edit_network(m, |spec| spec.heads = 3), "bilstm-attn: attention, 4, is no multiple of heads, 3"),
        (|m| edit_network(m, |spec| spec.heads = 0), "heads, 0"),
        (|m| edit_network(m, |spec| spec.hidden.clear()), "hidden is []"),
        (|m| edit_network(m, |spec| spec.hidden[0] = 1 << 40), "hidden is [1099511627776, 3]"),
        (|m| edit_network(m, |spec| spec.norm = "group".to_owned()), "norm is \"group\""),
        (|m| edit_network(m, |spec| spec.dropout = 1.0), "dropout is 1"),
        (|m| m.calibration.temperature = 0.0, "calibration.temperature is 0"),
        (|m| m.calibration.temperature = f32::NAN, "calibration.temperature is NaN"),
        (|m| m.calibration.scores[1] = 2.5, "calibration.scores do not ascend at 2"),
        (|m| m.calibration.scores[1] = f32::INFINITY, "calibration.scores[1] is inf"),
        (|m| m.calibration.ranks[2] = 51, "calibration.ranks do not descend at 2"),
        (|m| m.calibration.ranks[2] = 0, "calibration.ranks go from 1000 to 0"),
        (
            |m| m.calibration.benign_flows = 999,
            "calibration.ranks go from 1000 to 2; they go from benign_flows, 999",
        ),
        (
            |m| {
                m.calibration.ranks.pop();
            },
            "calibration: 3 scores, but 2 ranks",
        ),
        (
            |m| {
                m.calibration.scores.clear();
                m.calibration.ranks.clear()
            },
            "calibration.scores is empty",
        ),
        (|m| m.thresholds.detect = f32::NAN, "thresholds.detect is NaN"),
        (|m| m.thresholds.investigate = 3.0, "thresholds: investigate 3, detect 2.5"),
        (|m| m.thresholds.block = 0.0, "none is less than the one before"),
        (|m| m.thresholds.alert_evidence = -1.0, "thresholds.alert_evidence is -1"),
        (
            |m| {
                m.thresholds.alert_flows.insert("scan".to_owned(), 0);
            },
            "thresholds.alert_flows.scan is 0",
        ),
        (
            |m| {
                m.thresholds.alert_flows.insert("worm".to_owned(), 1);
            },
            "thresholds.alert_flows.worm",
        ),
        (|m| m.thresholds.incident_gap_us = 0, "thresholds.incident_gap_us is 0"),
        (|m| m.thresholds.budget.swap(0, 1), "thresholds.budget[1]: alert_evidence grows"),
        (|m| m.thresholds.budget[1].alerts_per_day = f64::NAN, "thresholds.budget[1]: alert_evidence 8"),
    ];
    let parent = TempDir::new().unwrap();
    let weights = serialized(&tensors());
    for (damage, words) in table {
        let mut manifest = manifest();
        damage(&mut manifest);
        write_raw(parent.path(), manifest, &weights);
        let message = refusal(parent.path());
        assert!(message.contains(words), "{words:?} is not in: {message}");
        assert!(message.contains("model.toml: "), "{message}");
    }
    assert!(table.len() >= 15);
}

fn edit_network(manifest: &mut Manifest, edit: impl FnOnce(&mut NetworkSpec)) {
    match &mut manifest.detectors[0].kind {
        DetectorKind::BilstmAttn(spec) => edit(spec),
        other => panic!("{other:?}"),
    }
}

#[test]
fn text_that_is_no_manifest_is_refused_with_its_place() {
    let (_parent, dir) = written();
    let path = dir.path.join(MANIFEST_FILE);
    let good = fs::read_to_string(&path).unwrap();
    let line_of = |text: &str, part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
    for (from, to, words) in [
        ("format = 1", "format 1", "line 1, column 8: "),
        ("format = 1", "format = 3\nnovelty = true", "format is 3"),
        ("format = 1\n", "", "there is no key format"),
        ("format = 1", "format = 1\nfolder = \"x\"", "line 2, column 1: unknown field `folder`"),
        ("stride = 8", "stride = 8\nstrode = 9", "unknown field `strode`"),
        ("stride = 8", "stride = -8", "invalid value: integer `-8`"),
        ("stride = 8", "stride = \"8\"", "invalid type: string \"8\""),
        ("stride = 8", "stride = 8\nstride = 8", "duplicate key"),
        ("stride = 8\n", "", "missing field `stride`"),
        ("heads = 2", "heads = 2\nhoods = 2", "unknown field `hoods`"),
        ("heads = 2\n", "", "a detector bilstm-attn needs `heads`"),
        ("heads = 2", "heads = 2\ntrees = 4", "a detector bilstm-attn has no `trees`"),
        ("kind = \"logistic\"", "kind = \"logistics\"", "there is no detector `logistics`"),
        ("temperature = 1.5", "temperature = 1.5\nwarmth = 1", "unknown field `warmth`"),
    ] {
        assert!(good.contains(from), "{from} is not in: {good}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let message = refusal(&dir.path);
        assert!(message.contains(words), "{words:?} is not in: {message}");
        if from.starts_with("heads") || from.starts_with("stride") {
            let near = line_of(&good, from.trim_end()).abs_diff(line(&message));
            assert!(near <= 8, "{near} lines away: {message}");
        }
    }
    fs::write(&path, b"format = 1\nid = \"\xff\"").unwrap();
    assert!(refusal(&dir.path).contains("byte 17 is not UTF-8"));
}

fn line(message: &str) -> usize {
    let (_, rest) = message.split_once("line ").unwrap_or_else(|| panic!("{message}"));
    rest.split_once(',').unwrap().0.parse().unwrap()
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    type Damage = fn(&mut Vec<StoredTensor>);
    fn at<'a>(tensors: &'a mut [StoredTensor], name: &str) -> &'a mut StoredTensor {
        tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }
    fn floats_of<'a>(tensors: &'a mut [StoredTensor], name: &str) -> &'a mut Vec<f32> {
        match &mut at(tensors, name).numbers {
            Numbers::F32(numbers) => numbers,
            Numbers::U32(_) => panic!("{name} holds no floats"),
        }
    }
    let table: &[(Damage, &str)] = &[
        (|t| t.retain(|t| t.name != "bilstm-attn.attn.q.bias"), "tensor bilstm-attn.attn.q.bias is missing"),
        (
            |t| t.push(StoredTensor::f32("logistic.more", &[1], &[0.0])),
            "tensor logistic.more belongs to no detector",
        ),
        (
            |t| at(t, "bilstm-attn.lstm0.forward.w_ih").shape = vec![3, 8],
            "tensor bilstm-attn.lstm0.forward.w_ih is F32 [3, 8]; by the manifest it is F32 [8, 3]",
        ),
        (
            |t| at(t, "logistic.bias").numbers = Numbers::U32(vec![0; 3]),
            "tensor logistic.bias is U32 [3]; by the manifest it is F32 [3]",
        ),
        (
            |t| floats_of(t, "bilstm-attn.lstm1.backward.w_hh")[4] = f32::NAN,
            "tensor bilstm-attn.lstm1.backward.w_hh holds NaN at [1, 1]; the training went wrong",
        ),
        (
            |t| floats_of(t, "trees.threshold")[0] = f32::NEG_INFINITY,
            "tensor trees.threshold holds -inf at [0]",
        ),
        (|t| floats_of(t, "bilstm-attn.norm1.running_var")[2] = -0.5, "norm1.running_var holds -0.5 at [2]"),
        (|t| at(t, "trees.feature").numbers = Numbers::U32(vec![9, 0, 1, 2]), "trees.feature"),
        (|t| at(t, "trees.left").numbers = Numbers::U32(vec![0, 1, 0, 0]), "trees"),
        (|t| at(t, "one-input.input").numbers = Numbers::U32(vec![3]), "one-input.input"),
    ];
    let parent = TempDir::new().unwrap();
    for (damage, words) in table {
        let mut tensors = tensors();
        damage(&mut tensors);
        write_raw(parent.path(), manifest(), &serialized(&tensors));
        let message = refusal(parent.path());
        assert!(message.contains(words), "{words:?} is not in: {message}");
        assert!(message.contains("model.safetensors: "), "{message}");
    }
}

#[test]
fn damaged_directories_are_refused() {
    let (parent, dir) = written();
    let weights_path = dir.path.join(WEIGHTS_FILE);
    let good = fs::read(&weights_path).unwrap();

    let message = refusal(&parent.path().join("nowhere"));
    assert!(
        message.contains("nowhere/model.toml: it is not there; a model directory holds model.toml"),
        "{message}"
    );

    let mut tampered = good.clone();
    *tampered.last_mut().unwrap() ^= 1;
    fs::write(&weights_path, &tampered).unwrap();
    let message = refusal(&dir.path);
    assert!(message.contains("changed or damaged, copy the model again"), "{message}");

    fs::write(&weights_path, &good[..good.len() - 1]).unwrap();
    assert!(refusal(&dir.path).contains("SHA-256"));

    write_zeros(&weights_path, WEIGHTS_BYTES_MAX + 1);
    assert!(refusal(&dir.path).contains("268435457 bytes, and no model needs more than 268435456"));

    fs::remove_file(&weights_path).unwrap();
    assert!(refusal(&dir.path).contains("model.safetensors: it is not there"));
    fs::create_dir(&weights_path).unwrap();
    assert!(refusal(&dir.path).contains("model.safetensors: it is not a file"));

    write_zeros(&dir.path.join(MANIFEST_FILE), MANIFEST_BYTES_MAX + 1);
    assert!(refusal(&dir.path).contains("model.toml: 4194305 bytes"));

    // Not what they say they are, though the hash is right.
    for (weights, words) in [
        (b"PK\x03\x04 some other file".to_vec(), "header: "),
        (b"\x10\0\0\0\0\0\0\0{}".to_vec(), "it is no safetensors file"),
        (Vec::new(), "it is no safetensors file"),
    ] {
        let path = parent.path().join("other");
        write_raw(&path, manifest(), &weights);
        let message = refusal(&path);
        assert!(message.contains(words), "{message}");
    }

    let path = parent.path().join("renamed");
    let mut manifest = manifest();
    manifest.weights = Weights { file: WEIGHTS_FILE.to_owned(), sha256: sha256(&good) };
    manifest.id = "small-00000000".to_owned();
    write_unaided(&path, &manifest, &good);
    assert!(refusal(&path).contains("id \"small-00000000\" does not end in the first digits"));
    manifest.id = format!("small-{}", &sha256(&good)[..8]);
    manifest.weights.file = "../model.safetensors".to_owned();
    write_unaided(&path, &manifest, &good);
    assert!(refusal(&path).contains("weights.file is \"../model.safetensors\""));
}

/// Every byte of the manifest, three of its bits and all of them: a refusal, or a manifest that makes sense.
#[test]
fn flipped_bytes_of_the_manifest_do_no_harm() {
    let (_parent, dir) = written();
    let text = fs::read(dir.path.join(MANIFEST_FILE)).unwrap();
    let mut accepted = 0;
    for at in 0..text.len() {
        for mask in [0x01, 0x10, 0x40, 0xff] {
            let mut text = text.clone();
            text[at] ^= mask;
            let Ok(text) = String::from_utf8(text) else { continue };
            let Ok(manifest) = parse(&text) else { continue };
            if manifest_check::check(&manifest).is_ok() {
                accepted += 1;
            }
        }
    }
    // Another digit of a center is another manifest, and as good a one.
    assert!(accepted > 0 && accepted < text.len(), "{accepted} of {} bytes", text.len());
}

static GOOD: LazyLock<LoadedModel> = LazyLock::new(|| written().1.assemble(manifest(), &tensors()).unwrap());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bytes_are_refused_or_change_nothing_in_the_weights(
        in_weights in any::<bool>(),
        place in any::<prop::sample::Index>(),
        mask in 1..=255_u8,
    ) {
        let before = LazyLock::force(&GOOD);
        let parent = TempDir::new().unwrap();
        let dir = ModelDir::new(parent.path().join("small"));
        write_unaided(&dir.path, &before.manifest, &before.weights);
        let path = dir.path.join(if in_weights { WEIGHTS_FILE } else { MANIFEST_FILE });
        let mut bytes = fs::read(&path).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= mask;
        fs::write(&path, &bytes).unwrap();
        match dir.load(&SCHEMA) {
            Err(error) => prop_assert!(error.to_string().contains("small/model."), "{error}"),
            Ok(after) => {
                prop_assert!(!in_weights, "byte {at} of the weights");
                prop_assert_eq!(&after.weights, &before.weights);
                logits(&after);
            }
        }
    }

    /// Somebody who makes the hash fit as well: what is loaded runs.
    #[test]
    fn forged_weights_are_refused_or_run(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_header in any::<bool>(),
    ) {
        let mut weights = serialized(&tensors());
        let header = 8 + u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize;
        let (start, end) = if in_header { (0, header) } else { (header, weights.len()) };
        for (place, byte) in flips {
            weights[start + place.index(end - start)] = byte;
        }
        let parent = TempDir::new().unwrap();
        write_raw(parent.path(), manifest(), &weights);
        if let Ok(model) = ModelDir::new(parent.path()).load(&SCHEMA) {
            logits(&model);
        }
    }
}
