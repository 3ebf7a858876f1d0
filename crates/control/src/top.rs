//! `top`: a running sensor on a screen.
//!
//! In: the status of a sensor, once a second, through its socket; keys. Out: a picture. A sensor that is away is waited for.
//! The picture is a function of the [`View`] alone: [`draw`] reads no clock and asks nobody.

mod amount;
mod draw;
mod pace;
mod part;
mod status_client;
mod view;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use thiserror::Error;

pub use draw::draw;
pub use status_client::{FetchError, fetch};
pub use view::{Pane, View};

use crate::snapshot::Snapshot;

/// How often the sensor is asked: it takes a snapshot once a second.
const EVERY: Duration = Duration::from_secs(1);
/// How long a key waits at most.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// Silence that is worth a word.
const SILENCE: Duration = Duration::from_secs(4);
/// Size of a picture that goes to a file or a pipe.
const ONCE_COLUMNS: u16 = 120;
const ONCE_LINES: u16 = 60;

/// What `top` is to show, and how.
#[derive(Clone, Debug)]
pub struct TopSettings {
    /// The sensor's socket.
    pub socket: PathBuf,
    /// One picture as plain text; without a terminal it is the only way.
    pub once: bool,
    /// Whether colours may be used.
    pub color: bool,
}

/// Why there is nothing to see.
#[derive(Debug, Error)]
pub enum TopError {
    /// The sensor could not be asked, and there was no time to wait.
    #[error("cannot ask the sensor at {}: {source}", .socket.display())]
    Fetch {
        /// Its socket.
        socket: PathBuf,
        /// Why not.
        source: FetchError,
    },
    /// The terminal failed.
    #[error("cannot use the terminal: {0}; `tapline top --once` needs none")]
    Terminal(#[source] io::Error),
    /// Standard output failed.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
}

impl TopSettings {
    /// A screen in colours, unless `NO_COLOR` is set.
    pub fn new(socket: PathBuf) -> Self {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { socket, once: false, color }
    }
}

/// Shows a sensor until somebody presses q; or once.
///
/// # Errors
///
/// [`TopError`]. On a screen, a sensor that cannot be asked is none: it is waited for.
pub fn top(settings: &TopSettings) -> Result<(), TopError> {
    let stdout = io::stdout();
    if settings.once || !stdout.is_terminal() {
        let text = top_once(&settings.socket, EVERY)?;
        return match stdout.lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(TopError::Write(error)),
            _ => Ok(()),
        };
    }
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let shown = show(&mut terminal, settings);
    let restored = ratatui::try_restore();
    shown.and(restored).map_err(TopError::Terminal)
}

/// One picture as lines of text; rates are those between now and `rates_over` later.
///
/// # Errors
///
/// Fails if the sensor cannot be asked now.
pub fn top_once(socket: &Path, rates_over: Duration) -> Result<String, TopError> {
    let failed = |source| TopError::Fetch { socket: socket.to_owned(), source };
    let mut view = View::new(socket, false);
    view.take(Ok(fetch(socket).map_err(failed)?));
    thread::sleep(rates_over);
    view.take(fetch(socket));
    Ok(picture(&view, ONCE_COLUMNS, ONCE_LINES))
}

/// What [`draw`] makes of a view, as lines of text without blanks at their ends.
pub fn picture(view: &View, columns: u16, lines: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, lines));
    let Ok(_) = terminal.draw(|frame| draw(frame, view));
    text_of(terminal.backend().buffer())
}

fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(buffer.area.width).max(1)) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn show(terminal: &mut ratatui::DefaultTerminal, settings: &TopSettings) -> io::Result<()> {
    let fetched = fetch_for_ever(settings.socket.clone())?;
    let mut view = View::new(&settings.socket, settings.color);
    let mut heard = Instant::now();
    let mut changed = true;
    loop {
        for status in fetched.try_iter() {
            view.take(status);
            heard = Instant::now();
            changed = true;
        }
        if heard.elapsed() > SILENCE {
            view.take(Err(FetchError::Silent));
            heard = Instant::now();
            changed = true;
        }
        if changed {
            terminal.draw(|frame| draw(frame, &view))?;
            changed = false;
        }
        if event::poll(KEYS_EVERY)? {
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    if view.press(key).is_break() {
                        return Ok(());
                    }
                    changed = true;
                }
                Event::Resize(..) => changed = true,
                _ => {}
            }
        }
    }
}

/// Asks in a thread of its own, so that a sensor that hangs does not stop the keys. The thread ends after the receiver.
fn fetch_for_ever(socket: PathBuf) -> io::Result<Receiver<Result<Snapshot, FetchError>>> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new().name("top-fetch".into()).spawn(move || {
        while sender.send(fetch(&socket)).is_ok() {
            thread::sleep(EVERY);
        }
    })?;
    Ok(receiver)
}
