//! A web server that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use tapline_export::alert_queue::Retries;
use tapline_export::{DropCause, SinkCounters, Webhook, WebhookSettings};

use super::{RETRIES, alert, stopped_while_away, with_sink};

#[derive(Clone, Copy)]
enum Answer {
    Status(&'static str),
    /// Reads the request and says nothing more.
    Hang,
    /// Closes in the middle of the request.
    Close,
}

/// Requests, as head and body, are told to the other side. The last answer is given for ever.
fn serve(answers: &[Answer], requests: Sender<(String, String)>) -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let answers = answers.to_vec();
    // Ends with the test: it waits for requests that do not come.
    thread::spawn(move || {
        let mut answers = answers.iter().copied().chain(std::iter::repeat(*answers.last().unwrap()));
        let mut hanging = Vec::new();
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            while let Some(request) = read_request(&stream) {
                if requests.send(request).is_err() {
                    return;
                }
                match answers.next().unwrap() {
                    Answer::Status(status) => {
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nyes");
                        if stream.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                    Answer::Hang => {
                        hanging.push(stream.try_clone().unwrap());
                        break;
                    }
                    Answer::Close => break,
                }
            }
        }
    });
    address
}

fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut bytes) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            bytes = length.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

fn settings(address: SocketAddr) -> WebhookSettings {
    WebhookSettings {
        retries: Retries { attempts: Some(3), ..RETRIES },
        timeout: Duration::from_secs(20),
        headers: vec![("Authorization".to_owned(), "Bearer secret".to_owned())],
        ..WebhookSettings::new(&format!("http://{address}/hook?x=1"))
    }
}

/// Offers `count` alerts; gives the counters and the requests.
fn post(settings: &WebhookSettings, count: u64) -> SinkCounters {
    let meter = with_sink(
        |meter, alerts, stop| Webhook::new(settings, meter).unwrap().run(&alerts, stop),
        |sender| (0..count).for_each(|number| sender.offer(alert(number))),
    );
    assert_eq!(meter.read().written_rows + meter.read().dropped_rows(), count);
    if let Some(error) = meter.take_error() {
        assert!(!error.contains("secret") && !error.contains("hook"), "{error}");
    }
    meter.read()
}

#[test]
fn alerts_are_posted_as_json() {
    let (sender, requests) = channel();
    let address = serve(&[Answer::Status("200 OK")], sender);
    let counters = post(&settings(address), 5);
    assert_eq!((counters.written_rows, counters.retries, counters.errors), (5, 0, 0));
    for number in 0..5 {
        let (head, body) = requests.recv().unwrap();
        assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        assert!(head.contains("\r\nauthorization: bearer secret\r\n"), "{head}");
        assert_eq!(body, alert(number).json);
    }
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    use Answer::{Close, Status};
    let (sender, requests) = channel();
    let answers = [
        Status("500 Oh"),
        Status("429 Slow\r\nRetry-After: 3600"),
        Status("204 Thanks"),
        Close,
        Status("200 OK"),
    ];
    let counters = post(&settings(serve(&answers, sender)), 3);
    assert_eq!((counters.written_rows, counters.retries, counters.errors), (3, 3, 3));
    let bodies: Vec<_> = requests.try_iter().map(|(_, body)| body).collect();
    let expect: Vec<_> = [0, 0, 0, 1, 1, 2].into_iter().map(|number| alert(number).json.clone()).collect();
    assert_eq!(bodies, expect);
}

#[test]
fn a_server_in_lasting_trouble_loses_alerts() {
    let (sender, _requests) = channel();
    let counters = post(&settings(serve(&[Answer::Status("503 Down")], sender)), 2);
    assert_eq!((counters.dropped_by(DropCause::Refused), counters.retries, counters.errors), (2, 4, 6));
}

#[test]
fn a_refusal_is_final() {
    for status in ["400 Bad", "404 What", "301 Moved\r\nLocation: http://127.0.0.1:1/"] {
        let (sender, requests) = channel();
        let counters = post(&settings(serve(&[Answer::Status(status), Answer::Status("200 OK")], sender)), 2);
        assert_eq!((counters.dropped_by(DropCause::Refused), counters.written_rows), (1, 1), "{status}");
        assert_eq!((counters.retries, requests.try_iter().count()), (0, 2));
    }
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let (sender, _requests) = channel();
    let address = serve(&[Answer::Hang], sender);
    let settings = WebhookSettings { timeout: Duration::from_millis(50), ..settings(address) };
    let counters = post(&settings, 2);
    assert_eq!((counters.dropped_by(DropCause::TimedOut), counters.retries), (2, 4));
}

#[test]
fn what_is_too_long_is_not_sent() {
    let (sender, requests) = channel();
    let address = serve(&[Answer::Status("200 OK")], sender);
    let settings = WebhookSettings { max_bytes: 3, ..settings(address) };
    assert_eq!(post(&settings, 1).dropped_by(DropCause::TooLong), 1);
    assert_eq!(requests.try_iter().count(), 0);
}

#[test]
fn stopped_while_the_server_is_away() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = WebhookSettings { retries: RETRIES, ..settings(address) };
    stopped_while_away(|meter, alerts, stop| Webhook::new(&settings, meter).unwrap().run(&alerts, stop));
}
