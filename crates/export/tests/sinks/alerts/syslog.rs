//! Syslog over its transports.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

use tapline_export::{DropCause, Syslog, SyslogSettings, SyslogTarget};

use super::{RETRIES, alert, message, stopped_while_away, until, with_sink};

fn settings(target: SyslogTarget) -> SyslogSettings {
    SyslogSettings { retries: RETRIES, ..SyslogSettings::new(target, "gate", 7) }
}

#[test]
fn udp() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = SyslogTarget::Udp(server.local_addr().unwrap().to_string());
    let meter = with_sink(
        |meter, alerts, stop| Syslog::new(settings(target), meter).run(&alerts, stop),
        |sender| {
            let mut datagram = [0; 4_096];
            for number in 0..20 {
                sender.offer(alert(number));
                let bytes = server.recv(&mut datagram).unwrap();
                assert_eq!(std::str::from_utf8(&datagram[..bytes]).unwrap(), message(number));
            }
        },
    );
    let counters = meter.read();
    assert_eq!((counters.written_rows, counters.errors, counters.reopened), (20, 0, 0));
    assert_eq!(counters.written_bytes, (0..20).map(|number| message(number).len() as u64).sum::<u64>());
}

#[test]
fn a_datagram_that_is_too_long_is_lost_alone() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = SyslogTarget::Udp(server.local_addr().unwrap().to_string());
    let settings = SyslogSettings { max_bytes: 100_000, ..settings(target) };
    let meter = with_sink(
        |meter, alerts, stop| Syslog::new(settings, meter).run(&alerts, stop),
        |sender| {
            let mut long = (*alert(0)).clone();
            long.text = "x".repeat(90_000);
            sender.offer(long.into());
            sender.offer(alert(1));
            let mut datagram = [0; 4_096];
            let bytes = server.recv(&mut datagram).unwrap();
            assert_eq!(std::str::from_utf8(&datagram[..bytes]).unwrap(), message(1));
        },
    );
    assert_eq!((meter.read().written_rows, meter.read().dropped_by(DropCause::TooLong)), (1, 1));
}

#[test]
fn a_unix_socket_that_comes_late_and_goes_between() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let target = SyslogTarget::Unix(path.clone());
    let meter = with_sink(
        |meter, alerts, stop| Syslog::new(settings(target), meter).run(&alerts, stop),
        |sender| {
            let mut datagram = [0; 4_096];
            for number in 0..3 {
                sender.offer(alert(number));
                // Nobody there yet, or no longer.
                let errors = sender.meter().read().errors;
                until(|| sender.meter().read().errors > errors);
                let server = UnixDatagram::bind(&path).unwrap();
                let bytes = server.recv(&mut datagram).unwrap();
                assert_eq!(std::str::from_utf8(&datagram[..bytes]).unwrap(), message(number));
                until(|| sender.meter().read().written_rows == number + 1);
                drop(server);
                std::fs::remove_file(&path).unwrap();
            }
        },
    );
    let counters = meter.read();
    assert_eq!((counters.written_rows, counters.dropped_rows(), counters.reopened), (3, 0, 2));
}

#[test]
fn a_unix_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let target = SyslogTarget::Unix(path);
    let meter = with_sink(
        |meter, alerts, stop| Syslog::new(settings(target), meter).run(&alerts, stop),
        |sender| {
            sender.offer(alert(0));
            sender.offer(alert(1));
            let lines = BufReader::new(server.accept().unwrap().0).lines().take(2).map(Result::unwrap);
            assert!(lines.eq([message(0), message(1)]));
        },
    );
    assert_eq!(meter.read().written_rows, 2);
}

/// `<bytes> <message>`.
fn octet_counted(stream: &mut TcpStream) -> String {
    let mut bytes = 0;
    loop {
        let mut digit = [0];
        stream.read_exact(&mut digit).unwrap();
        match digit[0] {
            b' ' => break,
            digit => bytes = bytes * 10 + usize::from(digit - b'0'),
        }
    }
    let mut message = vec![0; bytes];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

#[test]
fn tcp_counts_octets_and_connects_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = SyslogTarget::Tcp(server.local_addr().unwrap().to_string());
    let meter = with_sink(
        |meter, alerts, stop| Syslog::new(settings(target), meter).run(&alerts, stop),
        |sender| {
            for number in (0..6).step_by(2) {
                sender.offer(alert(number));
                let (mut stream, _) = server.accept().unwrap();
                assert_eq!(octet_counted(&mut stream), message(number));
                sender.offer(alert(number + 1));
                assert_eq!(octet_counted(&mut stream), message(number + 1));
                // The server goes away; the next alert finds out before it is sent.
            }
        },
    );
    let counters = meter.read();
    assert_eq!((counters.written_rows, counters.dropped_rows(), counters.reopened), (6, 0, 2));
}

#[test]
fn stopped_while_the_server_is_away() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    stopped_while_away(|meter, alerts, stop| {
        Syslog::new(settings(SyslogTarget::Tcp(address.to_string())), meter).run(&alerts, stop);
    });
}
