//! [`draw`]: a [`View`] as a picture.
//!
//! Losses are red, or bold without colours, and have a `!` before them, which plain text keeps. What does not fit is left out
//! from below.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::amount::{ago, bits, bytes, count, duration, rate, share};
use super::pace::Pace;
use super::part::{Item, Paint, Part, plain, right, stack, styled};
use super::view::{Pane, View};
use crate::snapshot::{Counts, IncidentBy, InterfaceView, NicView, SinkView, Snapshot, State, WorkerView};

/// Rows of a table in the overview.
const OVERVIEW_ROWS: usize = 8;

const HELP: &str = "\
q            quit
p, space     pause, go on
tab, 1 - 4   overview, loss, sinks, incidents
up, down     scroll the incidents; page up, page down, home, end
?            this help

Rates are those of the last second. What is marked with ! was lost.
adapter: lost before the sensor could see it, so not among what was seen
kernel:  the ring of an interface was full (buffer, readers)
ring:    a worker could not follow (workers)
shed:    given up to keep going";

/// Draws a view.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let paint = Paint { color: view.color };
    let [head, body] = Layout::vertical([Constraint::Length(4), Constraint::Min(0)]).areas(frame.area());
    let Some(latest) = view.latest() else {
        frame.render_widget(Paragraph::new(waiting(view, paint)).wrap(Wrap { trim: true }), frame.area());
        return;
    };
    let picture = Picture { view, latest, pace: view.pace(), paint };
    frame.render_widget(Paragraph::new(picture.head()), head);
    let parts = match view.pane {
        Pane::Overview => picture.overview(),
        Pane::Loss => picture.loss(),
        Pane::Sinks => picture.sinks_pane(),
        Pane::Incidents => vec![picture.incidents(true)],
    };
    stack(frame, body, parts, paint);
    if view.help {
        help(frame);
    }
}

struct Picture<'a> {
    view: &'a View,
    latest: &'a Snapshot,
    pace: Option<Pace<'a>>,
    paint: Paint,
}

