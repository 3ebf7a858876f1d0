//! [`serve`]: connections to the control server.
//!
//! In: [`Listeners`] that are bound. Out: answers of the endpoints. Everything is bounded: connections of each listener, the
//! time for a head, a body and an answer, the length of a head. Who comes through TCP on loopback must call this host by an
//! address or `localhost`, so that a page in somebody's browser cannot ask under a name of its own (DNS rebinding).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::control_meter::Refused;
use crate::endpoints::{Desk, Refusal, endpoints};
use crate::listeners::Listeners;
use crate::paced_stream::PacedStream;
use crate::sensor::Sensor;

/// Connections of each listener.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How often `stop` is looked at.
const STOP_EVERY: Duration = Duration::from_millis(200);
/// How many of these make a second.
const STOPS_A_SECOND: u32 = 5;
/// How long answers that are under way may still take after `stop`.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_millis(300);
/// How long to wait when the system gives no connection (too many files are open).
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long clients are waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Within this a request's head must be here, and the next one on the same connection.
    head: Duration,
    /// Within this a body must be here.
    body: Duration,
    /// Within this an answer must be taken.
    answer: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    body: Duration::from_secs(10),
    answer: Duration::from_secs(10),
};

/// Answers until `stop` is set, and half a second longer at most. To be run in a thread of its own.
///
/// A [`Sensor::score`] that is running then is not waited for: its thread ends when it ends, or with the process.
///
/// # Errors
///
/// Fails if the system gives it no event queue; once it runs it does not fail.
pub fn serve(listeners: Listeners, sensor: Arc<dyn Sensor>, stop: Arc<AtomicBool>) -> io::Result<()> {
    serve_patiently(listeners, sensor, &stop, PATIENCE)
}

fn serve_patiently(
    listeners: Listeners,
    sensor: Arc<dyn Sensor>,
    stop: &AtomicBool,
    patience: Patience,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_name("control-score")
        .build()?;
    let served = runtime.block_on(run(listeners, sensor, stop, patience));
    runtime.shutdown_background();
    served
}

async fn run(
    listeners: Listeners,
    sensor: Arc<dyn Sensor>,
    stop: &AtomicBool,
    patience: Patience,
) -> io::Result<()> {
    let desk = Arc::new(Desk::new(sensor, patience.body));
    let mut doors = Vec::new();
    if let Some(tcp) = listeners.tcp {
        tcp.set_nonblocking(true)?;
        let any_host = !tcp.local_addr()?.ip().is_loopback();
        let tcp = TcpListener::from_std(tcp)?;
        let door = Door::new(&desk, any_host, patience);
        doors.push(tokio::spawn(async move {
            loop {
                match tcp.accept().await {
                    Ok((stream, _)) => door.enter(stream),
                    Err(error) => door.pause(&error).await,
                }
            }
        }));
    }
    // Kept until the end, when its file goes.
    let socket = listeners.socket;
    if let Some(socket) = &socket {
        let socket = socket.listener.try_clone()?;
        socket.set_nonblocking(true)?;
        let socket = UnixListener::from_std(socket)?;
        let door = Door::new(&desk, true, patience);
        doors.push(tokio::spawn(async move {
            loop {
                match socket.accept().await {
                    Ok((stream, _)) => door.enter(stream),
                    Err(error) => door.pause(&error).await,
                }
            }
        }));
    }
    for round in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if round % STOPS_A_SECOND == 0 {
            desk.observe();
        }
        sleep(STOP_EVERY).await;
    }
    for door in doors {
        door.abort();
    }
    let begun = tokio::time::Instant::now();
    while desk.meter.view().connections > 0 && begun.elapsed() < LAST_ANSWERS_WITHIN {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Where connections come in.
struct Door {
    desk: Arc<Desk>,
    service: TowerToHyperService<axum::Router>,
    places: Arc<Semaphore>,
    /// Whether requests may name the host as they like.
    any_host: bool,
    patience: Patience,
}

impl Door {
    fn new(desk: &Arc<Desk>, any_host: bool, patience: Patience) -> Self {
        Self {
            desk: Arc::clone(desk),
            service: TowerToHyperService::new(endpoints(Arc::clone(desk))),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            any_host,
            patience,
        }
    }

    fn enter(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.desk.meter.refuse(Refused::Connections);
            return;
        };
        let stream = PacedStream::new(stream, self.patience.answer);
        let connection = Connection {
            desk: Arc::clone(&self.desk),
            service: self.service.clone(),
            any_host: self.any_host,
            head_within: self.patience.head,
        };
        tokio::spawn(async move {
            connection.serve(stream).await;
            drop(place);
        });
    }

    /// After a failed accept: a connection that is gone already is nothing; without files there is none for a while.
    async fn pause(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::ConnectionAborted {
            self.desk.meter.refuse(Refused::Accept);
            sleep(ACCEPT_AGAIN_AFTER).await;
        }
    }
}

