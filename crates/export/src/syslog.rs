//! Alerts to syslog, as RFC 5424 wants them.
//!
//! ```text
//!  <108>1 2026-11-23T09:38:36.123456Z gate tapline 4711 alert_raised [tapline@32473 class="scan" ...] 10.0.0.1 scans ...
//! ```
//!
//! In: alerts from their queue. Out: one message each, over a Unix socket (`/dev/log`, datagrams or a stream with line ends),
//! UDP (RFC 5426) or TCP with octet counting (RFC 6587). A connection that is lost is opened again, with pauses that double;
//! meanwhile alerts wait in the queue.
//!
//! UDP and a closing TCP connection lose messages unseen; only the Unix socket says so every time.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tapline_record::Timestamp;

use crate::alert_queue::{AlertMessage, AlertReceiver, Deliver, Delivery, Retries, deliver_all};
use crate::cell_text::time_text;
use crate::sink_counters::{Count, DropCause, SinkMeter};

/// Where messages go, and what they say of their sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSettings {
    /// Where messages go.
    pub target: SyslogTarget,
    /// Facility, 0 to 23 (RFC 5424, table 1): 4 is security, 13 audit, 16 to 23 are local.
    pub facility: u8,
    /// HOSTNAME.
    pub hostname: String,
    /// APP-NAME.
    pub app_name: String,
    /// PROCID.
    pub process_id: u32,
    /// Name of the structured data. The number behind the `@` is an enterprise's; 32473 is for examples.
    pub structured_data_id: String,
    /// The longest message. Its sentence is shortened first, then facts are left out from the last on.
    pub max_bytes: usize,
    /// How long connecting and sending may take.
    pub timeout: Duration,
    /// When a failed attempt is followed by another.
    pub retries: Retries,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTarget {
    /// A Unix socket: `/dev/log`.
    Unix(PathBuf),
    /// `host:port`; the port is 514 by custom.
    Udp(String),
    /// `host:port`; the port is 601 by custom.
    Tcp(String),
}

impl SyslogSettings {
    /// Settings with defaults: facility 16 (local0), 2048 bytes, 5 seconds, tried again until stopped.
    #[must_use]
    pub fn new(target: SyslogTarget, hostname: &str, process_id: u32) -> Self {
        Self {
            target,
            facility: 16,
            hostname: hostname.to_owned(),
            app_name: "tapline".to_owned(),
            process_id,
            structured_data_id: "tapline@32473".to_owned(),
            max_bytes: 2_048,
            timeout: Duration::from_secs(5),
            retries: Retries {
                attempts: None,
                first_pause: Duration::from_millis(500),
                longest_pause: Duration::from_secs(30),
                stop_grace: Duration::from_secs(2),
            },
        }
    }
}

/// Sends alerts to syslog.
#[derive(Debug)]
pub struct Syslog {
    settings: SyslogSettings,
    meter: SinkMeter,
    connection: Option<Connection>,
    connected_before: bool,
    frame: Vec<u8>,
}

