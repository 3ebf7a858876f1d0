//! Alerts on their way to somebody who may be slow, or away.
//!
//! ```text
//!  who raises alerts ──offer──► queue ──► run: a thread of the daemon's ──► syslog, webhook
//!                      │                   │ refused or silent: again after a pause that doubles
//!                      └ full: dropped,    └ stopped: what waits is tried once, the rest counted
//!                        counted
//! ```
//!
//! In: [`AlertMessage`]s. Out: each is delivered, or counted as dropped with its cause. Offering never waits, so nothing
//! here slows capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tapline_record::Timestamp;

use crate::sink_counters::{Count, DropCause, SinkMeter};

/// An alert in the forms that sinks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertMessage {
    /// When it was certain.
    pub time: Timestamp,
    /// What kind of message: `alert_raised`. Syslog's MSGID.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Facts about it, for the structured data of syslog. Names are ASCII without blanks, quotes, `=` and `]`.
    pub params: Vec<(&'static str, String)>,
    /// One sentence for people.
    pub text: String,
    /// All of it, for webhooks.
    pub json: String,
}

/// Severities of syslog (RFC 5424, table 2), the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the severity of its name")]
#[repr(u8)]
pub enum Severity {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Informational,
    Debug,
}

/// A queue of at most `capacity` alerts before a sink that counts into `meter`.
#[must_use]
pub fn alert_queue(capacity: usize, meter: SinkMeter) -> (AlertSender, AlertReceiver) {
    // A rendezvous (0) would lose whatever comes while the sink is busy.
    let (sender, receiver) = sync_channel(capacity.max(1));
    (AlertSender { sender, meter }, receiver)
}

/// The end of the queue that a sink's `run` takes.
pub type AlertReceiver = Receiver<Arc<AlertMessage>>;

/// The end of the queue for whoever raises alerts. A sink ends when all of these are gone and the queue is empty.
#[derive(Clone, Debug)]
pub struct AlertSender {
    sender: SyncSender<Arc<AlertMessage>>,
    meter: SinkMeter,
}

impl AlertSender {
    /// Queues an alert and does not wait: if the queue is full, or its sink has ended, the alert is dropped and counted.
    pub fn offer(&self, alert: Arc<AlertMessage>) {
        let cause = match self.sender.try_send(alert) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => DropCause::QueueFull,
            Err(TrySendError::Disconnected(_)) => DropCause::Stopped,
        };
        self.meter.add_dropped(cause, 1);
    }

    /// What the sink has delivered, dropped and so on.
    #[must_use]
    pub const fn meter(&self) -> &SinkMeter {
        &self.meter
    }
}

/// One attempt at a time to get an alert to somebody.
pub(crate) trait Deliver {
    fn deliver(&mut self, alert: &AlertMessage) -> Delivery;
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Accepted, this many bytes.
    Done { bytes: u64 },
    /// It may go better later, or not before `after`, if the peer said so; if never, it is lost for `cause`.
    Later { cause: DropCause, after: Option<Duration>, error: String },
    /// It never will.
    Lost { cause: DropCause, error: String },
}

/// When a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts for one alert; `None` for as many as it takes until the sink is stopped.
    pub attempts: Option<u32>,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long alerts that wait are still sent once the sink is stopped.
    pub stop_grace: Duration,
}

/// Delivers alerts until `stop` is set or all senders are gone; then those that wait, each tried once, until the first
/// failure or the end of the grace.
pub(crate) fn deliver_all(
    sink: &mut impl Deliver,
    retries: &Retries,
    meter: &SinkMeter,
    alerts: &AlertReceiver,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        match alerts.recv_timeout(LOOK_EVERY) {
            Ok(alert) => deliver_one(sink, retries, meter, &alert, stop),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    let end = Instant::now() + retries.stop_grace;
    let mut fine = true;
    for alert in alerts.try_iter() {
        fine = fine && Instant::now() < end;
        if fine {
            match sink.deliver(&alert) {
                Delivery::Done { bytes } => count_done(meter, bytes),
                Delivery::Lost { cause, error } => count_lost(meter, cause, &error),
                Delivery::Later { error, .. } => {
                    fine = false;
                    count_lost(meter, DropCause::Stopped, &error);
                }
            }
        } else {
            meter.add_dropped(DropCause::Stopped, 1);
        }
    }
}

fn deliver_one(
    sink: &mut impl Deliver,
    retries: &Retries,
    meter: &SinkMeter,
    alert: &AlertMessage,
    stop: &AtomicBool,
) {
    let mut pause = retries.first_pause;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match sink.deliver(alert) {
            Delivery::Done { bytes } => return count_done(meter, bytes),
            Delivery::Lost { cause, error } => return count_lost(meter, cause, &error),
            Delivery::Later { cause, error, .. } if retries.attempts.is_some_and(|most| attempts >= most) => {
                return count_lost(meter, cause, &error);
            }
            Delivery::Later { after, error, .. } => {
                meter.add_error(error);
                let longer = after.unwrap_or_default().max(pause).min(retries.longest_pause);
                if !wait(longer, stop) {
                    return meter.add_dropped(DropCause::Stopped, 1);
                }
                pause = pause.saturating_mul(2).min(retries.longest_pause);
                meter.add(Count::Retries, 1);
            }
        }
    }
}