struct Connection {
    desk: Arc<Desk>,
    service: TowerToHyperService<axum::Router>,
    any_host: bool,
    head_within: Duration,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Self { desk, service, any_host, head_within } = self;
        let open = desk.meter.open();
        let answered = Arc::new(AtomicU64::new(0));
        let answer = service_fn(|request: Request<Incoming>| {
            let (desk, service, answered) = (Arc::clone(&desk), service.clone(), Arc::clone(&answered));
            async move {
                desk.meter.request();
                let response = if any_host || names_this_host(&request) {
                    service.call(request).await?
                } else {
                    misdirected().into_response()
                };
                if let Some(why) = response.extensions().get::<Refused>() {
                    desk.meter.refuse(*why);
                }
                answered.fetch_add(1, Ordering::Relaxed);
                Ok::<Response, std::convert::Infallible>(response)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_within)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), answer)
            .await;
        if let Err(error) = served {
            // A connection that asked, was answered and now idles too long did nothing wrong.
            let slow_head = error.is_timeout() && answered.load(Ordering::Relaxed) == 0;
            if slow_head || is_slow_answer(&error) {
                desk.meter.refuse(Refused::Slow);
            }
        }
        drop(open);
    }
}

fn is_slow_answer(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

fn names_this_host(request: &Request<Incoming>) -> bool {
    let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let asked = request.uri().authority().map(|authority| authority.as_str());
    [named, asked].into_iter().flatten().all(is_own_name)
}

/// Whether it is `localhost` or an address, with or without a port.
fn is_own_name(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => authority,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn misdirected() -> Refusal {
    Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        Refused::Host,
        "this host is not known by that name",
        "ask localhost or 127.0.0.1, or let the proxy send such a Host",
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::sensor::{FlowQuery, ScoreBody, ScoreRefusal};
    use crate::snapshot::{IncidentView, Snapshot};

    /// Its answers are long: 100 incidents of 64 KiB.
    struct Talkative(Arc<Snapshot>);

    /// Also when a test fails, lest it waits for ever.
    struct StopAtEnd<'a>(&'a AtomicBool);

    impl Drop for StopAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Sensor for Talkative {
        fn snapshot(&self) -> Arc<Snapshot> {
            Arc::clone(&self.0)
        }

        fn flows(&self, _: &FlowQuery) -> Vec<String> {
            Vec::new()
        }

        fn score(&self, _: ScoreBody) -> Result<serde_json::Value, ScoreRefusal> {
            Err(ScoreRefusal::NoModel)
        }
    }

    fn with_impatient_server(patience: Patience, test: impl FnOnce(SocketAddr)) {
        let listeners = Listeners::bind(Some("127.0.0.1:0".parse().unwrap()), None).unwrap();
        let address = listeners.tcp.as_ref().unwrap().local_addr().unwrap();
        let incident = IncidentView { reason: "x".repeat(64 << 10), ..IncidentView::default() };
        let incidents = vec![incident; Snapshot::INCIDENTS_MAX];
        let sensor = Arc::new(Talkative(Arc::new(Snapshot { incidents, ..Snapshot::default() })));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| serve_patiently(listeners, sensor, &stop, patience));
            let stopping = StopAtEnd(&stop);
            test(address);
            drop(stopping);
            serving.join().unwrap().unwrap();
        });
    }

    fn slow_clients(address: SocketAddr) -> bool {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.contains("\ntapline_control_refused_total{reason=\"slow\"} 1\n")
    }

    #[test]
    fn who_does_not_say_what_he_wants_is_cut() {
        with_impatient_server(Patience { head: Duration::from_millis(20), ..PATIENCE }, |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metr").unwrap();
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "closed without an answer");
            assert!(slow_clients(address));
        });
    }

    #[test]
    fn who_does_not_send_what_he_announced_is_told_so() {
        with_impatient_server(Patience { body: Duration::from_millis(20), ..PATIENCE }, |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{";
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 408");
            assert!(slow_clients(address));
        });
    }

    #[test]
    fn who_does_not_take_his_answer_is_cut() {
        with_impatient_server(Patience { answer: Duration::from_millis(20), ..PATIENCE }, |address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            // The server says when it has given up; only then is anything read.
            while !slow_clients(address) {
                std::thread::yield_now();
            }
            let mut taken = Vec::new();
            drop(stream.read_to_end(&mut taken));
            assert!(taken.len() < 100 * (64 << 10), "{}", taken.len());
        });
    }

    #[test]
    fn only_addresses_and_localhost_are_names_of_this_host() {
        for own in
            ["localhost", "LocalHost:9477", "127.0.0.1", "127.0.0.1:9477", "[::1]", "[::1]:9477", "10.0.0.7"]
        {
            assert!(is_own_name(own), "{own}");
        }
        for foreign in
            ["", "evil.example", "evil.example:9477", "localhost.evil.example", "127.0.0.1.evil:80"]
        {
            assert!(!is_own_name(foreign), "{foreign}");
        }
    }
}
