//! The paths of the control server and what they answer.
//!
//! In: requests, whose bodies are read only by `/v1/score`. Out: text for Prometheus, JSON for all others. A refusal is JSON as
//! well: `error` says what is wrong, `hint` what to do; why it was refused travels with the response to be counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::control_meter::{ControlMeter, Refused};
use crate::exposition::{self, exposition};
use crate::health::HealthWatch;
use crate::metrics::METRICS;
use crate::recent_flows::RecentFlows;
use crate::sensor::{FlowQuery, ScoreBody, ScoreRefusal, Sensor};
use crate::snapshot::{IncidentView, Snapshot};

/// Flows of an answer, if nothing else is asked for.
const FLOWS_DEFAULT: usize = 100;
const PATHS: &str = "paths are /metrics, /health, /v1/status, /v1/flows, /v1/incidents and /v1/score";

/// What all requests share.
pub(crate) struct Desk {
    sensor: Arc<dyn Sensor>,
    health: Mutex<HealthWatch>,
    /// One permit.
    scoring: Arc<Semaphore>,
    /// Within this a body must be here.
    body_within: Duration,
    pub(crate) meter: ControlMeter,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    why: Refused,
    error: String,
    hint: String,
}

/// A refusal as JSON.
#[derive(Serialize)]
struct RefusalBody<'a> {
    error: &'a str,
    hint: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowsAsked {
    limit: Option<usize>,
    address: Option<IpAddr>,
    class: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncidentsAsked {
    limit: Option<usize>,
    #[serde(default)]
    alerts: bool,
}

#[derive(Serialize)]
struct Incidents<'a> {
    incidents: Vec<&'a IncidentView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowsSent {
    flows: Vec<std::collections::BTreeMap<String, f64>>,
}

type Answer = Result<Response, Refusal>;

/// All paths.
pub(crate) fn endpoints(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/v1/status", get(status))
        .route("/v1/flows", get(flows))
        .route("/v1/incidents", get(incidents))
        .route("/v1/score", post(score))
        .method_not_allowed_fallback(|| async {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Refused::NotFound,
                "this path does not know the method",
                "/v1/score takes POST, all others take GET",
            )
        })
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, Refused::NotFound, "no such path", PATHS) })
        .with_state(desk)
}

impl Desk {
    pub(crate) fn new(sensor: Arc<dyn Sensor>, body_within: Duration) -> Self {
        Self {
            sensor,
            health: Mutex::default(),
            scoring: Arc::new(Semaphore::new(1)),
            body_within,
            meter: ControlMeter::default(),
        }
    }

    /// Looks at the latest snapshot; to be called about once a second.
    pub(crate) fn observe(&self) {
        let snapshot = self.sensor.snapshot();
        self.health.lock().unwrap_or_else(PoisonError::into_inner).observe(&snapshot);
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::clone(&self.sensor.snapshot());
        snapshot.control = self.meter.view();
        snapshot
    }
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    text(StatusCode::OK, exposition::CONTENT_TYPE, exposition(METRICS, &desk.snapshot()))
}

async fn health(State(desk): State<Arc<Desk>>) -> Answer {
    let snapshot = desk.sensor.snapshot();
    let mut watch = desk.health.lock().unwrap_or_else(PoisonError::into_inner);
    watch.observe(&snapshot);
    let health = watch.health(&snapshot, now_us());
    drop(watch);
    json(if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
}

async fn status(State(desk): State<Arc<Desk>>) -> Answer {
    json(StatusCode::OK, &desk.snapshot())
}

async fn flows(State(desk): State<Arc<Desk>>, asked: Result<Query<FlowsAsked>, QueryRejection>) -> Answer {
    let hint = "the query may have limit=1..1000, address=IP and class=NAME";
    let Query(FlowsAsked { limit, address, class }) = asked.map_err(|error| Refusal::query(&error, hint))?;
    let limit = within(limit.unwrap_or(FLOWS_DEFAULT), RecentFlows::MAX, hint)?;
    // The rows are JSON already.
    let rows = desk.sensor.flows(&FlowQuery { limit, address, class });
    let body = format!("{{\"flows\":[{}]}}\n", rows.join(","));
    Ok(text(StatusCode::OK, JSON, body))
}

async fn incidents(
    State(desk): State<Arc<Desk>>,
    asked: Result<Query<IncidentsAsked>, QueryRejection>,
) -> Answer {
    let hint = "the query may have limit=1..100 and alerts=true";
    let Query(IncidentsAsked { limit, alerts }) = asked.map_err(|error| Refusal::query(&error, hint))?;
    let limit = within(limit.unwrap_or(Snapshot::INCIDENTS_MAX), Snapshot::INCIDENTS_MAX, hint)?;
    let snapshot = desk.sensor.snapshot();
    let chosen = snapshot.incidents.iter().filter(|incident| incident.alert || !alerts).take(limit);
    json(StatusCode::OK, &Incidents { incidents: chosen.collect() })
}

/// The permit is taken before the body is read, so that one body at most is in memory. It goes back when the scoring has
/// ended, even if nobody waits for the answer any more.
async fn score(State(desk): State<Arc<Desk>>, request: Request) -> Answer {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|bytes| bytes > ScoreBody::BYTES_MAX as u64) {
        return Err(Refusal::too_large());
    }
    let permit = Arc::clone(&desk.scoring).try_acquire_owned().map_err(|_| {
        Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            Refused::Busy,
            "something is being scored already",
            "one request at a time: try again in a second",
        )
    })?;
    let body = score_body(&read_body(request.into_body(), desk.body_within).await?)?;
    let sensor = Arc::clone(&desk.sensor);
    let scored = tokio::task::spawn_blocking(move || {
        let scored = sensor.score(body);
        drop(permit);
        scored
    });
    match scored.await {
        Ok(Ok(verdicts)) => json(StatusCode::OK, &verdicts),
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(_) => Err(ScoreRefusal::Failed("it came to a sudden end".into()).into()),
    }
}

