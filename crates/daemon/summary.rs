//! The summary on standard error: what a person wants to know when the command returns.

use std::fmt::Write;

use crate::accounting::Stats;
use crate::alerts::AlertSummary;
use crate::talkers::Talkers;

/// Notices that are printed; more would push the figures off the screen.
const NOTICES_MAX: usize = 5;

/// The summary as text, lines ended.
pub(crate) fn text(stats: &Stats, talkers: &Talkers, alerts: Option<&AlertSummary>) -> String {
    let packets = &stats.packets;
    let flows = &stats.flows;
    let mut out = String::new();
    let wall_s = stats.wall_s.max(1e-6);
    let _ = writeln!(
        out,
        "packets  {} seen, {} processed, {} filtered, {} undecodable, {} unaccounted",
        packets.seen, packets.processed, packets.filtered, packets.undecodable, packets.unaccounted
    );
    if let Some(count) = packets.filtered_by_reason.get("duplicate") {
        let _ = writeln!(out, "         filtered: duplicate {count}");
    }
    for (reason, count) in &packets.undecodable_by_reason {
        let _ = writeln!(out, "         undecodable: {reason} {count}");
    }
    for (reason, count) in &packets.non_flow_by_reason {
        let _ = writeln!(out, "         in no flow: {reason} {count}");
    }
    let _ = write!(out, "flows    {} emitted", flows.emitted);
    for (index, (reason, count)) in flows.by_end_reason.iter().enumerate() {
        let _ = write!(out, "{}{reason} {count}", if index == 0 { ": " } else { ", " });
    }
    out.push('\n');
    if let (Some(first), Some(last)) = (stats.input.first_packet_us, stats.input.last_packet_us) {
        let _ = writeln!(
            out,
            "time     {:.3} s of traffic in {wall_s:.3} s, {:.0} packets/s, {:.1} MB/s",
            (last - first) as f64 / 1e6,
            packets.seen as f64 / wall_s,
            stats.input.bytes as f64 / 1e6 / wall_s
        );
    }
    for (index, talk) in talkers.top(5).iter().enumerate() {
        let label = if index == 0 { "talkers" } else { "" };
        let _ =
            writeln!(out, "{label:<8} {} {} packets in {} flows", talk.address(), talk.packets, talk.flows);
    }
    if let Some(labels) = &stats.labels {
        out.push_str(&labels.text(true));
    }
    if let Some(scoring) = &stats.scoring {
        out.push_str(&scoring.text());
    }
    if let Some(alerts) = alerts {
        out.push_str(&alerts.text());
    }
    if stats.input.clock_set_back > 0 {
        let times = stats.input.clock_set_back;
        let _ = writeln!(out, "notice   the capture's clock fell back by more than an hour, {times} times");
    }
    for notice in stats.input.notices.iter().take(NOTICES_MAX) {
        let _ = writeln!(out, "notice   {notice}");
    }
    if let Some(more) = stats.input.notices.len().checked_sub(NOTICES_MAX).filter(|more| *more > 0) {
        let _ = writeln!(out, "         and {more} more notices, all of them in --stats");
    }
    out
}