#[derive(Debug)]
enum Connection {
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Syslog {
    /// A sender; it connects with its first message. `meter` is that of its queue.
    #[must_use]
    pub const fn new(settings: SyslogSettings, meter: SinkMeter) -> Self {
        Self { settings, meter, connection: None, connected_before: false, frame: Vec::new() }
    }

    /// Sends what comes until `stop` is set or all senders are gone.
    pub fn run(mut self, alerts: &AlertReceiver, stop: &AtomicBool) {
        let (retries, meter) = (self.settings.retries, self.meter.clone());
        deliver_all(&mut self, &retries, &meter, alerts, stop);
    }

    fn connect(&mut self) -> io::Result<Connection> {
        let timeout = Some(self.settings.timeout);
        let connection = match &self.settings.target {
            SyslogTarget::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                match socket.connect(path) {
                    Ok(()) => {
                        socket.set_write_timeout(timeout)?;
                        Connection::UnixDatagram(socket)
                    }
                    Err(error) if error.raw_os_error() == Some(PROTOTYPE) => {
                        let stream = UnixStream::connect(path)?;
                        stream.set_write_timeout(timeout)?;
                        Connection::UnixStream(stream)
                    }
                    Err(error) => return Err(error),
                }
            }
            SyslogTarget::Udp(target) => Connection::Udp(first_of(target, |address| {
                let any = if address.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_write_timeout(timeout)?;
                Ok(socket)
            })?),
            SyslogTarget::Tcp(target) => Connection::Tcp(first_of(target, |address| {
                let stream = TcpStream::connect_timeout(&address, self.settings.timeout)?;
                stream.set_write_timeout(timeout)?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })?),
        };
        if self.connected_before {
            self.meter.add(Count::Reopened, 1);
        }
        self.connected_before = true;
        Ok(connection)
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        // A server that has gone is often known before anything is sent into the void.
        if self.connection.as_mut().is_some_and(Connection::is_closed) {
            self.connection = None;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        connection.send(message, &mut self.frame)?;
        // Not after a failure: half a frame may have been sent.
        self.connection = Some(connection);
        Ok(())
    }
}

impl Deliver for Syslog {
    fn deliver(&mut self, alert: &AlertMessage) -> Delivery {
        let message = message(&self.settings, alert);
        match self.send(&message) {
            Ok(()) => Delivery::Done { bytes: self.frame.len() as u64 },
            Err(error) => {
                let told = format!("sending to syslog at {}: {error}", self.settings.target);
                match error.kind() {
                    _ if error.raw_os_error() == Some(MESSAGE_SIZE) => {
                        Delivery::Lost { cause: DropCause::TooLong, error: told }
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        Delivery::Later { cause: DropCause::TimedOut, after: None, error: told }
                    }
                    _ => Delivery::Later { cause: DropCause::Unreachable, after: None, error: told },
                }
            }
        }
    }
}

impl Connection {
    /// Sends a message in the framing of the transport, which is left in `frame`.
    fn send(&mut self, message: &str, frame: &mut Vec<u8>) -> io::Result<()> {
        frame.clear();
        if matches!(self, Self::Tcp(_)) {
            write!(frame, "{} ", message.len())?;
        }
        frame.extend_from_slice(message.as_bytes());
        match self {
            Self::UnixDatagram(socket) => drop(socket.send(frame)?),
            Self::Udp(socket) => drop(socket.send(frame)?),
            Self::Tcp(stream) => stream.write_all(frame)?,
            Self::UnixStream(stream) => {
                frame.push(b'\n');
                stream.write_all(frame)?;
            }
        }
        Ok(())
    }

