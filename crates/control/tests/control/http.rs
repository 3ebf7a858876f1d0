//! The server over loopback and over a unix socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tapline_control::{
    FlowQuery, Listeners, RecentFlows, ScoreBody, ScoreRefusal, Sensor, Snapshot, WorkerView, serve,
};

use crate::samples;

/// A sensor of the test's making. What it is to score it tells, and waits for a word.
struct Stub {
    snapshot: Mutex<Snapshot>,
    flows: Mutex<RecentFlows>,
    scoring: Mutex<Option<(Sender<ScoreBody>, Receiver<()>)>>,
}

impl Sensor for Stub {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.snapshot.lock().unwrap().clone())
    }

    fn flows(&self, query: &FlowQuery) -> Vec<String> {
        self.flows.lock().unwrap().select(query)
    }

    fn score(&self, body: ScoreBody) -> Result<Value, ScoreRefusal> {
        if body == ScoreBody::Flows(Vec::new()) {
            let (reason, hint) = ("there are no flows".into(), "send some".into());
            return Err(ScoreRefusal::BadInput { reason, hint });
        }
        if body == ScoreBody::Capture(vec![0xd4, 0xc3, 0xb2, 0xa1]) {
            panic!("a fault of the sensor");
        }
        let scoring = self.scoring.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((told, go_on)) = &*scoring else { return Err(ScoreRefusal::NoModel) };
        told.send(body).unwrap();
        go_on.recv().unwrap();
        Ok(json!({"verdicts": [{"class": "scan"}]}))
    }
}

pub(crate) struct Server {
    stub: Arc<Stub>,
    address: SocketAddr,
    pub(crate) socket: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    pub(crate) fn start(mut snapshot: Snapshot) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        snapshot.sensor.now_us = now.as_micros() as i64;
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let listeners = Listeners::bind(Some("127.0.0.1:0".parse().unwrap()), Some(&socket)).unwrap();
        let address = listeners.tcp.as_ref().unwrap().local_addr().unwrap();
        let stub = Arc::new(Stub {
            snapshot: Mutex::new(snapshot),
            flows: Mutex::default(),
            scoring: Mutex::default(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (sensor, told): (Arc<dyn Sensor>, _) = (stub.clone(), stop.clone());
        let thread = std::thread::spawn(move || serve(listeners, sensor, told));
        Self { stub, address, socket, stop, thread: Some(thread), _folder: folder }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        self.ask(&[head.as_bytes(), body].concat())
    }

    fn ask(&self, request: &[u8]) -> Answer {
        exchange(TcpStream::connect(self.address).unwrap(), request)
    }

    fn refused(&self, reason: &str) -> u64 {
        let status: Snapshot = serde_json::from_str(&self.get("/v1/status").body).unwrap();
        status.control.refused[reason]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap().unwrap();
        assert!(!self.socket.exists());
    }
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

#[test]
fn metrics_are_text_of_the_version_that_prometheus_reads() {
    let server = Server::start(samples::ordinary());
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{}",
        answer.head
    );
    assert!(answer.body.contains("\ntapline_seen_packets_total 10000000\n"), "{}", answer.body);
    assert!(answer.body.contains("\ntapline_control_requests_total 1\n"), "{}", answer.body);
}

#[test]
fn the_status_is_the_snapshot_on_both_listeners() {
    let server = Server::start(samples::ordinary());
    let mut expected = server.stub.snapshot.lock().unwrap().clone();
    let request = b"GET /v1/status HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
    let over_socket = exchange(UnixStream::connect(&server.socket).unwrap(), request);
    for answer in [over_socket, server.get("/v1/status")] {
        let status: Snapshot = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(status.control.connections, 1);
        expected.control = status.control.clone();
        assert_eq!(status, expected);
    }
}

#[test]
fn health_says_what_is_wrong() {
    let server = Server::start(samples::ordinary());
    let answer = server.get("/health");
    assert_eq!(answer.status, 200);
    let warnings = [
        "interface eth1: it is down: waiting for it to come up",
        "sink syslog: udp://log.example:514: network is unreachable",
    ];
    assert_eq!(answer.json(), json!({"healthy": true, "faults": [], "warnings": warnings}));

    let stalled = WorkerView { index: 7, since_moved_us: 61_000_000, ..WorkerView::default() };
    server.stub.snapshot.lock().unwrap().workers.push(stalled);
    let answer = server.get("/health");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["faults"], json!(["worker 7 has not moved for 61 s"]));
}

#[test]
fn flows_come_by_limit_address_and_class() {
    let server = Server::start(samples::ordinary());
    let (a, b) = ("10.0.0.1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    for (number, class) in [(1, "scan"), (2, "benign"), (3, "scan")] {
        server.stub.flows.lock().unwrap().push(a, b, class, &format!("{{\"n\":{number}}}\n"));
    }
    assert_eq!(server.get("/v1/flows").json(), json!({"flows": [{"n": 3}, {"n": 2}, {"n": 1}]}));
    assert_eq!(server.get("/v1/flows?limit=1").json(), json!({"flows": [{"n": 3}]}));
    let both = server.get("/v1/flows?class=scan&address=2001:db8::2").json();
    assert_eq!(both, json!({"flows": [{"n": 3}, {"n": 1}]}));
    assert_eq!(server.get("/v1/flows?address=10.9.9.9").json(), json!({"flows": []}));
    for bad in ["limit=0", "limit=1001", "limit=many", "address=localhost", "colour=red"] {
        let answer = server.get(&format!("/v1/flows?{bad}"));
        assert_eq!(answer.status, 400, "{bad}");
        assert_eq!(answer.json()["hint"], "the query may have limit=1..1000, address=IP and class=NAME");
    }
    assert_eq!(server.refused("bad_request"), 5);
}

#[test]
fn incidents_come_all_or_alerts_alone() {
    let server = Server::start(samples::ordinary());
    let numbers = |path: &str| -> Vec<u64> {
        let answer = server.get(path).json();
        answer["incidents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|incident| incident["number"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(numbers("/v1/incidents"), [12, 11]);
    assert_eq!(numbers("/v1/incidents?limit=1"), [12]);
    assert_eq!(numbers("/v1/incidents?alerts=true"), [12]);
    assert_eq!(server.get("/v1/incidents?limit=101").status, 400);
}

#[test]
fn one_is_scored_at_a_time_and_others_are_told_to_come_again() {
    let server = Server::start(samples::ordinary());
    assert_eq!(server.post("/v1/score", b"{\"flows\":[{\"a\":1}]}").status, 503);

    let ((told, hears), (go_on, waits)) = (channel(), channel());
    *server.stub.scoring.lock().unwrap() = Some((told, waits));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.post("/v1/score", b" {\"flows\":[{\"duration_us\":1.5}]}"));
        let body = hears.recv().unwrap();
        assert_eq!(body, ScoreBody::Flows(vec![[("duration_us".into(), 1.5)].into()]));
        let second = server.post("/v1/score", b"{\"flows\":[{\"a\":1}]}");
        assert_eq!(second.status, 429);
        assert!(second.head.contains("retry-after: 1"), "{}", second.head);
        assert_eq!(server.get("/health").status, 200);
        go_on.send(()).unwrap();
        let first = first.join().unwrap();
        assert_eq!(first.status, 200);
        assert_eq!(first.json(), json!({"verdicts": [{"class": "scan"}]}));
    });
    let capture = [&[0x0a, 0x0d, 0x0d, 0x0a], [7; 4096].as_slice()].concat();
    go_on.send(()).unwrap();
    assert_eq!(server.post("/v1/score", &capture).status, 200);
    assert_eq!(hears.recv().unwrap(), ScoreBody::Capture(capture));
    assert_eq!(server.refused("busy"), 1);
}

