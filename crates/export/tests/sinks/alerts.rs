//! Alerts to servers that answer, fail, hang or are away: each is delivered or counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tapline_export::alert_queue::Retries;
use tapline_export::{AlertMessage, AlertReceiver, AlertSender, Severity, SinkMeter, alert_queue};

use crate::folder::at;

mod syslog;
#[cfg(feature = "webhook")]
mod webhook;

const RETRIES: Retries = Retries {
    attempts: None,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(20),
    stop_grace: Duration::from_secs(60),
};

fn alert(number: u64) -> Arc<AlertMessage> {
    Arc::new(AlertMessage {
        time: at(0),
        name: "alert_raised".to_owned(),
        severity: Severity::Warning,
        params: vec![("alert", number.to_string()), ("class", "scan".to_owned())],
        text: format!("alert {number}"),
        json: format!("{{\"alert\":{number},\"event\":\"raised\"}}"),
    })
}

/// What [`alert`] is as a message of syslog.
fn message(number: u64) -> String {
    format!(
        "<132>1 2023-11-14T22:13:20.000000Z gate tapline 7 alert_raised \
         [tapline@32473 alert=\"{number}\" class=\"scan\"] alert {number}"
    )
}

/// A sink in a thread, until all alerts are done with.
fn with_sink(
    run: impl FnOnce(SinkMeter, AlertReceiver, &AtomicBool) + Send,
    drive: impl FnOnce(AlertSender),
) -> SinkMeter {
    let meter = SinkMeter::new();
    let (sender, receiver) = alert_queue(64, meter.clone());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| run(meter.clone(), receiver, &stop));
        drive(sender);
    });
    meter
}

/// Waits until `done`; a test that waits for ever is ended from outside.
fn until(done: impl Fn() -> bool) {
    while !done() {
        thread::sleep(Duration::from_millis(2));
    }
}

/// A sink that is stopped while its server is away: nothing is delivered, everything is counted, and it ends.
fn stopped_while_away(run: impl FnOnce(SinkMeter, AlertReceiver, &AtomicBool) + Send) {
    let meter = SinkMeter::new();
    let (sender, receiver) = alert_queue(64, meter.clone());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sink = scope.spawn(|| run(meter.clone(), receiver, &stop));
        for number in 0..70 {
            sender.offer(alert(number));
        }
        until(|| meter.read().retries > 2);
        stop.store(true, Ordering::Relaxed);
        sink.join().unwrap();
        sender.offer(alert(70));
    });
    let counters = meter.read();
    assert_eq!((counters.written_rows, counters.dropped_rows()), (0, 71), "{counters:?}");
}
