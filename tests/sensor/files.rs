//! Files of rows: rotation fifty times a second, a full disk.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use tapline_blast::Pace;

use serde_json::Value;

use super::process::{Sensor, csv_rows, row_files};
use super::wire::{on_a_wire, until};

#[test]
fn fifty_files_a_second_hold_each_row_once() {
    on_a_wire(|wire| {
        let sensor = Sensor::start(
            wire,
            &[
                ("flow.idle_timeout", "100ms"),
                ("rows.rotate_size", "32KiB"),
                ("rows.rotate_age", "20ms"),
                ("rows.keep_files", "100000"),
            ],
        );
        const FLOWS: u32 = 20_000;
        // Three seconds, each flow of one frame.
        assert_eq!(wire.send_flows(FLOWS, FLOWS.into(), Pace::PerSecond(FLOWS / 3)).sent, u64::from(FLOWS));
        until("all rows", Duration::from_secs(20), || sensor.rows_sink()["written_rows"] == FLOWS);
        let ended = sensor.stop();
        ended.assert_clean();
        let files = row_files(&wire.path("rows"));
        assert!(files.len() > 150, "{} files", files.len());
        let rows = csv_rows(&wire.path("rows"));
        assert_eq!(rows.lines().count() as u32, 1 + FLOWS);
        assert_eq!(rows.lines().collect::<BTreeSet<_>>().len() as u32, 1 + FLOWS, "rows are there twice");
    });
}

#[test]
fn a_full_disk_costs_rows_that_are_counted_and_nothing_else() {
    on_a_wire(|wire| {
        let disk = wire.small_disk("disk", 1 << 20);
        let mut sensor = Sensor::start_in(
            wire,
            &disk,
            &[("flow.idle_timeout", "100ms"), ("rows.rotate_size", "128KiB"), ("rows.rotate_age", "0s")],
        );
        // Some five times as much as there is room for.
        let mut sent = wire.send_flows(8_000, 8_000, Pace::PerSecond(4_000)).sent;
        let full = |text: String| text.contains("disk") || text.contains("space");
        until("word of the full disk", Duration::from_secs(20), || full(sensor.errors()));
        assert!(sensor.is_running());

        // Room again: rows are written again, without a word to the sensor.
        let finished = row_files(&disk);
        finished.iter().filter(|file| file.file_name().unwrap() != "flows.csv").for_each(|file| {
            fs::remove_file(file).unwrap();
        });
        let before = row_files(&disk).len();
        until("rows after there is room", Duration::from_secs(10), || {
            sent += wire.send_flows(200, 200, Pace::Fastest).sent;
            // The flows end if they get some rest.
            thread::sleep(Duration::from_millis(300));
            row_files(&disk).len() > before
        });
        // All flows have ended, and what became of their rows is known.
        let mut sink = sensor.rows_sink();
        let count = |sink: &Value| {
            let dropped =
                sink["dropped_rows"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
            (sink["written_rows"].as_u64().unwrap(), dropped)
        };
        until("all rows", Duration::from_secs(10), || {
            sink = sensor.rows_sink();
            let (written, dropped) = count(&sink);
            let flows = &sensor.status()["flows"];
            flows["live"] == 0 && written + dropped == flows["emitted"].as_u64().unwrap()
        });
        let (written, dropped) = count(&sink);
        let ended = sensor.stop();
        assert_eq!((ended.packets("seen"), ended.packets("unaccounted")), (sent, 0));
        assert_eq!((ended.packets("kernel_dropped"), ended.packets("ring_dropped")), (0, 0));

        assert!(dropped > 1_000, "{sink:#}");
        assert_eq!(written + dropped, ended.stats["flows"]["emitted"].as_u64().unwrap());
        // Whole rows only; fewer than were written, because some were deleted.
        let rows = csv_rows(&disk);
        let cells = rows.lines().next().unwrap().split(',').count();
        assert!(rows.lines().all(|row| row.split(',').count() == cells), "a torn row");
        assert!((rows.lines().count() as u64) < written);
        // None was lost while it stopped.
        ended.assert_clean();
    });
}
