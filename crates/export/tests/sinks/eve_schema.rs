//! Every line of EVE JSON is valid under Suricata's schema, where that is at hand.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde_json::Value;
use tapline_export::{Eve, EveAlert, EveFlow, EveStats, EveTraffic, EveVerdict};
use tapline_record::{EndReason, Endpoint, FlowHead, FlowKey, Timestamp, TunnelKind};

/// As much of JSON Schema as Suricata's needs. A keyword that is not known here fails the test.
struct Schema(Value);

impl Schema {
    fn check(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        let rules = schema.as_object().ok_or("a schema is an object")?;
        for (keyword, rule) in rules {
            let fine = match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "description" | "desription" | "title" | "$comment"
                | "suricata" => true,
                "type" => match rule {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
                    kind => is_of(kind, value),
                },
                "enum" => rule.as_array().unwrap().contains(value),
                "const" => rule == value,
                "required" => {
                    rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
                }
                "minItems" => {
                    value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap())
                }
                "minProperties" => {
                    value.as_object().is_none_or(|members| members.len() as u64 >= rule.as_u64().unwrap())
                }
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
                "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
                "oneOf" => {
                    rule.as_array().unwrap().iter().filter(|one| self.check(one, value, path).is_ok()).count()
                        == 1
                }
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.check(&self.0["$defs"][name], value, path)?;
                    true
                }
                "items" => {
                    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{path}[{at}]"))?;
                    }
                    true
                }
                "properties" => {
                    for (key, member) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = rule.get(key) {
                            self.check(schema, member, &format!("{path}.{key}"))?;
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = rules.get("properties");
                    let others = value
                        .as_object()
                        .into_iter()
                        .flat_map(|members| members.keys())
                        .filter(|key| known.is_none_or(|known| known.get(key).is_none()));
                    rule.as_bool().unwrap() || others.count() == 0
                }
                other => return Err(format!("keyword {other} is not known to this test")),
            };
            if !fine {
                return Err(format!("{path}: {value} against {keyword} {rule}"));
            }
        }
        Ok(())
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("type {other} is not known to this test"),
    }
}

/// The one pattern that our events meet: date, time, fraction, offset without a colon.
fn matches(pattern: &str, text: &str) -> bool {
    assert_eq!(pattern, r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d+[+\-]\d+$");
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((second, rest)) = text.split_once('.') else { return false };
    let Some((fraction, offset)) = rest.split_once(['+', '-']) else { return false };
    let shape: String = second.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00" && digits(fraction) && digits(offset)
}

fn schema() -> Option<Schema> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/suricata-eve-schema.json");
    let path = std::env::var_os("TAPLINE_EVE_SCHEMA").map_or(path, PathBuf::from);
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: no {} (or TAPLINE_EVE_SCHEMA)", path.display());
        return None;
    };
    Some(Schema(serde_json::from_str(&text).unwrap()))
}

fn any_head(dice: &mut fastrand::Rng) -> FlowHead {
    let ip_version = if dice.bool() { 4 } else { 6 };
    let mut endpoint = || {
        let ip: IpAddr = if ip_version == 4 {
            Ipv4Addr::from_bits(dice.u32(..)).into()
        } else {
            Ipv6Addr::from_bits(dice.u128(..)).into()
        };
        let addr = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Endpoint { addr, port: dice.u16(..) }
    };
    let (lo, hi) = (endpoint(), endpoint());
    let start = if dice.u8(..) == 0 { dice.i64(..) } else { dice.i64(0..2_000_000_000_000_000) };
    let lo_first = dice.bool();
    FlowHead {
        key: FlowKey {
            lo,
            hi,
            vlan: dice.choice([[0, 0], [5, 0], [5, 6]]).unwrap(),
            tunnel_id: 0,
            tunnel_kind: TunnelKind::None,
            protocol: dice.choice([1, 2, 6, 17, 47, 58, 132, 255]).unwrap(),
            ip_version,
        },
        start: Timestamp::from_micros(start),
        last: Timestamp::from_micros(start.saturating_add(dice.i64(0..4_000_000_000))),
        first_ordinal: 0,
        packets: dice.u32(1..),
        initiator_is_lo: lo_first,
        id_is_lo: lo_first,
        end_reason: dice.choice(EndReason::ALL).unwrap(),
    }
}

