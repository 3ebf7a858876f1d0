//! Files and interfaces alike: frames by the batch.

use tapline_record::Frame;

use crate::capture_set::CaptureSet;
use crate::error::CaptureError;
#[cfg(all(feature = "libpcap", target_os = "linux"))]
use crate::live::LiveSupervisor;

/// Where frames come from.
#[derive(Debug)]
pub enum PacketSource {
    /// Capture files, merged in time order.
    Captures(Box<CaptureSet>),
    /// An interface.
    #[cfg(all(feature = "libpcap", target_os = "linux"))]
    Live(Box<LiveSupervisor>),
}

/// What came of asking for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many frames were taken, at least one. (A filter may have kept some of them.)
    Frames(usize),
    /// None came in time; ask again.
    Quiet,
    /// The interface is down; ask again.
    Down,
    /// The interface is not there (any more), or cannot be opened.
    Gone,
    /// There will be no more.
    Ended,
}

impl PacketSource {
    /// Takes at most `budget` frames (at least one) and calls `each` with every one. An interface is waited for a tenth of
    /// a second at most; files are not waited for, and end.
    ///
    /// # Errors
    ///
    /// What [`CaptureSet::next`] says of a file; the frames before it have been handed on, and asking again goes on with
    /// the other files. An interface has no errors, only states.
    pub fn receive(
        &mut self,
        budget: usize,
        mut each: impl FnMut(Frame<'_>),
    ) -> Result<Received, CaptureError> {
        match self {
            Self::Captures(captures) => {
                let budget = budget.max(1);
                for taken in 0..budget {
                    match captures.next() {
                        Some(frame) => each(frame?),
                        None if taken == 0 => return Ok(Received::Ended),
                        None => return Ok(Received::Frames(taken)),
                    }
                }
                Ok(Received::Frames(budget))
            }
            #[cfg(all(feature = "libpcap", target_os = "linux"))]
            Self::Live(supervisor) => Ok(supervisor.receive(budget, each)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture_set::ReadOptions;
    use crate::sample::{self, Packet};

    #[test]
    fn files_come_in_batches_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good.pcap");
        let packets: Vec<_> = (1..=5).map(|n| Packet::new(u64::from(n), n, 60)).collect();
        std::fs::write(&good, sample::plain_pcap(&packets)).unwrap();
        let captures = CaptureSet::open(&[good], &ReadOptions::default()).unwrap();
        let mut source = PacketSource::Captures(Box::new(captures));

        let mut seen = 0;
        let mut batches = Vec::new();
        loop {
            match source.receive(2, |frame| seen += usize::from(frame.bytes.len() == 60)).unwrap() {
                Received::Frames(count) => batches.push(count),
                other => {
                    assert_eq!(other, Received::Ended);
                    break;
                }
            }
        }
        assert_eq!((seen, batches), (5, vec![2, 2, 1]));
        assert_eq!(source.receive(0, |_| ()).unwrap(), Received::Ended);
    }
}
