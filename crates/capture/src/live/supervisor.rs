//! One interface, for as long as the program runs: whatever happens to it, it is opened again.

use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use tapline_record::Frame;

use crate::live::config::LiveConfig;
use crate::live::error::LiveError;
use crate::live::interface::{Interface, LiveNotice};
use crate::live::source::{LiveSource, MOST_WAIT};
use crate::live::statistics::CaptureStatistics;
use crate::packet_source::Received;

/// A [`LiveSource`] that outlives its interface.
///
/// An interface that is not there or down is looked for every 100 ms; an opening that fails otherwise is tried again
/// after 100 ms, then after twice as long each time, at most 5 s. The right to capture is needed at each opening.
#[derive(Debug)]
pub struct LiveSupervisor {
    config: LiveConfig,
    source: Option<LiveSource>,
    /// What the sources before this one counted.
    past: CaptureStatistics,
    trouble: Option<LiveError>,
    next_try: Instant,
    backoff: Duration,
    opened: bool,
    stopping: bool,
}

impl LiveSupervisor {
    /// Opens an interface.
    ///
    /// # Errors
    ///
    /// As [`LiveSource::open`]: at the start nothing is waited for.
    pub fn open(config: &LiveConfig) -> Result<Self, LiveError> {
        Ok(Self::of(config, Some(LiveSource::open(config)?)))
    }

    /// Opens all handles of an interface's fanout group; one if the configuration has none.
    ///
    /// # Errors
    ///
    /// As [`LiveSource::open_group`].
    pub fn open_group(config: &LiveConfig) -> Result<Vec<Self>, LiveError> {
        let sources = LiveSource::open_group(config)?;
        Ok(sources.into_iter().map(|source| Self::of(config, Some(source))).collect())
    }

    /// Opens an interface that need not be there, or up, yet.
    ///
    /// # Errors
    ///
    /// As [`LiveSource::open`], but for an absent interface.
    pub fn open_or_wait(config: &LiveConfig) -> Result<Self, LiveError> {
        match LiveSource::open(config) {
            Ok(source) => Ok(Self::of(config, Some(source))),
            Err(error) if error.is_absence() => {
                let mut waiting = Self::of(config, None);
                waiting.trouble = Some(error);
                Ok(waiting)
            }
            Err(error) => Err(error),
        }
    }

    fn of(config: &LiveConfig, source: Option<LiveSource>) -> Self {
        Self {
            config: config.clone(),
            opened: source.is_some(),
            source,
            past: CaptureStatistics::default(),
            trouble: None,
            next_try: Instant::now(),
            backoff: LEAST_BACKOFF,
            stopping: false,
        }
    }

    /// As [`LiveSource::receive`], but [`Received::Gone`] is a state too: the interface comes back, perhaps. Never fails;
    /// [`trouble`](Self::trouble) says why nothing comes.
    pub fn receive(&mut self, budget: usize, each: impl FnMut(Frame<'_>)) -> Received {
        let Some(source) = &mut self.source else { return self.reopen() };
        match source.receive(budget, each) {
            Ok(Received::Gone) => {
                let interface = self.config.interface.clone();
                self.retire(LiveError::NoSuchInterface { interface });
                if self.stopping { Received::Ended } else { Received::Gone }
            }
            Ok(Received::Down) if !matches!(self.trouble, Some(LiveError::Down { .. })) => {
                self.trouble = Some(LiveError::Down { interface: self.config.interface.clone() });
                Received::Down
            }
            Ok(Received::Down) => Received::Down,
            Ok(received) => {
                self.trouble = None;
                received
            }
            Err(error) => {
                self.retire(error);
                if self.stopping { Received::Ended } else { Received::Gone }
            }
        }
    }

    /// Lets no more packets in; what is in the ring still comes, then [`Received::Ended`].
    pub fn stop(&mut self) {
        self.stopping = true;
        if let Some(source) = &mut self.source
            && let Err(error) = source.stop()
        {
            self.retire(error);
        }
    }

    /// What was captured and lost since the first opening.
    pub fn statistics(&mut self) -> CaptureStatistics {
        let mut total = self.past;
        if let Some(source) = &mut self.source {
            total += source.statistics().unwrap_or_else(|_| source.known_statistics());
        }
        total
    }

    /// Why nothing comes at present, if anything is wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<&LiveError> {
        self.trouble.as_ref()
    }

    /// What the user should know of the interface as it is now.
    #[must_use]
    pub fn notices(&self) -> &[LiveNotice] {
        self.source.as_ref().map_or(&[], LiveSource::notices)
    }

    /// What is captured, and how.
    #[must_use]
    pub fn config(&self) -> &LiveConfig {
        &self.config
    }

    /// Gives the source up, and keeps what it counted.
    fn retire(&mut self, why: LiveError) {
        if let Some(mut source) = self.source.take() {
            self.past += source.statistics().unwrap_or_else(|_| source.known_statistics());
        }
        self.trouble = Some(why);
        self.next_try = Instant::now() + LEAST_BACKOFF;
    }

    /// Opens the interface if it is time to, or waits.
    fn reopen(&mut self) -> Received {
        if self.stopping {
            return Received::Ended;
        }
        let rest = self.next_try.saturating_duration_since(Instant::now());
        if !rest.is_zero() {
            thread::sleep(rest.min(MOST_WAIT));
            return self.absence();
        }
        // An interface that is not there costs no more than the question.
        let opened = Interface::find(&self.config.interface).and_then(|_| LiveSource::open(&self.config));
        match opened {
            Ok(source) => {
                self.past.reopened += u64::from(mem::replace(&mut self.opened, true));
                self.source = Some(source);
                self.trouble = None;
                self.backoff = LEAST_BACKOFF;
                Received::Quiet
            }
            Err(error) => {
                let wait = if error.is_absence() {
                    LEAST_BACKOFF
                } else {
                    let longer = (self.backoff * 2).min(MOST_BACKOFF);
                    mem::replace(&mut self.backoff, longer)
                };
                self.next_try = Instant::now() + wait;
                self.trouble = Some(error);
                self.absence()
            }
        }
    }

    fn absence(&self) -> Received {
        if matches!(self.trouble, Some(LiveError::Down { .. })) { Received::Down } else { Received::Gone }
    }
}

const LEAST_BACKOFF: Duration = Duration::from_millis(100);
const MOST_BACKOFF: Duration = Duration::from_secs(5);
