//! [`View`]: what `top` knows and what its user wants to see.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::pace::Pace;
use super::status_client::FetchError;
use crate::snapshot::Snapshot;

/// Lines that a page key moves.
const PAGE: usize = 10;

/// What `top` knows and what its user wants to see.
#[derive(Debug)]
pub struct View {
    pub(crate) socket: PathBuf,
    pub(crate) color: bool,
    older: Option<Box<Snapshot>>,
    latest: Option<Box<Snapshot>>,
    /// Why the latest is old, if it is.
    pub(crate) waiting: Option<FetchError>,
    pub(crate) pane: Pane,
    pub(crate) paused: bool,
    pub(crate) help: bool,
    /// First line of the incidents.
    pub(crate) scroll: usize,
}

/// A part of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The most important of everything.
    #[default]
    Overview,
    /// Where every packet went.
    Loss,
    /// Sinks, scoring, configuration.
    Sinks,
    /// Incidents.
    Incidents,
}

impl View {
    /// Nothing is known yet.
    pub fn new(socket: &Path, color: bool) -> Self {
        Self {
            socket: socket.to_owned(),
            color,
            older: None,
            latest: None,
            waiting: None,
            pane: Pane::default(),
            paused: false,
            help: false,
            scroll: 0,
        }
    }

    /// Takes what was fetched; while it is paused, nothing.
    pub fn take(&mut self, fetched: Result<Snapshot, FetchError>) {
        if self.paused {
            return;
        }
        match fetched {
            Ok(snapshot) => {
                self.waiting = None;
                // The same one again, of a sensor that is asked faster than it counts, is no news.
                if self.latest.as_ref().is_none_or(|latest| latest.sensor != snapshot.sensor) {
                    self.older = self.latest.replace(Box::new(snapshot));
                }
            }
            Err(error) => self.waiting = Some(error),
        }
    }

    /// Takes a key; breaks when it is over.
    pub fn press(&mut self, key: KeyEvent) -> ControlFlow<()> {
        let last = self.latest().map_or(0, |latest| latest.incidents.len().saturating_sub(1));
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return ControlFlow::Break(());
            }
            KeyCode::Char('q') => return ControlFlow::Break(()),
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Esc => self.help = false,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Tab => self.pane = self.pane.moved(1),
            KeyCode::BackTab => self.pane = self.pane.moved(Pane::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='4') => {
                self.pane = Pane::ALL[digit as usize - '1' as usize];
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll = (self.scroll + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.min(last).saturating_sub(1),
            KeyCode::PageDown => self.scroll = (self.scroll + PAGE).min(last),
            KeyCode::PageUp => self.scroll = self.scroll.min(last).saturating_sub(PAGE),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = last,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    pub(crate) fn latest(&self) -> Option<&Snapshot> {
        self.latest.as_deref()
    }

    /// How fast counters grow, once two snapshots of one life are known.
    pub(crate) fn pace(&self) -> Option<Pace<'_>> {
        Pace::between(self.older.as_deref()?, self.latest.as_deref()?)
    }
}

impl Pane {
    /// In the order of their keys.
    pub(crate) const ALL: [Self; 4] = [Self::Overview, Self::Loss, Self::Sinks, Self::Incidents];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Loss => "loss",
            Self::Sinks => "sinks",
            Self::Incidents => "incidents",
        }
    }

    fn moved(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::IncidentView;

    fn press(view: &mut View, code: KeyCode) -> bool {
        view.press(KeyEvent::from(code)).is_continue()
    }

    #[test]
    fn keys_choose_panes_pause_and_leave() {
        let mut view = View::new(Path::new("a.sock"), false);
        for (key, pane) in [
            (KeyCode::Tab, Pane::Loss),
            (KeyCode::Char('4'), Pane::Incidents),
            (KeyCode::Tab, Pane::Overview),
            (KeyCode::BackTab, Pane::Incidents),
            (KeyCode::Char('9'), Pane::Incidents),
        ] {
            assert!(press(&mut view, key));
            assert_eq!(view.pane, pane);
        }
        view.take(Ok(Snapshot::default()));
        press(&mut view, KeyCode::Char('p'));
        view.take(Err(FetchError::Refused));
        assert!(view.waiting.is_none(), "a paused picture does not change");
        press(&mut view, KeyCode::Char('p'));
        view.take(Err(FetchError::Refused));
        assert!(view.waiting.is_some() && view.latest().is_some());
        view.take(Ok(Snapshot::default()));
        assert!(view.waiting.is_none());
        assert!(!press(&mut view, KeyCode::Char('q')));
        assert!(view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)).is_break());
    }

    #[test]
    fn scrolling_stays_among_the_incidents() {
        let mut view = View::new(Path::new("a.sock"), false);
        assert!(press(&mut view, KeyCode::Down));
        assert_eq!(view.scroll, 0);
        let mut snapshot = Snapshot { incidents: vec![IncidentView::default(); 15], ..Snapshot::default() };
        view.take(Ok(snapshot.clone()));
        for (key, line) in [
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 11),
            (KeyCode::PageDown, 14),
            (KeyCode::Up, 13),
            (KeyCode::Home, 0),
            (KeyCode::End, 14),
        ] {
            press(&mut view, key);
            assert_eq!(view.scroll, line);
        }
        snapshot.incidents.truncate(3);
        snapshot.sensor.now_us = 1;
        view.take(Ok(snapshot));
        press(&mut view, KeyCode::Up);
        assert_eq!(view.scroll, 1);
    }
}
