//! [`ControlMeter`]: what the control server counts of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::snapshot::ControlView;

/// Counted where it happens, read for a [`ControlView`].
#[derive(Debug, Default)]
pub(crate) struct ControlMeter {
    connections: AtomicU64,
    requests: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
}

/// Why a connection or a request was refused, or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// More connections than there may be.
    Connections,
    /// The system gave no connection.
    Accept,
    /// The client sent or took too slowly.
    Slow,
    /// No such path or method.
    NotFound,
    /// A query or a body that says nothing.
    BadRequest,
    /// A name for this host that is not its own.
    Host,
    /// A body that is too long.
    TooLarge,
    /// Something is being scored already.
    Busy,
    /// The sensor could not answer.
    Failed,
}

/// An open connection; counted as long as it is kept.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a ControlMeter);

impl ControlMeter {
    pub(crate) fn open(&self) -> Open<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refuse(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn view(&self) -> ControlView {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ControlView {
            connections: count(&self.connections),
            requests: count(&self.requests),
            refused: Refused::ALL
                .iter()
                .zip(&self.refused)
                .map(|(why, n)| (why.name().into(), count(n)))
                .collect(),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Refused {
    /// In the order of their declaration.
    const ALL: [Self; 9] = [
        Self::Connections,
        Self::Accept,
        Self::Slow,
        Self::NotFound,
        Self::BadRequest,
        Self::Host,
        Self::TooLarge,
        Self::Busy,
        Self::Failed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Accept => "accept",
            Self::Slow => "slow",
            Self::NotFound => "not_found",
            Self::BadRequest => "bad_request",
            Self::Host => "host",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_count() {
        let meter = ControlMeter::default();
        for (at, why) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
            for _ in 0..=at {
                meter.refuse(why);
            }
        }
        let view = meter.view();
        assert_eq!(view.refused.len(), Refused::ALL.len());
        assert_eq!(view.refused["connections"], 1);
        assert_eq!(view.refused["failed"], 9);
    }
}
