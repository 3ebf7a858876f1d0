//! The wire with its devices: one thread, one loop.
//!
//! Owns the TAP devices, the span file, the clock, the standard streams and the signals; the [`Fabric`] owns the
//! frames. In come frames, commands and signals; out go frames, the span file and, at the end, a [`Report`]. It never
//! decides about a frame and never waits in any other place than its one call of epoll.
//!
//! **Timing.** The loop sleeps until the next frame is due. `epoll_pwait2` takes that time in nanoseconds, where
//! `epoll_wait` would round to milliseconds, and the timer slack of the thread, 50 us by default, is set to the
//! minimum. With nothing to do it sleeps without end.
//!
//! **Devices that are down.** A device is down until the caller has moved it into its namespace and set it up. Frames
//! to it are dropped and counted. One that is gone for good is no longer watched.
//!
//! **Standard input.** The end of the input stops the wire, so that it never outlives its caller. Answers are written
//! at once; a caller that does not read them stops the wire's loop when the pipe is full.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::config::Config;
use crate::control::{Command, Lines};
use crate::counters::{PortReport, Report};
use crate::fabric::{Fabric, Outlet};
use crate::span::Span;

/// A wire whose devices exist.
#[derive(Debug)]
pub struct Wire {
    fabric: Fabric,
    devices: Devices,
    epoll: OwnedFd,
    /// Held so that epoll goes on watching it; a byte in it says stop.
    _signals: UnixStream,
    lines: Lines,
    start: Instant,
    last_seen_ns: u64,
    flush_at_ns: u64,
    buffer: Vec<u8>,
}

impl Wire {
    /// Creates the span file and the TAP devices, in the network namespace of this process.
    ///
    /// # Errors
    ///
    /// One of them cannot be created.
    pub fn new(config: &Config) -> Result<Self, WireError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(WireError::watch)?;
        let watch = |source: BorrowedFd<'_>, token: u64| {
            epoll::add(&epoll, source, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
                .map_err(WireError::watch)
        };

        let (signals, wake) = UnixStream::pair().map_err(WireError::Watch)?;
        let also_wake = wake.try_clone().map_err(WireError::Watch)?;
        signal_hook::low_level::pipe::register(SIGTERM, wake).map_err(WireError::Watch)?;
        signal_hook::low_level::pipe::register(SIGINT, also_wake).map_err(WireError::Watch)?;
        watch(signals.as_fd(), SIGNAL)?;

        let span = Span::create(&config.span, config.snaplen)
            .map_err(|source| WireError::CreateSpan { path: config.span.clone(), source })?;

