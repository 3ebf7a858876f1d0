//! Pictures of `top`, as plain text.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::{Color, Modifier};
use tapline_control::top::{FetchError, View, draw, picture};
use tapline_control::top_once;

use crate::http::Server;
use crate::samples;

#[test]
fn the_overview_of_an_ordinary_sensor() {
    assert_eq!(picture(&after_two_seconds(), 120, 40), "\
edge-1  tapline 0.1.0  pid 812  up 1:13:25  running  model lstm-7
123.4 k packets/s  1.2 Gbit/s  340 flows/s  3 alerts  12,345 of 400,000 flows live  301.0 MiB of 512.0 MiB  CPU 50 %
lost 0.015 %:  kernel ! 1,200  ring ! 300  shed 0  unaccounted 0  adapter ! 12  rows ! 1
[1 overview] 2 loss  3 sinks  4 incidents    ? help   q quit
interfaces──────────────────────────────────────────────────────────────────────────────────────────────────────────────
name  state     readers  packets/s      bit/s    packets     kernel    adapter   reopened  trouble
eth0  up              2    123.4 k      1.2 G  9,000,000    ! 1,200       ! 12          0
eth1  ! down          1          0          0  1,000,000          0          -          3  it is down: waiting for it to
workers─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
worker  live flows       ring  moved ago
0            6,345        3 %     120 ms
1            6,000       12 %      90 ms
sinks───────────────────────────────────────────────────────────────────────────────────────────────────────────────────
sink       rows/s       rows      bytes       lost     errors      files  last error
rows          350    540,000    1.3 GiB          0          0          5
syslog          0          2    1.9 KiB        ! 1          1          0  udp://log.example:514: network is unreachable
talkers─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
initiator       packets      bytes      flows
10.1.0.7      2,000,000    1.7 GiB      4,000
2001:db8::42    900,000   66.8 MiB        120
incidents───────────────────────────────────────────────────────────────────────────────────────────────────────────────
   number         class        host                 flows   evidence        last  reason
       12  alert  scan T1046   from 10.1.0.99         840      412.5     2 s ago  840 flows to 811 ports of 4 hosts, mos
       11         brute-force  to 10.1.0.20:22          6        7.2  15 min ago  short flows of like size to one port
");
}

#[test]
fn where_every_packet_went() {
    let mut view = after_two_seconds();
    press(&mut view, KeyCode::Char('2'));
    assert_eq!(
        picture(&view, 100, 40),
        "\
edge-1  tapline 0.1.0  pid 812  up 1:13:25  running  model lstm-7
123.4 k packets/s  1.2 Gbit/s  340 flows/s  3 alerts  12,345 of 400,000 flows live  301.0 MiB of 512
lost 0.015 %:  kernel ! 1,200  ring ! 300  shed 0  unaccounted 0  adapter ! 12  rows ! 1
 1 overview [2 loss] 3 sinks  4 incidents    ? help   q quit
packets─────────────────────────────────────────────────────────────────────────────────────────────
stage          cause                 packets  packets/s    of seen
adapter        not taken in time        ! 12          0          -
adapter        dropped                     0          0          -
adapter        damaged                     0          0          -
seen                              10,000,000    123.4 k    100.0 %
kernel         ring full             ! 1,200         50    0.012 %
ring           worker too slow         ! 300          0    0.003 %
shed           given up                    0          0        0 %
filtered       duplicate                   0          0        0 %
filtered       expression             90,000          0    0.900 %
undecodable    truncated               8,000          0    0.080 %
undecodable    unsupported_link            0          0        0 %
on the way                               500          0    0.005 %
processed                          9,900,000    123.4 k     99.0 %
no flow        fragment                9,000          0    0.090 %
live flows                           190,000          0      1.9 %
ended flows                            1,000          0    0.010 %
emitted flows                      9,700,000    123.4 k     97.0 %
unaccounted                                0          0        0 %
workers─────────────────────────────────────────────────────────────────────────────────────────────
worker  live flows       ring  moved ago
0            6,345        3 %     120 ms
1            6,000       12 %      90 ms
threads─────────────────────────────────────────────────────────────────────────────────────────────
thread          CPU time        CPU
reader-eth0-0    212.5 s        0 %
worker-0         190.2 s       50 %
"
    );
}

#[test]
fn sinks_scoring_and_state() {
    let mut view = after_two_seconds();
    press(&mut view, KeyCode::Char('3'));
    assert_eq!(
        picture(&view, 100, 40),
        "\
edge-1  tapline 0.1.0  pid 812  up 1:13:25  running  model lstm-7
123.4 k packets/s  1.2 Gbit/s  340 flows/s  3 alerts  12,345 of 400,000 flows live  301.0 MiB of 512
lost 0.015 %:  kernel ! 1,200  ring ! 300  shed 0  unaccounted 0  adapter ! 12  rows ! 1
 1 overview  2 loss [3 sinks] 4 incidents    ? help   q quit
sinks───────────────────────────────────────────────────────────────────────────────────────────────
sink       rows/s       rows      bytes       lost     errors      files  last error
rows          350    540,000    1.3 GiB          0          0          5
syslog          0          2    1.9 KiB        ! 1          1          0  udp://log.example:514: net
lost rows───────────────────────────────────────────────────────────────────────────────────────────
sink    cause             rows
syslog  unreachable        ! 1
verdicts────────────────────────────────────────────────────────────────────────────────────────────
class            flows    flows/s      share
benign         498,000          0     99.8 %
brute-force        100          0    0.020 %
scan               900          0    0.180 %
state───────────────────────────────────────────────────────────────────────────────────────────────
model          lstm-7, loaded 73 min ago
scoring        1,000 flows without a verdict, 24 held, 70,000 windows
drift          2 inputs are spread otherwise than in training
emergency      none, 1 before
configuration  loaded 73 min ago, 0 reloads, 0 refused
control        260 requests, 2 refused, connections open: 1
"
    );
}

/// Columns that have no room are left out from the right, numbers are never cut.
#[test]
fn incidents_on_a_small_screen() {
    let mut view = after_two_seconds();
    press(&mut view, KeyCode::Char('4'));
    assert_eq!(
        picture(&view, 60, 12),
        "\
edge-1  tapline 0.1.0  pid 812  up 1:13:25  running  model l
123.4 k packets/s  1.2 Gbit/s  340 flows/s  3 alerts  12,345
lost 0.015 %:  kernel ! 1,200  ring ! 300  shed 0  unaccount
 1 overview  2 loss  3 sinks [4 incidents]   ? help   q quit
incidents───────────────────────────────────────────────────
   number         class        host                 flows
       12  alert  scan T1046   from 10.1.0.99         840
           840 flows to 811 ports of 4 hosts, most unanswere
       11         brute-force  to 10.1.0.20:22          6
           short flows of like size to one port
"
    );
    press(&mut view, KeyCode::Down);
    let scrolled = picture(&view, 60, 12);
    assert!(!scrolled.contains("scan T1046") && scrolled.contains("brute-force"), "{scrolled}");
}

#[test]
fn a_sensor_that_is_not_there_is_waited_for() {
    let mut view = View::new(Path::new("/run/tapline/tapline.sock"), false);
    assert_eq!(picture(&view, 80, 5), "asking /run/tapline/tapline.sock\n");
    view.take(Err(FetchError::NoSocket));
    assert_eq!(
        picture(&view, 80, 5),
        "waiting for /run/tapline/tapline.sock
there is no socket: the sensor does not run, or control.socket is another path
q quit
"
    );
}

#[test]
fn a_sensor_that_restarts_leaves_its_figures_and_comes_back_without_rates() {
    let mut view = after_two_seconds();
    view.take(Err(FetchError::Refused));
    let away = picture(&view, 120, 40);
    assert_eq!(
        away.lines().nth(1),
        Some("waiting for /run/tapline/tapline.sock: nobody answers: the sensor is gone")
    );
    assert!(away.contains("9,000,000"), "{away}");

    let mut restarted = samples::ordinary();
    restarted.sensor.pid += 1;
    restarted.sensor.now_us += 5_000_000;
    restarted.sensor.started_us = restarted.sensor.now_us - 1_000_000;
    view.take(Ok(restarted));
    let back = picture(&view, 120, 40);
    assert!(back.contains("up 0:00:01") && back.contains("\n- packets/s  - "), "{back}");
}

#[test]
fn losses_are_red_where_colours_are_allowed_and_bold_everywhere() {
    for color in [true, false] {
        let mut view = View::new(Path::new("a.sock"), color);
        view.take(Ok(samples::ordinary()));
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let marks = terminal.backend().buffer().content().iter().filter(|cell| cell.symbol() == "!");
        let mut seen = 0;
        for mark in marks {
            seen += 1;
            assert!(mark.modifier.contains(Modifier::BOLD));
            assert_eq!(mark.fg, if color { Color::Red } else { Color::Reset });
        }
        assert!(seen > 4, "{seen}");
    }
}

#[test]
fn any_snapshot_can_be_drawn_on_any_screen() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..25 {
        let mut view = View::new(Path::new("a.sock"), rng.bool());
        view.take(Ok(samples::odd(&mut rng)));
        view.take(Ok(samples::odd(&mut rng)));
        if rng.bool() {
            press(&mut view, KeyCode::Char('?'));
        }
        for pane in '1'..='4' {
            press(&mut view, KeyCode::Char(pane));
            press(&mut view, KeyCode::Down);
            let drawn = picture(&view, rng.u16(0..150), rng.u16(0..60));
            assert!(!drawn.contains('\u{1b}'), "what a host's name holds must not reach the terminal");
        }
    }
}