impl Picture<'_> {
    /// A rate, once there is one.
    fn paced(&self, text: impl FnOnce(Pace<'_>) -> String) -> String {
        self.pace.map_or_else(|| "-".to_owned(), text)
    }

    fn head(&self) -> Vec<Line<'static>> {
        let (paint, latest) = (self.paint, self.latest);
        let sensor = &latest.sensor;
        let state = match sensor.state {
            State::Running => paint.good(),
            State::Starting | State::Shedding | State::Stopping => paint.fair(),
            State::Emergency => paint.bad(),
        };
        let model = sensor
            .model
            .as_ref()
            .map_or_else(|| "no model".to_owned(), |model| format!("model {}", model.id));
        let mut first = vec![
            Span::styled(sensor.name.clone(), paint.bold()),
            Span::raw(format!("  tapline {}  pid {}  up ", sensor.version, sensor.pid)),
            Span::raw(duration(sensor.now_us.saturating_sub(sensor.started_us))),
            Span::raw("  "),
            Span::styled(sensor.state.name(), state),
            Span::raw(format!("  {model}")),
        ];
        if self.view.paused {
            first.push(Span::styled("  paused", paint.fair()));
        }
        let mut lines = vec![Line::from(first)];
        lines.push(match &self.view.waiting {
            Some(why) => {
                Line::styled(format!("waiting for {}: {why}", self.view.socket.display()), paint.bad())
            }
            None => Line::from(self.rates()),
        });
        lines.push(Line::from(self.lost()));
        let mut tabs = Vec::new();
        for (pane, key) in Pane::ALL.into_iter().zip(1..) {
            let chosen = pane == self.view.pane;
            let name =
                if chosen { format!("[{key} {}]", pane.name()) } else { format!(" {key} {} ", pane.name()) };
            tabs.push(Span::styled(name, if chosen { paint.bold() } else { paint.faint() }));
        }
        tabs.push(Span::styled("   ? help   q quit", paint.faint()));
        lines.push(Line::from(tabs));
        lines
    }

    fn rates(&self) -> String {
        let latest = self.latest;
        let alerts = |s: &Snapshot| s.scoring.as_ref().map_or(0, |scoring| scoring.alerts);
        let per_s = |read: fn(&Snapshot) -> u64| self.paced(|pace| rate(pace.per_s(read)));
        let bits = self.paced(|pace| bits(pace.per_s(|s| bytes_seen(s).saturating_mul(8))));
        let cpu = |pace: Pace<'_>| pace.real_per_s(|s| s.cpu_seconds.values().sum::<f64>()) * 100.0;
        format!(
            "{} packets/s  {bits}  {} flows/s  {} alerts  {} of {} flows live  {} of {}  CPU {} %",
            per_s(|s| s.packets.seen),
            per_s(|s| s.flows.opened),
            count(alerts(latest)),
            count(latest.flows.live),
            count(latest.flows.live_max),
            bytes(latest.memory.resident_bytes),
            bytes(latest.memory.budget_bytes),
            self.paced(|pace| format!("{:.0}", cpu(pace))),
        )
    }

    fn lost(&self) -> Vec<Span<'static>> {
        let packets = &self.latest.packets;
        let rows =
            self.latest.sinks.iter().map(|sink| total(&sink.dropped_rows)).fold(0, u64::saturating_add);
        let stages = [
            ("kernel", packets.kernel_dropped),
            ("ring", packets.ring_dropped),
            ("shed", packets.shed),
            ("unaccounted", u64::try_from(packets.missing().total()).unwrap_or(u64::MAX)),
            ("adapter", adapter_lost(self.latest)),
            ("rows", rows),
        ];
        let mut spans = vec![Span::raw(format!("lost {}:", share(packets.lost(), packets.seen)))];
        for (stage, lost) in stages {
            spans.push(Span::raw(format!("  {stage} ")));
            let item = self.lost_item(lost);
            spans.push(Span::styled(item.text, item.style));
        }
        spans
    }

    fn overview(&self) -> Vec<Part> {
        let mut parts = vec![self.interfaces(), self.workers(), self.sinks(), self.talkers()];
        for part in &mut parts[..3] {
            part.rows.truncate(OVERVIEW_ROWS);
        }
        parts.push(self.incidents(false));
        parts
    }

    fn interfaces(&self) -> Part {
        let rows = self.latest.interfaces.iter().map(|interface| {
            let of = |s: &Snapshot, read: fn(&InterfaceView) -> u64| {
                s.interfaces.iter().find(|other| other.name == interface.name).map_or(0, read)
            };
            let per_s = |read: fn(&InterfaceView) -> u64, times: u64| {
                right(self.paced(|pace| rate(pace.per_s(|s| of(s, read).saturating_mul(times)))))
            };
            let state = if interface.up { plain("up") } else { styled("! down", self.paint.bad()) };
            let nic = interface.nic.as_ref();
            vec![
                plain(&interface.name),
                state,
                right(interface.readers.to_string()),
                per_s(|interface| interface.seen_pkts, 1),
                per_s(|interface| interface.seen_bytes, 8),
                right(count(interface.seen_pkts)),
                self.lost_item(interface.kernel_dropped_pkts),
                nic.map_or_else(|| right("-".into()), |nic| self.lost_item(nic_lost(nic))),
                right(count(interface.reopened)),
                plain(interface.trouble.as_deref().unwrap_or_default()),
            ]
        });
        Part {
            title: "interfaces",
            heads: vec![
                "name",
                "state",
                "readers",
                "packets/s",
                "bit/s",
                "packets",
                "kernel",
                "adapter",
                "reopened",
                "trouble",
            ],
            rows: rows.collect(),
            notes: Vec::new(),
        }
    }

    fn workers(&self) -> Part {
        let row = |worker: &WorkerView| {
            let fill = format!("{:.0} %", worker.ring_fill_percent);
            let full = worker.ring_fill_percent > 90.0;
            let moved = worker.since_moved_us / 1_000;
            let stalled = worker.since_moved_us > crate::health::STALLED_AFTER_US;
            vec![
                plain(&worker.index.to_string()),
                right(count(worker.live_flows)),
                if full { styled(&format!("! {fill}"), self.paint.bad()).at_right() } else { right(fill) },
                if stalled {
                    styled(&format!("! {} ms", count(moved)), self.paint.bad()).at_right()
                } else {
                    right(format!("{} ms", count(moved)))
                },
                if worker.emergency { styled("! emergency", self.paint.bad()) } else { plain("") },
            ]
        };
        Part {
            title: "workers",
            heads: vec!["worker", "live flows", "ring", "moved ago", ""],
            rows: self.latest.workers.iter().map(row).collect(),
            notes: Vec::new(),
        }
    }

    fn sinks(&self) -> Part {
        let rows = self.latest.sinks.iter().map(|sink| {
            let of = |s: &Snapshot, read: fn(&SinkView) -> u64| {
                s.sinks.iter().find(|other| other.name == sink.name).map_or(0, read)
            };
            let per_s =
                |read: fn(&SinkView) -> u64| self.pace.map_or(0.0, |pace| pace.per_s(|s| of(s, read)));
            vec![
                plain(&sink.name),
                right(rate(per_s(|sink| sink.written_rows))),
                right(count(sink.written_rows)),
                right(bytes(sink.written_bytes)),
                self.lost_item(total(&sink.dropped_rows)),
                right(count(sink.errors)),
                right(count(sink.rotated)),
                plain(sink.last_error.as_deref().unwrap_or_default()),
            ]
        });
        Part {
            title: "sinks",
            heads: vec!["sink", "rows/s", "rows", "bytes", "lost", "errors", "files", "last error"],
            rows: rows.collect(),
            notes: Vec::new(),
        }
    }

    fn talkers(&self) -> Part {
        let rows = self.latest.talkers.iter().map(|talker| {
            vec![
                plain(&talker.address),
                right(count(talker.pkts)),
                right(bytes(talker.bytes)),
                right(count(talker.flows)),
            ]
        });
        Part {
            title: "talkers",
            heads: vec!["initiator", "packets", "bytes", "flows"],
            rows: rows.collect(),
            notes: Vec::new(),
        }
    }

    /// With the reasons as a column, or each in a line of its own.
    fn incidents(&self, reasons_below: bool) -> Part {
        let now_us = self.latest.sensor.now_us;
        let from = self.view.scroll.min(self.latest.incidents.len().saturating_sub(1));
        let shown = &self.latest.incidents[from..];
        let rows = shown.iter().map(|incident| {
            let class = match &incident.attack_id {
                Some(id) => format!("{} {id}", incident.class),
                None => incident.class.clone(),
            };
            let host = match incident.by {
                IncidentBy::Source => format!("from {}", incident.host),
                IncidentBy::Target => format!("to {}", incident.host),
            };
            let mut row = vec![
                right(incident.number.to_string()),
                if incident.alert { styled("alert", self.paint.bad()) } else { plain("") },
                plain(&class),
                plain(&host),
                right(count(incident.flows)),
                right(format!("{:.1}", incident.evidence)),
                right(ago(now_us.saturating_sub(incident.last_us))),
            ];
            if !reasons_below {
                row.push(plain(&incident.reason));
            }
            row
        });
        let rows = rows.collect();
        let mut heads = vec!["number", "", "class", "host", "flows", "evidence", "last"];
        let mut notes = Vec::new();
        if reasons_below {
            notes.extend(shown.iter().map(|incident| incident.reason.clone()));
        } else {
            heads.push("reason");
        }
        Part { title: "incidents", heads, rows, notes }
    }

    /// Every stage at which packets leave, and what is left at the end.
    fn loss(&self) -> Vec<Part> {
        let packets = &self.latest.packets;
        let mut rows = Vec::new();
        let mut add =
            |stage: &str, cause: &str, lost: bool, read: &dyn Fn(&Snapshot) -> u64, of_seen: bool| {
                let number = read(self.latest);
                let per_s = self.paced(|pace| rate(pace.per_s(read)));
                rows.push(vec![
                    plain(stage),
                    plain(cause),
                    if lost { self.lost_item(number) } else { right(count(number)) },
                    right(per_s),
                    right(if of_seen { share(number, packets.seen) } else { "-".into() }),
                ]);
            };
        let nic = |s: &Snapshot, read: fn(&NicView) -> u64| -> u64 {
            s.interfaces
                .iter()
                .filter_map(|interface| interface.nic.as_ref())
                .map(read)
                .fold(0, u64::saturating_add)
        };
        add("adapter", "not taken in time", true, &|s| nic(s, |nic| nic.rx_missed), false);
        add("adapter", "dropped", true, &|s| nic(s, |nic| nic.rx_dropped), false);
        add("adapter", "damaged", true, &|s| nic(s, |nic| nic.rx_errors), false);
        add("seen", "", false, &|s| s.packets.seen, true);
        add("kernel", "ring full", true, &|s| s.packets.kernel_dropped, true);
        add("ring", "worker too slow", true, &|s| s.packets.ring_dropped, true);
        add("shed", "given up", true, &|s| s.packets.shed, true);
        for reason in packets.filtered.keys() {
            add("filtered", reason, false, &|s| at(&s.packets.filtered, reason), true);
        }
        for reason in packets.undecodable.keys() {
            add("undecodable", reason, false, &|s| at(&s.packets.undecodable, reason), true);
        }
        add("on the way", "", false, &|s| s.packets.in_flight, true);
        add("processed", "", false, &|s| s.packets.processed, true);
        for reason in packets.non_flow.keys() {
            add("no flow", reason, false, &|s| at(&s.packets.non_flow, reason), true);
        }
        add("live flows", "", false, &|s| s.packets.in_live_flows, true);
        add("ended flows", "", false, &|s| s.packets.in_ended_flows, true);
        add("emitted flows", "", false, &|s| s.packets.in_emitted_flows, true);
        let missing = |s: &Snapshot| u64::try_from(s.packets.missing().total()).unwrap_or(u64::MAX);
        add("unaccounted", "", true, &missing, true);
        let packets = Part {
            title: "packets",
            heads: vec!["stage", "cause", "packets", "packets/s", "of seen"],
            rows,
            notes: Vec::new(),
        };
        vec![packets, self.workers(), self.threads()]
    }

    fn threads(&self) -> Part {
        let rows = self.latest.cpu_seconds.iter().map(|(name, seconds)| {
            let of = |s: &Snapshot| s.cpu_seconds.get(name).copied().unwrap_or_default();
            let percent = self.paced(|pace| format!("{:.0} %", pace.real_per_s(of) * 100.0));
            vec![plain(name), right(format!("{seconds:.1} s")), right(percent)]
        });
        Part {
            title: "threads",
            heads: vec!["thread", "CPU time", "CPU"],
            rows: rows.collect(),
            notes: Vec::new(),
        }
    }

    fn sinks_pane(&self) -> Vec<Part> {
        let causes = self.latest.sinks.iter().flat_map(|sink| {
            let named = sink.dropped_rows.iter().filter(|(_, rows)| **rows > 0);
            named.map(|(cause, rows)| vec![plain(&sink.name), plain(cause), self.lost_item(*rows)])
        });
        let causes = Part {
            title: "lost rows",
            heads: vec!["sink", "cause", "rows"],
            rows: causes.collect(),
            notes: Vec::new(),
        };
        let mut parts = vec![self.sinks(), causes];
        if let Some(scoring) = &self.latest.scoring {
            let verdicts = scoring.verdicts.iter().map(|(class, flows)| {
                let of = |s: &Snapshot| s.scoring.as_ref().map_or(0, |scoring| at(&scoring.verdicts, class));
                let per_s = self.paced(|pace| rate(pace.per_s(of)));
                let all = scoring.scored_flows;
                vec![plain(class), right(count(*flows)), right(per_s), right(share(*flows, all))]
            });
            parts.push(Part {
                title: "verdicts",
                heads: vec!["class", "flows", "flows/s", "share"],
                rows: verdicts.collect(),
                notes: Vec::new(),
            });
        }
        parts.push(self.state());
        parts
    }

    fn state(&self) -> Part {
        let latest = self.latest;
        let since = |us: i64| ago(latest.sensor.now_us.saturating_sub(us));
        let mut rows = Vec::new();
        let mut say =
            |what: &str, text: String, style: Style| rows.push(vec![plain(what), styled(&text, style)]);
        let none = Style::new();
        if let (Some(model), Some(scoring)) = (&latest.sensor.model, &latest.scoring) {
            let shed = count(scoring.shed_flows);
            let (held, windows) = (count(scoring.held_flows), count(scoring.windows));
            let style = if scoring.shedding { self.paint.fair() } else { none };
            say("model", format!("{}, loaded {}", model.id, since(model.loaded_us)), none);
            say("scoring", format!("{shed} flows without a verdict, {held} held, {windows} windows"), style);
            say(
                "drift",
                format!("{} inputs are spread otherwise than in training", scoring.drift_shifted_inputs),
                none,
            );
        }
        let emergencies = &latest.emergencies;
        match emergencies.since_us {
            Some(us) => say("emergency", format!("! began {}", since(us)), self.paint.bad()),
            None => say("emergency", format!("none, {} before", count(emergencies.entered)), none),
        }
        let config = &latest.config;
        let counts = format!("{} reloads, {} refused", count(config.reloads), count(config.refused));
        say("configuration", format!("loaded {}, {counts}", since(config.loaded_us)), none);
        if let Some(error) = &config.last_error {
            say("", format!("! refused: {error}"), self.paint.bad());
        }
        let refused = count(total(&latest.control.refused));
        let (requests, open) = (count(latest.control.requests), count(latest.control.connections));
        say("control", format!("{requests} requests, {refused} refused, connections open: {open}"), none);
        Part { title: "state", heads: Vec::new(), rows, notes: Vec::new() }
    }

    /// A number that should be 0.
    fn lost_item(&self, lost: u64) -> Item {
        if lost == 0 {
            right("0".into())
        } else {
            styled(&format!("! {}", count(lost)), self.paint.bad()).at_right()
        }
    }
}