async fn read_body(body: Body, within: Duration) -> Result<Vec<u8>, Refusal> {
    let whole = Limited::new(body, ScoreBody::BYTES_MAX).collect();
    match tokio::time::timeout(within, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large()),
        Ok(Err(error)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            Refused::BadRequest,
            format!("the body broke off: {error}"),
            "send it whole",
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            Refused::Slow,
            format!("the body was not here within {} s", within.as_secs()),
            "send less, or faster",
        )),
    }
}

/// Told by its first bytes: whoever posts with curl seldom says what it is.
fn score_body(bytes: &[u8]) -> Result<ScoreBody, Refusal> {
    const CAPTURES: [[u8; 4]; 5] = [
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0x0a, 0x0d, 0x0d, 0x0a],
    ];
    if CAPTURES.iter().any(|magic| bytes.starts_with(magic)) {
        return Ok(ScoreBody::Capture(bytes.to_vec()));
    }
    let hint = "send a pcap or pcapng file, or {\"flows\": [{\"input\": 1.5, ...}, ...]}";
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::BadRequest,
            "the body is neither a capture nor a JSON object",
            hint,
        ));
    }
    let bad = |error: String| Refusal::new(StatusCode::BAD_REQUEST, Refused::BadRequest, error, hint);
    let sent: FlowsSent = serde_json::from_slice(bytes).map_err(|error| bad(format!("the body: {error}")))?;
    if sent.flows.len() > ScoreBody::FLOWS_MAX {
        return Err(bad(format!(
            "{} flows are too many, {} may be sent",
            sent.flows.len(),
            ScoreBody::FLOWS_MAX
        )));
    }
    Ok(ScoreBody::Flows(sent.flows))
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        why: Refused,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, why, error: error.into(), hint: hint.into() }
    }

    fn query(error: &QueryRejection, hint: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Refused::BadRequest, error.body_text(), hint)
    }

    fn too_large() -> Self {
        let error = format!("the body is longer than {} MiB", ScoreBody::BYTES_MAX >> 20);
        let hint = "send fewer packets; `tapline replay --model` takes captures of any length";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Refused::TooLarge, error, hint)
    }
}

impl From<ScoreRefusal> for Refusal {
    fn from(refusal: ScoreRefusal) -> Self {
        let error = refusal.to_string();
        match refusal {
            ScoreRefusal::NoModel => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Refused::Failed,
                error,
                "set scoring.model and reload the sensor",
            ),
            ScoreRefusal::BadInput { hint, .. } => {
                Self::new(StatusCode::BAD_REQUEST, Refused::BadRequest, error, hint)
            }
            ScoreRefusal::Failed(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Refused::Failed,
                error,
                "the sensor's log may say more",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = RefusalBody { error: &self.error, hint: &self.hint };
        // Two texts are always JSON.
        let body = serde_json::to_string(&body).unwrap_or_default() + "\n";
        let mut response = text(self.status, JSON, body);
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self.why);
        response
    }
}

const JSON: &str = "application/json";

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => Ok(text(status, JSON, body + "\n")),
        Err(error) => Err(ScoreRefusal::Failed(error.to_string()).into()),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

fn within(limit: usize, most: usize, hint: &str) -> Result<usize, Refusal> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    let error = format!("limit={limit} is not between 1 and {most}");
    Err(Refusal::new(StatusCode::BAD_REQUEST, Refused::BadRequest, error, hint))
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
