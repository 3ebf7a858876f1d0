//! The run: frames from a source, at a pace, into a socket, until a bound; and the account of it.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::Serialize;

use crate::capture_file::CaptureFrames;
use crate::flow_frames::FlowFrames;
use crate::namespace;
use crate::pace::Pace;
use crate::packet_socket::{BATCH, PacketSocket};

/// Whose interfaces may be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Where {
    /// Those of a network namespace that is not the host's, and `lo`.
    #[default]
    OwnNamespace,
    /// Any.
    Anywhere,
}

/// When a run ends at the latest.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Frames that are tried.
    pub frames: u64,
    /// Time from the first frame.
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { frames: 1_000_000, time: Duration::from_secs(10) }
    }
}

/// What became of the frames.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Frames that the kernel accepted for the interface.
    pub sent: u64,
    /// Their bytes, without preamble and checksum.
    pub sent_bytes: u64,
    /// Frames that it refused. Each was tried once.
    pub failed: u64,
    /// The refusals by reason.
    pub failed_by_reason: BTreeMap<String, u64>,
    /// From the first frame to the last.
    pub seconds: f64,
    /// Sent frames per second.
    pub pps: f64,
}

/// An interface to send to.
#[derive(Debug)]
pub struct Blast {
    interface: String,
    socket: PacketSocket,
    report: Report,
}

impl Blast {
    /// Opens an interface.
    ///
    /// # Errors
    ///
    /// If it is not there, is the host's, or the process may not send to it.
    pub fn on(interface: &str, place: Where) -> Result<Self, BlastError> {
        if place == Where::OwnNamespace && interface != "lo" && namespace::is_the_hosts() {
            return Err(BlastError::HostsInterface { interface: interface.to_owned() });
        }
        let open = || -> io::Result<PacketSocket> {
            // Any socket will do to ask for the number of a name.
            let asking =
                rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
            PacketSocket::open(rustix::net::netdevice::name_to_index(&asking, interface)?)
        };
        let socket = open().map_err(|source| BlastError::Open { interface: interface.to_owned(), source })?;
        Ok(Self { interface: interface.to_owned(), socket, report: Report::default() })
    }

    /// Sends the frames of a capture, from the first again after the last, at most `rounds` times.
    ///
    /// # Errors
    ///
    /// If the interface is gone, or the capture has no frames.
    pub fn capture(
        mut self,
        frames: &CaptureFrames,
        rounds: u64,
        pace: Pace,
        bounds: Bounds,
        stop: &AtomicBool,
    ) -> Result<Report, BlastError> {
        let slices = frames.slices();
        if slices.is_empty() {
            return Err(BlastError::NoFrames);
        }
        let all = bounds.frames.min(rounds.saturating_mul(slices.len() as u64));
        self.run(&mut Rounds { frames, slices }, pace, Bounds { frames: all, ..bounds }, stop)
    }

    /// Sends generated frames.
    ///
    /// # Errors
    ///
    /// If the interface is gone.
    pub fn flows(
        mut self,
        frames: &mut FlowFrames,
        pace: Pace,
        bounds: Bounds,
        stop: &AtomicBool,
    ) -> Result<Report, BlastError> {
        self.run(frames, pace, bounds, stop)
    }

    /// Sends what is due until there is an end: of frames, of time, or because somebody says so.
    fn run(
        &mut self,
        source: &mut impl Source,
        pace: Pace,
        bounds: Bounds,
        stop: &AtomicBool,
    ) -> Result<Report, BlastError> {
        let began = Instant::now();
        let mut done = 0;
        while done < bounds.frames && !stop.load(Ordering::Relaxed) {
            let passed = began.elapsed();
            if passed >= bounds.time {
                break;
            }
            let most = BATCH.min(usize::try_from(bounds.frames - done).unwrap_or(BATCH));
            match source.due(pace, passed, done, most) {
                Ok(ready) => {
                    let frames = ready.frames();
                    self.send(frames)?;
                    done += frames.len() as u64;
                }
                Err(wait) => thread::sleep(wait.min(bounds.time - passed).min(MOST_NAP)),
            }
        }
        let mut report = std::mem::take(&mut self.report);
        report.seconds = began.elapsed().as_secs_f64();
        report.pps = report.sent as f64 / report.seconds.max(1e-9);
        Ok(report)
    }

