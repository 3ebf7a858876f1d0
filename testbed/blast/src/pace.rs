//! When the next frames are due.
//!
//! Pure: it is told how much time has passed, in nanoseconds since the first frame.

use std::time::Duration;

/// How fast frames go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the kernel takes them.
    Fastest,
    /// So many a second, evenly but for batches of at most a millisecond.
    PerSecond(u32),
    /// As far apart as in the capture, divided by this factor. Generated frames have no times: they go at once.
    AsCaptured(f64),
}

impl Pace {
    /// How many of the next frames may go now, at most `most`, after `passed` since the beginning; or how long to wait for
    /// the first. `done` frames went before; `due_ns(n)` is the time of the n-th from here in the capture, since its first.
    pub(crate) fn now(
        self,
        passed: Duration,
        done: u64,
        most: usize,
        due_ns: impl Fn(usize) -> u64,
    ) -> Result<usize, Duration> {
        match self {
            Self::Fastest => Ok(most),
            Self::PerSecond(rate) => {
                let rate = u128::from(rate.max(1));
                let due = passed.as_nanos() * rate / NS_PER_S + 1;
                match u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(done) {
                    0 => {
                        let at = (u128::from(done) * NS_PER_S).div_ceil(rate);
                        let wait = at.saturating_sub(passed.as_nanos()).clamp(1, NS_PER_S);
                        // Several to a wake-up where they are close.
                        Err(Duration::from_nanos(wait as u64).max(GRAIN.min(Duration::from_millis(1))))
                    }
                    behind => Ok(most.min(usize::try_from(behind).unwrap_or(usize::MAX))),
                }
            }
            Self::AsCaptured(factor) => {
                let due = |n| Duration::from_nanos((due_ns(n) as f64 / factor) as u64);
                let ready = (0..most).take_while(|n| due(*n) <= passed).count();
                if ready == 0 { Err(due(0) - passed) } else { Ok(ready) }
            }
        }
    }
}

const NS_PER_S: u128 = 1_000_000_000;
/// Shorter naps cost more than they are worth.
const GRAIN: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_to_the_frame() {
        let pace = Pace::PerSecond(1000);
        let at = |us, done| pace.now(Duration::from_micros(us), done, 64, |_| 0);
        assert_eq!(at(0, 0), Ok(1));
        assert_eq!(at(0, 1), Err(Duration::from_millis(1)));
        assert_eq!(at(10_000, 1), Ok(10));
        assert_eq!(at(1_000_000, 1), Ok(64));
        assert_eq!(at(1_000_000, 1000), Ok(1));
    }

    #[test]
    fn a_capture_keeps_its_times() {
        let times = [0u64, 1_000_000, 5_000_000];
        let at = |ms, from: usize| {
            Pace::AsCaptured(2.0).now(Duration::from_millis(ms), 0, times.len() - from, |n| times[from + n])
        };
        assert_eq!(at(0, 0), Ok(1));
        assert_eq!(at(0, 1), Err(Duration::from_micros(500)));
        assert_eq!(at(1, 1), Ok(1));
        assert_eq!(at(3, 1), Ok(2));
    }
}