#[test]
fn what_cannot_be_scored_is_refused_with_a_hint() {
    let server = Server::start(samples::ordinary());
    let errors = [
        (&b""[..], 415, "the body is neither a capture nor a JSON object"),
        (b"duration=1", 415, "the body is neither a capture nor a JSON object"),
        (
            b"{\"flows\":[{\"a\":\"b\"}]}",
            400,
            "the body: invalid type: string \"b\", expected f64 at line 1 column 18",
        ),
        (b"{\"flows\":[]}", 400, "there are no flows"),
        (b"\xd4\xc3\xb2\xa1", 500, "scoring failed: it came to a sudden end"),
        (b"\x0a\x0d\x0d\x0a", 503, "this sensor has no model"),
    ];
    for (body, status, error) in errors {
        let answer = server.post("/v1/score", body);
        assert_eq!(answer.json()["error"], error);
        assert_eq!(answer.status, status, "{error}");
        assert!(!answer.json()["hint"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_long_body_is_refused_with_and_without_its_length() {
    let server = Server::start(samples::ordinary());
    let head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let told = server.ask(format!("{head}Content-Length: 4194305\r\n\r\n").as_bytes());
    assert_eq!(told.status, 413);

    // Not told: the answer comes when the limit is passed, so the rest may find nobody.
    let mut stream = TcpStream::connect(server.address).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
        (0..65).take_while(|_| stream.write_all(&chunk).is_ok()).count()
    });
    let mut answer = vec![0; 12];
    reader.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
    drop(reader);
    sender.join().unwrap();
    assert_eq!(server.refused("too_large"), 2);
}

#[test]
fn unknown_paths_methods_and_names_are_refused() {
    let server = Server::start(samples::ordinary());
    let answer = server.get("/v2/status");
    assert_eq!((answer.status, answer.json()["error"].as_str()), (404, Some("no such path")));
    let answer = server.post("/metrics", b"");
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (405, Some("this path does not know the method"))
    );
    assert!(answer.head.contains("allow: GET"), "{}", answer.head);
    let answer = server.ask(b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 421);
    assert_eq!(server.ask(b"GET\r\n\r\n").status, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "a".repeat(20 << 10));
    assert_eq!(server.ask(long.as_bytes()).status, 431);
    assert_eq!(server.refused("not_found"), 2);
    assert_eq!(server.refused("host"), 1);
}

#[test]
fn connections_are_bounded_by_listener() {
    let server = Server::start(samples::ordinary());
    let request = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Each is known to be open once it has been answered.
    let open: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(request).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let mut one_more = TcpStream::connect(server.address).unwrap();
    assert!(matches!(one_more.read(&mut [0; 1]), Ok(0) | Err(_)), "it is closed unasked");
    let closing = b"GET /v1/status HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
    let answer = exchange(UnixStream::connect(&server.socket).unwrap(), closing);
    let status: Snapshot = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(status.control.connections, 65);
    assert_eq!(status.control.refused["connections"], 1);
    drop(open);
}

#[test]
fn it_stops_while_somebody_scores_and_others_idle() {
    let server = Server::start(samples::ordinary());
    let ((told, hears), (go_on, waits)) = (channel(), channel());
    *server.stub.scoring.lock().unwrap() = Some((told, waits));
    let _idle = TcpStream::connect(server.address).unwrap();
    let mut asking = TcpStream::connect(server.address).unwrap();
    let body = "{\"flows\":[{}]}";
    let head =
        format!("POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    asking.write_all((head + body).as_bytes()).unwrap();
    hears.recv().unwrap();
    // Returns although the scoring goes on.
    drop(server);
    go_on.send(()).unwrap();
}