fn waiting(view: &View, paint: Paint) -> Vec<Line<'static>> {
    let socket = view.socket.display();
    match &view.waiting {
        Some(why) => vec![
            Line::styled(format!("waiting for {socket}"), paint.bold()),
            Line::raw(why.to_string()),
            Line::styled("q quit", paint.faint()),
        ],
        None => vec![Line::raw(format!("asking {socket}"))],
    }
}

fn help(frame: &mut Frame<'_>) {
    let lines = u16::try_from(HELP.lines().count() + 2).unwrap_or(u16::MAX);
    let columns = u16::try_from(HELP.lines().map(str::len).max().unwrap_or_default() + 4).unwrap_or(u16::MAX);
    let area = frame.area();
    let (height, width) = (lines.min(area.height), columns.min(area.width));
    let area = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title("help")), area);
}

fn at(counts: &Counts, name: &str) -> u64 {
    counts.get(name).copied().unwrap_or_default()
}

fn total(counts: &Counts) -> u64 {
    counts.values().copied().fold(0, u64::saturating_add)
}

fn bytes_seen(snapshot: &Snapshot) -> u64 {
    snapshot.interfaces.iter().map(|interface| interface.seen_bytes).fold(0, u64::saturating_add)
}

fn adapter_lost(snapshot: &Snapshot) -> u64 {
    let nics = snapshot.interfaces.iter().filter_map(|interface| interface.nic.as_ref());
    nics.map(nic_lost).fold(0, u64::saturating_add)
}

fn nic_lost(nic: &NicView) -> u64 {
    nic.rx_missed.saturating_add(nic.rx_dropped).saturating_add(nic.rx_errors)
}