    /// Whether the other end has closed a stream. Servers of syslog say nothing; if one does, it is not listened to.
    fn is_closed(&mut self) -> bool {
        let mut ignored = [0; 256];
        let read = match self {
            Self::UnixDatagram(_) | Self::Udp(_) => return false,
            Self::UnixStream(stream) => {
                let read = stream.set_nonblocking(true).and_then(|()| stream.read(&mut ignored));
                stream.set_nonblocking(false).and(read)
            }
            Self::Tcp(stream) => {
                let read = stream.set_nonblocking(true).and_then(|()| stream.read(&mut ignored));
                stream.set_nonblocking(false).and(read)
            }
        };
        match read {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// The first address of `target` that `open` can use.
fn first_of<T>(target: &str, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut outcome = Err(io::Error::new(ErrorKind::NotFound, "the name has no address"));
    for address in target.to_socket_addrs()? {
        outcome = open(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The message of an alert, at most as long as the settings allow.
fn message(settings: &SyslogSettings, alert: &AlertMessage) -> String {
    let priority = u16::from(settings.facility.min(23)) * 8 + alert.severity as u16;
    let mut out = format!(
        "<{priority}>1 {} {} {} {} {} ",
        time(alert.time),
        header_field(&settings.hostname, 255),
        header_field(&settings.app_name, 48),
        settings.process_id,
        header_field(&alert.name, 32),
    );
    let begin = out.len();
    let _ = write!(out, "[{}", header_field(&settings.structured_data_id, 32));
    for (name, value) in &alert.params {
        let before = out.len();
        let _ = write!(out, " {name}=\"");
        for c in value.chars() {
            match c {
                '"' | '\\' | ']' => out.extend(['\\', c]),
                c if c.is_control() => out.push(' '),
                c => out.push(c),
            }
        }
        out.push('"');
        if out.len() + 1 > settings.max_bytes {
            out.truncate(before);
            break;
        }
    }
    out.push(']');
    if out.len() > settings.max_bytes {
        out.truncate(begin);
        out.push('-');
    }
    let text: String = alert.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if !text.is_empty() {
        let before = out.len();
        out.push(' ');
        if !text.is_ascii() {
            // Tells that it is UTF-8.
            out.push('\u{feff}');
        }
        if out.len() > settings.max_bytes {
            out.truncate(before);
        } else {
            out.push_str(&text[..text.floor_char_boundary(settings.max_bytes - out.len())]);
        }
    }
    out
}

/// RFC 3339; `-` where that cannot say the year.
fn time(at: Timestamp) -> String {
    let text = time_text(at);
    if text.starts_with(['+', '-']) { "-".to_owned() } else { text }
}

/// Printable ASCII without blanks, or `-`.
fn header_field(text: &str, longest: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

impl std::fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Udp(target) => write!(f, "udp:{target}"),
            Self::Tcp(target) => write!(f, "tcp:{target}"),
        }
    }
}

/// EPROTOTYPE: the socket there is a stream.
const PROTOTYPE: i32 = 91;
/// EMSGSIZE: no datagram is so long.
const MESSAGE_SIZE: i32 = 90;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Severity;

    fn settings(max_bytes: usize) -> SyslogSettings {
        let target = SyslogTarget::Unix("/dev/log".into());
        SyslogSettings { max_bytes, ..SyslogSettings::new(target, "gate", 4_711) }
    }

    fn alert(text: &str) -> AlertMessage {
        AlertMessage {
            time: Timestamp::from_micros(1_700_000_000_123_456),
            name: "alert_raised".to_owned(),
            severity: Severity::Warning,
            params: vec![("class", "scan".to_owned()), ("why", "a \"quoted\" [x] \\ \n".to_owned())],
            text: text.to_owned(),
            json: String::new(),
        }
    }

    #[test]
    fn a_message() {
        assert_eq!(
            message(&settings(2_048), &alert("10.0.0.1 scans\nall")),
            concat!(
                "<132>1 2023-11-14T22:13:20.123456Z gate tapline 4711 alert_raised ",
                r#"[tapline@32473 class="scan" why="a \"quoted\" [x\] \\  "] 10.0.0.1 scans all"#
            )
        );
        let odd =
            SyslogSettings { hostname: "a b\u{e9}".to_owned(), app_name: String::new(), ..settings(80) };
        let far = AlertMessage { time: Timestamp::from_micros(i64::MAX), ..alert("Zürich") };
        assert_eq!(
            message(&odd, &far),
            "<132>1 - ab - 4711 alert_raised [tapline@32473 class=\"scan\"] \u{feff}Zürich"
        );
    }

    proptest! {
        #[test]
        fn messages_are_no_longer_than_allowed(max_bytes in 80_usize..400, text: String, value: String) {
            let mut alert = alert(&text);
            alert.params[0].1 = value;
            let message = message(&settings(max_bytes), &alert);
            prop_assert!(message.len() <= max_bytes);
            prop_assert!(!message.chars().any(char::is_control));
            let data = message.splitn(7, ' ').nth(6).unwrap();
            prop_assert!(data.starts_with("[tapline@32473") || data.starts_with('-'));
        }
    }
}
