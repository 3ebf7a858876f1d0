//! Scoring allocates nothing per flow: counted, in a program of its own, because the allocator is global.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use tapline_score::manifest::{Calibration, InputColumn, Inputs, Thresholds, Weights, Window};
use tapline_score::{Batching, Evidence, Incidents, Logistic, Manifest, Scorer, WindowLimits};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const INPUTS: usize = 12;

fn manifest(names: &[String]) -> Manifest {
    let column = |name: &String| InputColumn {
        name: name.clone(),
        center: 0.5,
        scale: 1.0,
        clip: 8.0,
        knots: Vec::new(),
        marks: Vec::new(),
        edges: vec![0.0],
        shares: vec![0.5, 0.5],
    };
    Manifest {
        format: 1,
        id: "still".to_owned(),
        classes: ["benign", "scan"].map(str::to_owned).to_vec(),
        attack_ids: BTreeMap::new(),
        inputs: Inputs {
            schema: "inputs-1".to_owned(),
            schema_hash: String::new(),
            columns: names.iter().map(column).collect(),
        },
        window: Window {
            steps: 16,
            stride: 8,
            deadline_us: 1_000_000,
            computed_at_most: 2,
            padding: "left".to_owned(),
        },
        detectors: Vec::new(),
        calibration: Calibration {
            temperature: 1.0,
            source: "validation".to_owned(),
            benign_flows: 3,
            benign_span_s: 1.0,
            scores: vec![-1.0, 0.0, 1.0],
            ranks: vec![3, 2, 1],
        },
        thresholds: Thresholds {
            investigate: 0.0,
            detect: 50.0,
            block: 60.0,
            alert_evidence: 1e9,
            alert_flows: BTreeMap::new(),
            incident_gap_us: 10_000_000,
            budget: Vec::new(),
        },
        weights: Weights { file: String::new(), sha256: String::new() },
        card: BTreeMap::new(),
    }
}

#[test]
fn windows_verdicts_and_incidents_allocate_nothing_in_the_steady_state() {
    let names: Vec<String> = (0..INPUTS).map(|input| format!("x{input}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let manifest = manifest(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let detector = Logistic::new(INPUTS, &[0.1; 2 * INPUTS], vec![0.0, 0.1]).unwrap();
    // Fewer places than hosts and than sources of suspicion: something is forgotten all the time.
    let limits = WindowLimits { hosts: 300, rows: 2_000 };
    let mut scorer = Scorer::new(&manifest, Box::new(detector), &names, limits, Batching::default()).unwrap();
    let mut incidents = Incidents::<u64, ()>::new(&manifest, 200, 100);
    let mut verdicts = 0_u64;
    let mut run = |tickets: std::ops::Range<u64>| {
        for ticket in tickets {
            let now_us = ticket as i64 * 700;
            // One that is busy among many that are not.
            let host = if ticket % 3 == 0 { 7 } else { u128::from(ticket * ticket % 997) };
            let row = [(ticket % 13) as f32 / 13.0; INPUTS];
            let mut judge = |verdict: &tapline_score::Verdict, _: &mut tapline_score::Explainer<'_>| {
                verdicts += 1;
                if verdict.class > 0 {
                    let evidence = Evidence {
                        source: u128::from(verdict.ticket % 500),
                        class: verdict.class,
                        score: verdict.score,
                        probability: verdict.probability,
                        p_value: verdict.p_value,
                        time_us: now_us,
                        start_us: now_us,
                        end_us: now_us,
                        target: host,
                        port: 80,
                        flow: verdict.ticket,
                    };
                    incidents.fold(&evidence, &mut |_| {});
                }
                Ok(())
            };
            scorer.push(host, now_us, &row, ticket, &mut judge).unwrap();
            if ticket % 500 == 0 {
                scorer.tick(now_us, &mut judge).unwrap();
                incidents.expire(now_us - 5_000_000, &mut |_| {});
            }
        }
    };
    run(0..200_000);
    let before = ALLOCATIONS.with(Cell::get);
    run(200_000..400_000);
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert!(before > 0, "the counter works");
    assert_eq!(allocations, 0, "allocations for 200,000 flows of the steady state");
    assert!(verdicts > 390_000, "{verdicts}");
    assert!(incidents.counters().opened > 10_000, "{:?}", incidents.counters());
    let windows = scorer.window_counters();
    assert!(windows.by_stride > 0 && windows.by_deadline > 0 && windows.by_bound > 0, "{windows:?}");
}
