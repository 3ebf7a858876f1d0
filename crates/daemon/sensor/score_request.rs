//! Verdicts on what somebody sent to the control server: a capture, or flows by their inputs.
//!
//! In: a [`ScoreBody`], bounded by the server. Out: JSON with one verdict a flow. The model is read for each request, so nothing
//! that the sensor scores by is touched; flows of the request know no others than themselves.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tapline_capture::CaptureReader;
use tapline_control::{ScoreBody, ScoreRefusal};
use tapline_features::community_id::community_id;
use tapline_features::inputs::{self, INPUTS};
use tapline_features::lookahead::PAUSE_US;
use tapline_packet::{DecodeOptions, Decoder};
use tapline_record::FlowHead;
use tapline_score::{Batching, Manifest, Scorer, Verdict, WindowLimits};

use crate::model::Model;
use crate::observed_flows::{Observed, Observer, rules};
use crate::reader::{Intake, Routed, SHARD_SEED};
use crate::row_tail::significant;

/// Flows of a capture at most; 4 MiB hold fewer.
const FLOWS_MAX: usize = 100_000;

/// Scores `body` with the model in `directory`.
///
/// # Errors
///
/// What cannot be read or scored, and why.
pub(crate) fn score(directory: &Path, body: ScoreBody) -> Result<Value, ScoreRefusal> {
    let failed = |error: &dyn std::fmt::Display| ScoreRefusal::Failed(error.to_string());
    let Model { manifest, detector } = Model::open(directory).map_err(|error| failed(&error))?;
    let names: Vec<&str> = INPUTS.iter().map(|input| input.name).collect();
    let batching = Batching { steps: 512, wait_us: 0 };
    let scorer = Scorer::new(&manifest, detector, &names, WindowLimits::default(), batching)
        .map_err(|error| failed(&error))?;
    let mut bench = Bench { manifest, scorer, verdicts: Vec::new() };
    let flows = match body {
        ScoreBody::Capture(bytes) => bench.capture(&bytes)?,
        ScoreBody::Flows(flows) => bench.flows(&flows)?,
    };
    Ok(json!({ "model": bench.manifest.id, "flows": flows }))
}

struct Bench {
    manifest: Manifest,
    scorer: Scorer,
    /// By ticket.
    verdicts: Vec<Option<Verdict>>,
}

impl Bench {
    /// Each flow by itself: what its context was is in its inputs.
    fn flows(&mut self, flows: &[BTreeMap<String, f64>]) -> Result<Vec<Value>, ScoreRefusal> {
        for (number, flow) in flows.iter().enumerate() {
            // What is not given is as in the middle of the training rows.
            let mut row = vec![f32::NAN; INPUTS.len()];
            for (name, value) in flow {
                let place = INPUTS.iter().position(|input| input.name == name);
                let place = place.ok_or_else(|| ScoreRefusal::BadInput {
                    reason: format!("flow {number} has {name:?}, which is no input"),
                    hint: "list them: tapline features inputs".to_owned(),
                })?;
                row[place] = *value as f32;
            }
            self.push(number as u128, number as i64, &row)?;
        }
        self.finish()?;
        Ok(self.verdicts.iter().map(|verdict| self.verdict(verdict.as_ref())).collect())
    }

    fn capture(&mut self, bytes: &[u8]) -> Result<Vec<Value>, ScoreRefusal> {
        let bad = |error: &dyn std::fmt::Display| ScoreRefusal::BadInput {
            reason: error.to_string(),
            hint: "send a capture of Ethernet, IP or cooked frames, pcap or pcapng, not packed".to_owned(),
        };
        let mut reader = CaptureReader::new(bytes, "the request").map_err(|error| bad(&error))?;
        let decoder = Decoder::new(DecodeOptions::default());
        let mut intake = Intake::new(None, None, decoder, rules().key_rules(), SHARD_SEED);
        let mut observer = Observer::new(FLOWS_MAX);
        let mut heads: Vec<FlowHead> = Vec::new();
        let mut row = vec![0.0; INPUTS.len()];
        let mut judge = |Observed { flow, context, decided_us }: Observed| {
            inputs::fill(&flow, &context, &mut row);
            heads.push(flow.head);
            let host = u128::from_be_bytes(flow.head.initiator().addr);
            self.push(host, decided_us.saturating_add(PAUSE_US), &row)
        };
        while let Some(frame) = reader.next() {
            let frame = frame.map_err(|error| bad(&error))?;
            let taken = intake.take(&frame).map_err(|error| bad(&error))?;
            let Some((packet, shard)) = taken else { continue };
            observer.take(Routed::Packet(packet, shard), &mut judge)?;
            if let Some(now) = intake.take_tick() {
                observer.take(Routed::Tick(now), &mut judge)?;
            }
        }
        observer.finish(&mut judge)?;
        self.finish()?;
        let flows = heads.iter().zip(&self.verdicts).map(|(head, verdict)| {
            let mut flow = json!({
                "community_id": community_id(head).as_str(),
                "source": head.initiator().ip(head.key.ip_version),
                "source_port": head.initiator().port,
                "destination": head.responder().ip(head.key.ip_version),
                "destination_port": head.responder().port,
                "protocol": head.key.protocol,
                "start": tapline_export::time_text(head.start),
                "packets": head.packets,
            });
            flow["verdict"] = self.verdict(verdict.as_ref());
            flow
        });
        Ok(flows.collect())
    }

    fn push(&mut self, host: u128, now_us: i64, row: &[f32]) -> Result<(), ScoreRefusal> {
        let Self { scorer, verdicts, .. } = self;
        let ticket = verdicts.len() as u64;
        verdicts.push(None);
        scorer
            .push(host, now_us, row, ticket, &mut |verdict, _| {
                verdicts[verdict.ticket as usize] = Some(*verdict);
                Ok(())
            })
            .map_err(|error| ScoreRefusal::Failed(error.to_string()))
    }

    fn finish(&mut self) -> Result<(), ScoreRefusal> {
        let Self { scorer, verdicts, .. } = self;
        scorer
            .finish(&mut |verdict, _| {
                verdicts[verdict.ticket as usize] = Some(*verdict);
                Ok(())
            })
            .map_err(|error| ScoreRefusal::Failed(error.to_string()))
    }

    fn verdict(&self, verdict: Option<&Verdict>) -> Value {
        let Some(verdict) = verdict else { return Value::Null };
        let class = &self.manifest.classes[usize::from(verdict.class)];
        json!({
            "class": class,
            "attack_id": self.manifest.attack_ids.get(class),
            "score": significant(f64::from(verdict.score)),
            "probability": significant(f64::from(verdict.probability)),
            "p_value": significant(verdict.p_value),
        })
    }
}
