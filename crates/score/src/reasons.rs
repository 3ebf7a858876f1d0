//! What an input says, in a sentence for people.
//!
//! In: an input's name, unit and definition, as the table of inputs has them, its value in a flow and its median. Out: "61
//! distinct destinations of the source, over 60 s (usually 2)". The sentence is made from the definition, so that a new
//! input needs no words of its own; what a definition refers to ("these flows") is named by the prefix of the name.

/// The sentence for an input with this value; `usual` is its median over training rows.
#[must_use]
pub fn sentence(name: &str, unit: &str, definition: &str, value: f32, usual: f32) -> String {
    let definition = in_full(name, definition);
    if let Some(what) = definition.strip_prefix("1 if ") {
        return format!("{}{what}", if value >= 0.5 { "" } else { "not: " });
    }
    let kind = Kind::of(name, unit, &definition);
    let (told, usually) = (kind.text(value), kind.text(usual));
    let what = match kind {
        Kind::Count(noun) => counted(&definition, noun),
        Kind::Share => definition.strip_prefix("Share of ").map(|of| format!("of {of}")),
        _ => None,
    };
    let text = match what {
        Some(what) => format!("{told} {what}"),
        None => format!("{}: {told}", lower_first(&definition)),
    };
    if told == usually { text } else { format!("{text} (usually {usually})") }
}

/// How the values of an input are told.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// `ln(1 + count)` of such things.
    Count(&'a str),
    /// `ln(1 + bytes)`, signed by direction.
    Bytes,
    BytesPerSecond,
    /// `ln(1 + x)` of a time, `scale` to the second.
    Seconds {
        per_second: f64,
    },
    Share,
    /// `ln` of a quotient.
    Ratio,
    Distance,
    Plain,
}

impl<'a> Kind<'a> {
    fn of(name: &str, unit: &'a str, definition: &str) -> Self {
        let inner = unit.strip_prefix("ln(1+").and_then(|rest| rest.strip_suffix(')'));
        match (inner, unit) {
            (Some("bytes"), _) => Self::Bytes,
            (Some("bytes/s"), _) => Self::BytesPerSecond,
            (Some("ms"), _) => Self::Seconds { per_second: 1e3 },
            (Some("s"), _) => Self::Seconds { per_second: 1.0 },
            (Some(noun), _) => Self::Count(noun),
            (None, "ln") if definition.contains(" over ") && !definition.starts_with("Interaction") => {
                Self::Ratio
            }
            (None, "") if definition.starts_with("Share of ") || name.ends_with("_share") => Self::Share,
            (None, "") if definition.contains("distance from") => Self::Distance,
            _ => Self::Plain,
        }
    }

    fn text(self, value: f32) -> String {
        let value = f64::from(value);
        let unlog = value.abs().exp_m1();
        match self {
            Self::Count("packets/s") => format!("{}/s", number(unlog)),
            // Counts that fade, and estimates, are not whole.
            Self::Count(_) => format!("{unlog:.0}"),
            Self::Bytes => format!("{}{}", if value < 0.0 { "-" } else { "" }, bytes(unlog)),
            Self::BytesPerSecond => format!("{}/s", bytes(unlog)),
            Self::Seconds { per_second } => seconds(unlog / per_second),
            Self::Share => format!("{} %", number(100.0 * value)),
            Self::Ratio => format!("{} times", number(value.exp())),
            Self::Distance => format!("{value:+.1}"),
            Self::Plain => number(value),
        }
    }
}

/// The definition of something counted, such that a number can stand before it; `None` if it needs a colon.
fn counted(definition: &str, noun: &str) -> Option<String> {
    let first = definition.split(' ').next().unwrap_or_default();
    let stem = noun.split('/').next().unwrap_or_default();
    let fits = first == "Distinct" || first.eq_ignore_ascii_case(stem) || first == "SYNs";
    fits.then(|| lower_first(definition))
}

/// What a definition means by "these flows": the table says it in the rows before.
fn in_full(name: &str, definition: &str) -> String {
    let scope = name.split('_').next().unwrap_or_default();
    let flows = match scope {
        "link" => "the flows of this source to this destination and port",
        "sweep" => "the flows of this source to this port of anybody",
        "service" => "the flows to this destination and port",
        "pair" => "the flows of this source to this destination",
        _ => return definition.to_owned(),
    };
    definition
        .replace("these gaps", &format!("the gaps between the starts of {flows}"))
        .replace("these flows", flows)
        .replace("their flows", flows)
        .replace("Such flows", &format!("Flows among {flows}"))
        .replace("between them", "between this source and this destination")
}