    /// Tries each frame once.
    fn send(&mut self, mut frames: &[IoSlice<'_>]) -> Result<(), BlastError> {
        while !frames.is_empty() {
            let error = match self.socket.send(frames) {
                Ok(accepted) => {
                    self.report.sent += accepted as u64;
                    self.report.sent_bytes +=
                        frames[..accepted].iter().map(|frame| frame.len() as u64).sum::<u64>();
                    frames = &frames[accepted..];
                    continue;
                }
                Err(error) => error,
            };
            match Errno::from_io_error(&error) {
                Some(Errno::INTR) => continue,
                Some(Errno::NXIO | Errno::NODEV) => {
                    return Err(BlastError::Gone {
                        interface: self.interface.clone(),
                        sent: self.report.sent,
                        source: error,
                    });
                }
                // Down, or nobody at the other end: no need to ask a million times a second.
                Some(Errno::NETDOWN | Errno::NOBUFS) => thread::sleep(REFUSED_NAP),
                _ => {}
            }
            self.report.failed += 1;
            *self.report.failed_by_reason.entry(error.to_string()).or_default() += 1;
            frames = &frames[1..];
        }
        Ok(())
    }
}

/// Where frames come from.
trait Source {
    /// The next frames that may go now, at most `most`, after `passed` since the beginning and `done` frames; or how long
    /// to wait for the first.
    fn due(&mut self, pace: Pace, passed: Duration, done: u64, most: usize) -> Result<Ready<'_>, Duration>;
}

/// A capture again and again.
struct Rounds<'a> {
    frames: &'a CaptureFrames,
    slices: Vec<IoSlice<'a>>,
}

impl Source for Rounds<'_> {
    fn due(&mut self, pace: Pace, passed: Duration, done: u64, most: usize) -> Result<Ready<'_>, Duration> {
        let Self { frames, slices } = self;
        let (round, at) = (done / slices.len() as u64, (done % slices.len() as u64) as usize);
        // From one round to the next: as from the first frame to the last, and a little.
        let before_ns = round * (frames.time_ns(slices.len() - 1) + 1_000);
        let due_ns = |n| before_ns + frames.time_ns(at + n);
        let ready = pace.now(passed, done, most.min(slices.len() - at), due_ns)?;
        Ok(Ready::Kept(&slices[at..at + ready]))
    }
}

impl Source for FlowFrames {
    fn due(&mut self, pace: Pace, passed: Duration, done: u64, most: usize) -> Result<Ready<'_>, Duration> {
        let ready = pace.now(passed, done, most, |_| 0)?;
        Ok(Ready::Made(self.next_batch(ready)))
    }
}

/// The next frames.
enum Ready<'a> {
    Kept(&'a [IoSlice<'a>]),
    Made(Vec<IoSlice<'a>>),
}

impl<'a> Ready<'a> {
    fn frames(&self) -> &[IoSlice<'a>] {
        match self {
            Self::Kept(frames) => frames,
            Self::Made(frames) => frames,
        }
    }
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum BlastError {
    /// The interface may be the host's own.
    #[error(
        "{interface} is an interface of the host: make a network namespace (ip netns, unshare --net), or say --force-host"
    )]
    HostsInterface {
        /// Its name.
        interface: String,
    },
    /// The interface cannot be opened.
    #[error("cannot send to {interface} (is it there? has the process CAP_NET_RAW?)")]
    Open {
        /// Its name.
        interface: String,
        /// Why.
        source: io::Error,
    },
    /// The interface was deleted.
    #[error("{interface} is gone after {sent} frames")]
    Gone {
        /// Its name.
        interface: String,
        /// Frames sent before.
        sent: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is nothing to send.
    #[error("the capture has no frames that can be sent")]
    NoFrames,
}

/// The longest that a stop or the end of time waits to be seen.
const MOST_NAP: Duration = Duration::from_millis(20);
const REFUSED_NAP: Duration = Duration::from_micros(100);