#[test]
fn help_lies_over_the_picture() {
    let mut view = after_two_seconds();
    press(&mut view, KeyCode::Char('?'));
    let helped = picture(&view, 120, 40);
    assert!(helped.contains("p, space     pause, go on"), "{helped}");
    press(&mut view, KeyCode::Esc);
    assert_eq!(picture(&view, 120, 40), picture(&after_two_seconds(), 120, 40));
}

/// What a server sends is what top shows.
#[test]
fn once_shows_a_running_sensor() {
    let server = Server::start(samples::ordinary());
    let shown = top_once(&server.socket, Duration::ZERO).unwrap();
    assert!(shown.starts_with("edge-1  tapline 0.1.0  pid 812  up "), "{shown}");
    assert!(shown.contains("lost 0.015 %:  kernel ! 1,200  ring ! 300  shed 0  unaccounted 0"), "{shown}");
    let nowhere = top_once(Path::new("/nonexistent/a.sock"), Duration::ZERO).unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "cannot ask the sensor at /nonexistent/a.sock: there is no socket: the sensor does not run, or \
         control.socket is another path"
    );
}

fn press(view: &mut View, key: KeyCode) {
    assert!(view.press(KeyEvent::from(key)).is_continue());
}

/// The ordinary sensor, and as it was two seconds before.
fn after_two_seconds() -> View {
    let newer = samples::ordinary();
    let mut older = newer.clone();
    older.sensor.now_us -= 2_000_000;
    older.packets.seen -= 246_800;
    older.packets.processed -= 246_800;
    older.packets.in_emitted_flows -= 246_800;
    older.packets.kernel_dropped -= 100;
    older.packets.in_flight += 100;
    older.flows.opened -= 680;
    older.interfaces[0].seen_pkts -= 246_800;
    older.interfaces[0].seen_bytes -= 300_000_000;
    older.sinks[0].written_rows -= 700;
    older.cpu_seconds.insert("worker-0".into(), 189.25);
    let mut view = View::new(Path::new("/run/tapline/tapline.sock"), false);
    view.take(Ok(older));
    view.take(Ok(newer));
    view
}