fn lower_first(text: &str) -> String {
    // Names like SYN and IP stay as they are.
    let second_is_upper = text.chars().nth(1).is_some_and(char::is_uppercase);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !second_is_upper => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// Three digits at least, none too many.
fn number(value: f64) -> String {
    let value = if value.abs() < 0.005 { 0.0 } else { value };
    if (value - value.round()).abs() < 0.005 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn bytes(value: f64) -> String {
    match value {
        1e9.. => format!("{:.1} GB", value / 1e9),
        1e6.. => format!("{:.1} MB", value / 1e6),
        1e4.. => format!("{:.0} kB", value / 1e3),
        _ => format!("{value:.0} bytes"),
    }
}

fn seconds(value: f64) -> String {
    match value {
        7_200.0.. => format!("{:.1} h", value / 3_600.0),
        120.0.. => format!("{:.1} min", value / 60.0),
        1.0.. => format!("{value:.1} s"),
        0.001.. => format!("{:.0} ms", value * 1e3),
        _ => format!("{value:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let ln = |value: f32| value.ln_1p();
        let cases = [
            (
                (
                    "src_dsts_60s",
                    "ln(1+hosts)",
                    "Distinct destinations of the source, over 60 s",
                    ln(61.0),
                    ln(2.0),
                ),
                "61 distinct destinations of the source, over 60 s (usually 2)",
            ),
            (
                ("src_flows_60s", "ln(1+flows)", "Flows of the source, over 60 s", ln(412.3), ln(3.0)),
                "412 flows of the source, over 60 s (usually 3)",
            ),
            (
                (
                    "sweep_failed_share_60s",
                    "",
                    "Share of these flows without reply or refused, over 60 s",
                    0.97,
                    0.0,
                ),
                "97 % of the flows of this source to this port of anybody without reply or refused, over 60 s \
                 (usually 0 %)",
            ),
            (
                (
                    "link_gap_mean_600s",
                    "ln(1+s)",
                    "Mean gap between the starts of these flows, over 600 s",
                    ln(59.96),
                    0.0,
                ),
                "mean gap between the starts of the flows of this source to this destination and port, over 600 s: \
                 60.0 s (usually 0 s)",
            ),
            (
                ("fwd_payload", "ln(1+bytes)", "Payload from the initiator", ln(2_500_000.0), ln(517.0)),
                "payload from the initiator: 2.5 MB (usually 517 bytes)",
            ),
            (
                ("duration", "ln(1+ms)", "First packet to last", ln(30_000.0), ln(30_000.0)),
                "first packet to last: 30.0 s",
            ),
            (
                (
                    "payload_ratio",
                    "ln",
                    "Payload from the responder over payload from the initiator, each plus 1",
                    0.5_f32.ln(),
                    3.0_f32.ln(),
                ),
                "payload from the responder over payload from the initiator, each plus 1: 0.50 times (usually 3 times)",
            ),
            (("no_reply", "", "1 if the responder sent nothing", 1.0, 0.0), "the responder sent nothing"),
            (("tcp", "", "1 if TCP", 0.0, 1.0), "not: TCP"),
            (
                ("fwd_syn", "ln(1+packets)", "Packets with SYN from the initiator", ln(6.0), ln(1.0)),
                "6 packets with SYN from the initiator (usually 1)",
            ),
            (
                (
                    "src_syn_retries_10s",
                    "ln(1+packets)",
                    "SYNs that the source sent again, over 10 s",
                    ln(50.0),
                    0.0,
                ),
                "50 SYNs that the source sent again, over 10 s (usually 0)",
            ),
            (
                (
                    "src_bytes_vs_habit",
                    "",
                    "Bytes of the flow: distance from the source's usual, in its usual spread",
                    4.21,
                    0.02,
                ),
                "bytes of the flow: distance from the source's usual, in its usual spread: +4.2 (usually +0.0)",
            ),
            (
                ("iat_spread", "", "Standard deviation of gaps over their mean", 0.0123, 0.4),
                "standard deviation of gaps over their mean: 0.01 (usually 0.40)",
            ),
        ];
        for ((name, unit, definition, value, usual), expected) in cases {
            assert_eq!(sentence(name, unit, definition, value, usual), expected);
        }
    }
}
