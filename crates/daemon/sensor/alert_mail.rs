//! Alerts on their way from the scoring stage to the sinks, in the forms that those need.
//!
//! In: what happened to an alert. Out: an [`AlertMail`] in a queue that is bounded and not waited for while the sensor runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use tapline_control::{IncidentBy, IncidentView};
use tapline_export::{AlertMessage, DropCause, Severity, SinkMeter, time_text};
use tapline_record::{FlowHead, Timestamp};
use tapline_score::Event;
use tapline_score::incident::By;

use crate::alerts::{AlertPost, Told, address};

/// Alerts that may wait for the sinks.
pub(crate) const QUEUED: usize = 4_096;

/// What happened to an alert.
pub(crate) struct AlertMail {
    pub(crate) event: &'static str,
    /// A line of JSON, ended.
    pub(crate) line: Vec<u8>,
    pub(crate) message: Arc<AlertMessage>,
    pub(crate) view: IncidentView,
    /// A flow of it.
    pub(crate) example: FlowHead,
    pub(crate) score: f64,
    pub(crate) probability: f64,
    pub(crate) p_value: f64,
    pub(crate) reasons: Vec<String>,
    pub(crate) model: String,
}

/// Where the scoring stage posts alerts.
pub(crate) struct PostBox {
    queue: SyncSender<AlertMail>,
    meter: SinkMeter,
    stopping: Arc<AtomicBool>,
}

impl PostBox {
    /// Alerts that find no room are counted by `meter`; once `stopping` is set they are waited with, for all end at once then.
    pub(crate) const fn new(
        queue: SyncSender<AlertMail>,
        meter: SinkMeter,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self { queue, meter, stopping }
    }
}

impl AlertPost for PostBox {
    fn post(&mut self, told: &Told<'_>) {
        let mail = AlertMail::from(told);
        let sent = if self.stopping.load(Ordering::Relaxed) {
            self.queue.send(mail).is_ok()
        } else {
            self.queue.try_send(mail).is_ok()
        };
        if !sent {
            self.meter.add_dropped(DropCause::QueueFull, 1);
        }
    }
}

impl From<&Told<'_>> for AlertMail {
    fn from(told: &Told<'_>) -> Self {
        let incident = told.incident;
        let reasons: Vec<String> = incident
            .explanation
            .iter()
            .flat_map(|why| &why.reasons)
            .map(|reason| reason.text.clone())
            .collect();
        let (by, host) = match incident.by {
            By::Source(source) => (IncidentBy::Source, address(source).to_string()),
            By::Target(target, port) => (IncidentBy::Target, format!("{} port {port}", address(target))),
        };
        let others = incident.others.count().min(incident.flows);
        let several = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let whose = match by {
            IncidentBy::Source => {
                format!("from {host} to {}", several(others, "target"))
            }
            IncidentBy::Target => {
                format!("by {} at {host}", several(others, "source"))
            }
        };
        let why = reasons.first().map(|reason| format!("; {reason}")).unwrap_or_default();
        let technique = told.attack_id.map(|id| format!(" ({id})")).unwrap_or_default();
        let event = told.event.name();
        let view = IncidentView {
            number: told.number,
            class: told.class.to_owned(),
            attack_id: told.attack_id.map(str::to_owned),
            by,
            host: host.clone(),
            flows: incident.flows,
            first_us: incident.start_us,
            last_us: incident.end_us,
            evidence: incident.evidence,
            alert: true,
            reason: reasons.first().cloned().unwrap_or_default(),
        };
        let mut params = vec![
            ("alert", told.number.to_string()),
            ("event", event.to_owned()),
            ("class", told.class.to_owned()),
            (if by == IncidentBy::Source { "source" } else { "target" }, host),
            ("flows", incident.flows.to_string()),
            ("evidence", format!("{:.1}", incident.evidence)),
            ("probability", format!("{:.4}", incident.probability)),
            ("first", time_text(Timestamp::from_micros(incident.start_us))),
            ("model", told.model.to_owned()),
        ];
        params.extend(told.attack_id.map(|id| ("technique", id.to_owned())));
        let message = AlertMessage {
            time: Timestamp::from_micros(told.now_us),
            name: format!("alert_{event}"),
            severity: match told.event {
                Event::Ended => Severity::Notice,
                _ => Severity::Warning,
            },
            params,
            text: format!(
                "{}{technique} {whose}: {}, evidence {:.1}{why}",
                told.class,
                several(incident.flows, "flow"),
                incident.evidence
            ),
            json: String::from_utf8_lossy(told.line.trim_ascii_end()).into_owned(),
        };
        Self {
            event,
            line: told.line.to_vec(),
            message: Arc::new(message),
            view,
            example: incident.raised_by.unwrap_or(incident.best),
            score: f64::from(incident.score),
            probability: f64::from(incident.probability),
            p_value: incident.p_value,
            reasons,
            model: told.model.to_owned(),
        }
    }
}