fn any_line(dice: &mut fastrand::Rng) -> Vec<u8> {
    let head = any_head(dice);
    let reasons = ["61 distinct destinations", "a \"quoted\"\nreason \u{7}é"];
    let verdict = EveVerdict {
        class: dice.choice(["benign", "scan", "web-attack"]).unwrap(),
        score: dice.choice([0.0, -3.25, 1e300, f64::INFINITY, f64::NAN]).unwrap(),
        probability: dice.f64(),
        p_value: dice.f64() / 1e9,
        reasons: &reasons[..dice.usize(0..=2)],
        model: "first 0a1b2c",
    };
    let traffic = EveTraffic {
        packets: [dice.u64(..), dice.u64(0..2)],
        ip_bytes: [dice.u64(..), dice.u64(0..2_000)],
        tcp_flags: [dice.u8(..), dice.u8(..)],
        icmp: matches!(head.key.protocol, 1 | 58).then(|| (dice.u8(..), dice.u8(..))),
    };
    let flow = EveFlow {
        head: &head,
        community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        traffic: dice.bool().then_some(traffic),
        verdict: dice.bool().then_some(verdict),
        alerted: dice.bool(),
    };
    let eve = Eve {
        host: dice.bool().then(|| "gate".to_owned()),
        in_iface: dice.bool().then(|| "eth0".to_owned()),
    };
    let mut line = Vec::new();
    match dice.u8(0..3) {
        0 => eve.push_flow(&mut line, head.last, &flow),
        1 => {
            let attack_id = dice.bool().then_some("T1046");
            let (flows, evidence) = (dice.u64(..), dice.f64() * 1e4);
            let alert = EveAlert {
                alert: 3,
                event: "raised",
                flow,
                attack_id,
                severity: dice.u8(1..4),
                flows,
                evidence,
            };
            eve.push_alert(&mut line, head.last, &alert);
        }
        _ => {
            let mut some = || dice.bool().then(|| dice.u64(..));
            let stats = EveStats {
                uptime_s: 7,
                kernel_packets: some(),
                kernel_drops: some(),
                interface_drops: some(),
                capture_errors: some(),
                decoded_packets: some(),
                decoded_bytes: some(),
                undecodable_packets: some(),
                ipv4_packets: some(),
                ipv6_packets: some(),
                tcp_packets: some(),
                udp_packets: some(),
                flows: some(),
                live_flows: some(),
                flow_memory_bytes: some(),
                emergencies_entered: some(),
                emergencies_over: some(),
                alerts: some(),
            };
            eve.push_stats(&mut line, head.last, &stats);
        }
    }
    line
}

#[test]
fn every_line_is_valid() {
    let Some(schema) = schema() else { return };
    let mut dice = fastrand::Rng::with_seed(3);
    let dump = std::env::var_os("TAPLINE_EVE_DUMP");
    let mut all = Vec::new();
    for _ in 0..3_000 {
        let line = any_line(&mut dice);
        assert!(!line.contains(&b'\n'));
        let value: Value = serde_json::from_slice(&line).unwrap();
        if let Err(error) = schema.check(&schema.0, &value, "") {
            panic!("{error}\n{value}");
        }
        all.extend_from_slice(&line);
        all.push(b'\n');
    }
    if let Some(path) = dump {
        fs::write(path, all).unwrap();
    }
}

#[test]
fn the_check_finds_what_is_wrong() {
    let Some(schema) = schema() else { return };
    let good = r#"{"timestamp":"2026-11-23T09:38:36.123456+0000","event_type":"flow"}"#;
    let check = |line: &str| schema.check(&schema.0, &serde_json::from_str(line).unwrap(), "");
    assert_eq!(check(good), Ok(()));
    for (from, to) in [
        ("+0000", "Z"),
        ("+0000", "+00:00"),
        (r#""event_type":"flow""#, r#""event_type":7"#),
        (r#""event_type":"flow""#, r#""flow_id":7"#),
        ("}", r#","ml":{}}"#),
        ("}", r#","flow":{"age":1.5}}"#),
        ("}", r#","metadata":{"flowvars":[]}}"#),
        ("}", r#","vlan":["7"]}"#),
    ] {
        let bad = good.replace(from, to);
        assert!(check(&bad).is_err(), "{bad}");
    }
}