fn count_done(meter: &SinkMeter, bytes: u64) {
    meter.add(Count::WrittenRows, 1);
    meter.add(Count::WrittenBytes, bytes);
}

fn count_lost(meter: &SinkMeter, cause: DropCause, error: &str) {
    meter.add_error(error);
    meter.add_dropped(cause, 1);
}

/// Whether `pause` passed without being stopped.
fn wait(pause: Duration, stop: &AtomicBool) -> bool {
    let mut left = pause;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let piece = left.min(LOOK_EVERY);
        thread::sleep(piece);
        left -= piece;
    }
    !stop.load(Ordering::Relaxed)
}

/// How often a thread that waits looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Arc<AlertMessage> {
        Arc::new(AlertMessage {
            time: Timestamp::from_micros(0),
            name: "alert_raised".to_owned(),
            severity: Severity::Warning,
            params: Vec::new(),
            text: String::new(),
            json: "{}".to_owned(),
        })
    }

    const RETRIES: Retries = Retries {
        attempts: Some(3),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        stop_grace: Duration::from_secs(60),
    };

    /// Answers in turn, the last for ever.
    struct Answers(Vec<Delivery>, usize);

    impl Deliver for Answers {
        fn deliver(&mut self, _: &AlertMessage) -> Delivery {
            let answer = self.0[self.1.min(self.0.len() - 1)].clone();
            self.1 += 1;
            answer
        }
    }

    fn later() -> Delivery {
        Delivery::Later { cause: DropCause::Unreachable, after: None, error: "away".to_owned() }
    }

    #[track_caller]
    fn check(offered: u64, answers: &[Delivery], stopped: bool, expect: &[(DropCause, u64)]) -> SinkMeter {
        let meter = SinkMeter::new();
        let (sender, receiver) = alert_queue(10, meter.clone());
        for _ in 0..offered {
            sender.offer(alert());
        }
        drop(sender);
        let stop = AtomicBool::new(stopped);
        deliver_all(&mut Answers(answers.to_vec(), 0), &RETRIES, &meter, &receiver, &stop);
        for cause in DropCause::ALL {
            let expect = expect.iter().find(|(expected, _)| *expected == cause).map_or(0, |(_, n)| *n);
            assert_eq!(meter.read().dropped_by(cause), expect, "{}", cause.name());
        }
        let lost: u64 = expect.iter().map(|(_, n)| n).sum();
        assert_eq!(meter.read().written_rows, offered - lost);
        meter
    }

    #[test]
    fn every_alert_is_delivered_or_counted() {
        let done = Delivery::Done { bytes: 7 };
        let lost = Delivery::Lost { cause: DropCause::Refused, error: "no".to_owned() };
        check(3, std::slice::from_ref(&done), false, &[]);
        check(13, std::slice::from_ref(&done), false, &[(DropCause::QueueFull, 3)]);
        check(3, &[done.clone(), lost.clone(), done.clone()], false, &[(DropCause::Refused, 1)]);
        let meter = check(2, &[later(), later(), done.clone()], false, &[]);
        assert_eq!((meter.read().retries, meter.read().errors, meter.read().written_bytes), (2, 2, 14));
        check(2, &[later(), later(), later(), done.clone()], false, &[(DropCause::Unreachable, 1)]);
        // Stopped before the first.
        check(5, std::slice::from_ref(&done), true, &[]);
        check(
            5,
            &[done.clone(), lost, done, later()],
            true,
            &[(DropCause::Refused, 1), (DropCause::Stopped, 2)],
        );
    }

    #[test]
    fn what_comes_after_the_end_is_counted() {
        let meter = SinkMeter::new();
        let (sender, receiver) = alert_queue(10, meter.clone());
        drop(receiver);
        sender.offer(alert());
        assert_eq!(meter.read().dropped_by(DropCause::Stopped), 1);
    }
}