        let mut ports = Vec::with_capacity(config.ports.len());
        for (index, port) in config.ports.iter().enumerate() {
            let tap = open_tap(&port.tap).map_err(|source| WireError::Tap {
                tap: port.tap.clone(),
                hint: tap_hint(&source),
                source,
            })?;
            watch(tap.as_fd(), index as u64)?;
            ports.push(Device { name: port.tap.clone(), tap, gone: false, failures: 0, read_errors: 0 });
        }
        // Without it frames are up to 50 us late, which is no reason to refuse.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Ok(Self {
            fabric: Fabric::new(config),
            devices: Devices { ports, span, span_path: config.span.clone() },
            epoll,
            _signals: signals,
            lines: Lines::default(),
            start: Instant::now(),
            last_seen_ns: 0,
            flush_at_ns: 0,
            buffer: vec![0; MAX_FRAME_BYTES],
        })
    }

    /// Says `ready`, forwards frames until it is told to stop, and flushes the span file.
    ///
    /// # Errors
    ///
    /// The span file or an answer cannot be written. What devices do is counted instead.
    pub fn run(mut self) -> Result<Report, WireError> {
        say(format_args!("ready"))?;
        let stdin = io::stdin();
        match epoll::add(&self.epoll, &stdin, epoll::EventData::new_u64(STDIN), epoll::EventFlags::IN) {
            Ok(()) => self.forward(&stdin)?,
            // A plain file or /dev/null: nothing to wait for, it can be read to its end at once.
            Err(Errno::PERM) => while self.obey(&stdin)? {},
            Err(error) => return Err(WireError::watch(error)),
        }
        self.devices.flush()?;
        Ok(self.report())
    }

    fn forward(&mut self, stdin: &io::Stdin) -> Result<(), WireError> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        loop {
            let timeout = self.timeout();
            let events = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok((events, _)) => &*events,
                Err(Errno::INTR) => &[],
                Err(error) => return Err(WireError::watch(error)),
            };
            for event in events {
                let (token, flags) = (event.data.u64(), event.flags);
                match token {
                    SIGNAL => return Ok(()),
                    STDIN => {
                        if !self.obey(stdin)? {
                            return Ok(());
                        }
                    }
                    port => self.read_port(port as usize, flags),
                }
            }
            let now_ns = self.now_ns();
            if self.fabric.next_due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
                self.last_seen_ns = now_ns;
                self.fabric.advance(now_ns, &mut self.devices)?;
            }
            self.flush_in_time(now_ns)?;
        }
    }

    /// Until a frame is due or the span must be flushed; nothing if neither will be.
    fn timeout(&self) -> Option<Timespec> {
        let flush_at_ns = self.devices.span.is_unflushed().then_some(self.flush_at_ns);
        let wake_at_ns = [self.fabric.next_due_ns(), flush_at_ns].into_iter().flatten().min()?;
        let left = Duration::from_nanos(wake_at_ns.saturating_sub(self.now_ns()));
        Timespec::try_from(left).ok()
    }

    fn read_port(&mut self, index: usize, flags: epoll::EventFlags) {
        for _ in 0..READ_BATCH {
            match self.devices.ports[index].tap.recv(&mut self.buffer) {
                Ok(len) => {
                    let now_ns = self.now_ns();
                    self.devices.ports[index].failures = 0;
                    self.last_seen_ns = now_ns;
                    self.fabric.accept(index, now_ns, &self.buffer[..len.min(MAX_FRAME_BYTES)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let failed = error.kind() != io::ErrorKind::WouldBlock
                        || flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
                    if failed && self.devices.ports[index].is_gone_after(&error) {
                        let device = &self.devices.ports[index];
                        complain(format_args!("TAP device {} is gone: {error}", device.name));
                        // It stays open, so this can only fail if it is not watched anyway.
                        let _ = epoll::delete(&self.epoll, &device.tap);
                    }
                    return;
                }
            }
        }
    }

    fn flush_in_time(&mut self, now_ns: u64) -> Result<(), WireError> {
        if !self.devices.span.is_unflushed() {
            self.flush_at_ns = now_ns + FLUSH_NS;
        } else if now_ns >= self.flush_at_ns {
            self.flush_at_ns = now_ns + FLUSH_NS;
            self.devices.flush()?;
        }
        Ok(())
    }

    /// Reads what the standard input has, and does what it says; false if that is to stop.
    fn obey(&mut self, stdin: &io::Stdin) -> Result<bool, WireError> {
        let mut bytes = [0; 4096];
        let len = match rustix::io::read(stdin, &mut bytes) {
            Ok(0) => return Ok(false),
            Ok(len) => len,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(true),
            // A terminal that was taken away: nobody is left who could say stop.
            Err(error) => {
                complain(format_args!("cannot read standard input, stopping: {error}"));
                return Ok(false);
            }
        };
        let mut outcome = Ok(());
        let mut lines = std::mem::take(&mut self.lines);
        let go_on = lines.push(&bytes[..len], |command| {
            match command {
                Ok(Command::Stop) => return false,
                Ok(Command::Advance { by_us }) => {
                    if !self.devices.span.advance(wall_us(), by_us) {
                        complain(format_args!(
                            "cannot advance by {by_us} us: timestamps would leave 32 bits"
                        ));
                    }
                }
                Ok(Command::Idle) => {
                    let age_us = self.now_ns().saturating_sub(self.last_seen_ns) / 1000;
                    outcome = say(format_args!("idle {age_us} {}", self.fabric.in_flight()));
                    return outcome.is_ok();
                }
                Err(error) => complain(format_args!("{error}")),
            }
            true
        });
        self.lines = lines;
        outcome.map(|()| go_on)
    }

    fn report(&self) -> Report {
        let port = |(index, device): (usize, &Device)| PortReport {
            tap: device.name.clone(),
            counters: self.fabric.counters(index),
            read_errors: device.read_errors,
        };
        Report {
            ports: self.devices.ports.iter().enumerate().map(port).collect(),
            span: self.devices.span.counters(),
            flood_copies: self.fabric.flood_copies(),
            macs_not_learned: self.fabric.switch().not_learned(),
            in_flight: self.fabric.in_flight() as u64,
            advanced_us: self.devices.span.offset_us(),
        }
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Why a wire does not run, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// No device.
    #[error("cannot create TAP device {tap} ({hint})")]
    Tap {
        /// Its name.
        tap: String,
        /// What to do.
        hint: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No span file.
    #[error("cannot create span file `{}`", path.display())]
    CreateSpan {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The span file would have a hole.
    #[error("cannot write span file `{}` (it ends before this; is the disk full?)", path.display())]
    WriteSpan {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody hears the answers.
    #[error("cannot write to standard output (give it a reader that stays)")]
    Answer(#[source] io::Error),
    /// epoll or the signal handlers.
    #[error("cannot wait for devices and signals (Linux 5.11 or later is needed)")]
    Watch(#[source] io::Error),
}

impl WireError {
    fn watch(error: Errno) -> Self {
        Self::Watch(error.into())
    }
}

#[derive(Debug)]
struct Devices {
    ports: Vec<Device>,
    span: Span,
    span_path: PathBuf,
}

impl Devices {
    fn flush(&mut self) -> Result<(), WireError> {
        self.span.flush().map_err(|source| self.span_error(source))
    }

    fn span_error(&self, source: io::Error) -> WireError {
        WireError::WriteSpan { path: self.span_path.clone(), source }
    }
}

impl Outlet for Devices {
    type Error = WireError;

    fn record(&mut self, frame: &[u8], vlan: u16) -> Result<(), WireError> {
        self.span.record(wall_us(), frame, vlan).map_err(|source| self.span_error(source))
    }

    fn deliver(&mut self, port: usize, frame: &[u8]) -> bool {
        let device = &self.ports[port];
        loop {
            if device.gone {
                return false;
            }
            match device.tap.send(frame) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.is_ok(),
            }
        }
    }
}

struct Device {
    name: String,
    tap: SyncDevice,
    gone: bool,
    /// Failed reads in a row.
    failures: u32,
    read_errors: u64,
}

impl Device {
    /// Counts a failed read, and says whether there is no use in trying again.
    fn is_gone_after(&mut self, error: &io::Error) -> bool {
        self.read_errors += 1;
        self.failures += 1;
        let detached = error.raw_os_error() == Some(Errno::BADFD.raw_os_error());
        self.gone = detached || self.failures >= MAX_FAILURES;
        self.gone
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("name", &self.name).field("gone", &self.gone).finish_non_exhaustive()
    }
}

/// Whole frames, no header before them, and no offloads: the kernel hands over what would be on a cable, with all
/// checksums made. A persistent TAP device of this name is taken over.
fn open_tap(name: &str) -> io::Result<SyncDevice> {
    let builder = DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state();
    let tap = builder.tx_queue_len(TX_QUEUE_FRAMES).build_sync()?;
    tap.set_nonblocking(true)?;
    Ok(tap)
}

fn tap_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => "needs root or CAP_NET_ADMIN",
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
            "/dev/net/tun is missing: load the kernel module `tun`"
        }
        Some(Errno::BUSY | Errno::EXIST) => {
            "a device of this name is in use: stop its owner or choose another name"
        }
        Some(Errno::INVAL) => "a device of this name exists that is no TAP: choose another name",
        _ => "is /dev/net/tun usable here?",
    }
}

/// Writes one line to standard output, at once.
fn say(line: std::fmt::Arguments<'_>) -> Result<(), WireError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(WireError::Answer)
}

/// Writes one line to standard error; if nobody hears it, the counters still say it.
fn complain(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "tapline-wire: {line}");
}

fn wall_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

const SIGNAL: u64 = u64::MAX;
const STDIN: u64 = u64::MAX - 1;

/// All ports, the signals and the standard input can be ready at once.
const EVENTS: usize = 130;

/// Frames read from one port before the others have their turn.
const READ_BATCH: usize = 64;

/// The largest IP packet with an Ethernet header and a tag: larger than any MTU allows.
const MAX_FRAME_BYTES: usize = 65_535 + 18;

/// Frames that wait in the kernel for this process to read them; twice the default, for bursts. What does not fit is
/// dropped there, and seen in the device's own `tx_dropped` only.
const TX_QUEUE_FRAMES: u32 = 2000;

/// Failed reads in a row after which a device counts as gone.
const MAX_FAILURES: u32 = 100;

const FLUSH_NS: u64 = 1_000_000_000;
