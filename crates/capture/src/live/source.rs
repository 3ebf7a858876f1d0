//! One handle on one interface.
//!
//! libpcap makes the ring and walks it; everything that decides what enters the ring is set by us, on its socket, while a
//! filter lets nothing in. So the counters are exact from the first frame on: setting the filter through libpcap would let
//! in what arrives before it stands, and sort it out later without counting.

use std::fmt;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use pcap::{Active, Capture, TimestampType};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tapline_record::{Frame, LinkType, Timestamp};

use crate::bpf::{self, Instruction};
use crate::error::CaptureError;
use crate::filter::FrameFilter;
use crate::live::config::{FanoutConfig, FanoutMode, LiveConfig, TimestampSource};
use crate::live::error::LiveError;
use crate::live::fanout;
use crate::live::interface::{Interface, LiveNotice, State};
use crate::live::socket_option;
use crate::live::statistics::{CaptureStatistics, InterfaceTotals, KernelTotals};
use crate::packet_source::Received;

/// The longest that a call waits for a frame.
pub const MOST_WAIT: Duration = Duration::from_millis(100);

/// Captures one interface, or one handle's share of it.
pub struct LiveSource {
    capture: Capture<Active>,
    interface: Interface,
    link: LinkType,
    snap_bytes: u32,
    block_timeout: Duration,
    /// What the kernel runs once the source is armed.
    program: Box<[Instruction]>,
    /// The filter, where the kernel cannot run it.
    filter: Option<FrameFilter>,
    totals: KernelTotals,
    delivered: u64,
    filtered: u64,
    counters: InterfaceTotals,
    notices: Vec<LiveNotice>,
    folded: Instant,
    stopping: bool,
    /// Since when nothing new can come.
    ending: Option<Instant>,
}

impl LiveSource {
    /// Opens an interface; frames come from now on. With [`LiveConfig::fanout`] this is one handle of the group; to open
    /// all of them at once, so that none takes packets before all can, there is [`open_group`](Self::open_group).
    ///
    /// # Errors
    ///
    /// If the interface is not there, is down, may not be captured, or not as configured.
    pub fn open(config: &LiveConfig) -> Result<Self, LiveError> {
        let mut source = Self::prepare(config)?;
        source.arm()?;
        Ok(source)
    }

    /// Opens all handles of a group; one handle if the configuration has none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_group(config: &LiveConfig) -> Result<Vec<Self>, LiveError> {
        let size = config.fanout.map_or(1, |fanout| fanout.size.max(1));
        let mut sources = (0..size).map(|_| Self::prepare(config)).collect::<Result<Vec<_>, _>>()?;
        sources.iter_mut().try_for_each(Self::arm)?;
        Ok(sources)
    }

    /// Takes at most `budget` frames (at least one) from the ring and calls `each` with every one. If there is none, waits
    /// for the first, at most [`MOST_WAIT`].
    ///
    /// [`Received::Down`] and [`Received::Quiet`] are states, not ends: the source goes on when the interface comes up.
    /// After [`Received::Gone`], the interface having been deleted, nothing comes any more, nor after
    /// [`Received::Ended`].
    ///
    /// # Errors
    ///
    /// If the ring cannot be read although the interface is there and up.
    pub fn receive(&mut self, budget: usize, mut each: impl FnMut(Frame<'_>)) -> Result<Received, LiveError> {
        if self.folded.elapsed() >= FOLD_INTERVAL {
            self.fold()?;
        }
        let began = Instant::now();
        let at_hand = self.dispatch(budget, &mut each);
        if let Ok(1..) = at_hand {
            return at_hand.map(Received::Frames).map_err(|reason| self.read_error(reason));
        }
        if self.stopping && self.is_drained()? {
            return Ok(Received::Ended);
        }
        // When the source ends, what is left comes within one or two block timeouts.
        let wait = match self.ending {
            Some(_) if self.delivered >= self.totals.stored() => SETTLE,
            Some(_) => self.block_timeout.min(MOST_WAIT),
            None => MOST_WAIT,
        };
        let read = match at_hand {
            Ok(_) => match self.wait(wait) {
                Ok(()) => self.dispatch(budget, &mut each),
                // A signal: whoever handles it wants to be called.
                Err(Errno::INTR) => return Ok(Received::Quiet),
                Err(error) => Err(error.to_string()),
            },
            failed => failed,
        };
        if let Ok(taken @ 1..) = read {
            return Ok(Received::Frames(taken));
        }
        let received = match self.interface.state() {
            State::Up => {
                read.map_err(|reason| self.read_error(reason))?;
                Received::Quiet
            }
            State::Down => Received::Down,
            State::Gone if self.is_drained()? => return Ok(Received::Gone),
            State::Gone => Received::Quiet,
        };
        // The socket of an interface in trouble may be ready to say so, again and again.
        if let Some(rest) = wait.checked_sub(began.elapsed())
            && received != Received::Quiet
        {
            thread::sleep(rest);
        }
        Ok(received)
    }

    /// Lets no more packets in. What is in the ring can still be received, until [`Received::Ended`].
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn stop(&mut self) -> Result<(), LiveError> {
        self.attach(&REJECT_ALL)?;
        self.stopping = true;
        Ok(())
    }

    /// What was captured and lost so far.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn statistics(&mut self) -> Result<CaptureStatistics, LiveError> {
        self.fold()?;
        if let Some(counters) = self.interface.counters() {
            self.counters.add(counters);
        }
        Ok(self.known_statistics())
    }

    /// The same, as of the last time that the kernel told: at most a second ago if the source is read from.
    #[must_use]
    pub fn known_statistics(&self) -> CaptureStatistics {
        CaptureStatistics {
            seen: self.totals.seen,
            kernel_dropped: self.totals.dropped,
            ring_full: self.totals.freezes,
            delivered: self.delivered,
            filtered: self.filtered,
            reopened: 0,
            interface: self.counters.total(),
        }
    }

    /// How the frames are to be read.
    #[must_use]
    pub fn link(&self) -> LinkType {
        self.link
    }

    /// What the user should know of the interface.
    #[must_use]
    pub fn notices(&self) -> &[LiveNotice] {
        &self.notices
    }

    /// Whether the kernel runs the filter. It cannot where libpcap makes up a link layer (PPP and the like), nor if the
    /// program is too long; then it runs here, in safe Rust, and what does not pass is counted as `filtered`.
    #[must_use]
    pub fn filters_in_kernel(&self) -> bool {
        self.filter.is_none()
    }

    /// Everything but letting packets in.
    fn prepare(config: &LiveConfig) -> Result<Self, LiveError> {
        let interface = Interface::find(&config.interface)?;
        interface.check(config)?;
        let block_timeout = config.block_timeout.clamp(Duration::from_millis(1), Duration::from_secs(10));
        let refused = |reason| LiveError::Open {
            interface: config.interface.clone(),
            buffer_bytes: config.buffer_bytes,
            reason,
        };
        let capture = Capture::from_device(config.interface.as_str())
            .map(|handle| {
                handle
                    .promisc(config.promiscuous)
                    .snaplen(config.snap_bytes.clamp(1, MOST_SNAP_BYTES) as i32)
                    .buffer_size(i32::try_from(config.buffer_bytes).unwrap_or(i32::MAX))
                    .timeout(block_timeout.as_millis() as i32)
                    .immediate_mode(false)
            })
            .map(|handle| match config.timestamp {
                TimestampSource::Host => handle,
                TimestampSource::Adapter => handle.tstamp_type(TimestampType::Adapter),
                TimestampSource::AdapterUnsynced => handle.tstamp_type(TimestampType::AdapterUnsynced),
            })
            .and_then(Capture::open)
            // A blocking handle would wait for a packet for ever, whatever its timeout.
            .and_then(Capture::setnonblock)
            .map_err(|error| refused(bpf::reason(error)))?;
        let mut source = Self {
            link: bpf::link_type(capture.get_datalink()),
            notices: interface.notices(config),
            capture,
            interface,
            snap_bytes: config.snap_bytes.clamp(1, MOST_SNAP_BYTES),
            block_timeout,
            program: Box::default(),
            filter: None,
            totals: KernelTotals::default(),
            delivered: 0,
            filtered: 0,
            counters: InterfaceTotals::default(),
            folded: Instant::now(),
            stopping: false,
            ending: None,
        };
        source.attach(&REJECT_ALL)?;
        source.compile(config.filter.as_deref())?;
        // libpcap leaves out one of the two times that a loopback frame is seen, but the kernel counts both.
        let incoming_only = !config.outgoing || source.interface.is_loopback();
        match config.fanout {
            Some(fanout) => source.join(fanout, incoming_only)?,
            None if incoming_only => socket_option::ignore_outgoing(source.capture.as_fd())
                .map_err(|error| source.option_error("PACKET_IGNORE_OUTGOING", error))?,
            None => {}
        }
        source.drain()?;
        Ok(source)
    }

    /// Compiles the filter on the handle, which knows where the kernel keeps VLAN tags.
    fn compile(&mut self, expression: Option<&str>) -> Result<(), LiveError> {
        self.program = self.accept_all();
        let Some(expression) = expression else { return Ok(()) };
        let error = |reason| {
            LiveError::Filter(Box::new(CaptureError::Filter {
                expression: expression.to_owned(),
                link: self.link,
                reason,
            }))
        };
        let compiled =
            self.capture.compile(expression, true).map_err(|refused| error(bpf::reason(refused)))?;
        let program = bpf::instructions_of(&compiled).map_err(error)?;
        let cooked = matches!(self.link, LinkType::LINUX_SLL | LinkType::LINUX_SLL2);
        if cooked || program.len() > MOST_KERNEL_INSTRUCTIONS {
            let filter =
                FrameFilter::compile(expression).map_err(|error| LiveError::Filter(Box::new(error)))?;
            self.filter = Some(filter);
        } else {
            self.program = program;
        }
        Ok(())
    }

    /// Also cuts frames in the kernel, so that the ring holds no byte too many.
    fn accept_all(&self) -> Box<[Instruction]> {
        Box::new([Instruction { k: self.snap_bytes, ..REJECT_ALL[0] }])
    }

    fn join(&self, fanout: FanoutConfig, incoming_only: bool) -> Result<(), LiveError> {
        let mode = match fanout.mode {
            FanoutMode::HostPair => libc::PACKET_FANOUT_CBPF,
            FanoutMode::Hash => libc::PACKET_FANOUT_HASH,
            FanoutMode::HashDefragmented => libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_DEFRAG,
        };
        // In a group it is the group that listens to the interface, not the socket.
        let flag = if incoming_only { libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING } else { 0 };
        let mut joined = socket_option::join_fanout(self.capture.as_fd(), fanout.group, (mode | flag) as u16);
        if fanout.mode == FanoutMode::HostPair {
            // The program is the group's: the first handle brings it, the others replace it by the same.
            joined = joined
                .and_then(|()| socket_option::set_fanout_program(self.capture.as_fd(), &fanout::host_pair()));
        }
        joined.map_err(|source| LiveError::Fanout {
            interface: self.interface.name().to_owned(),
            group: fanout.group,
            source,
        })
    }

    /// Throws away what arrived before the filter stood.
    fn drain(&mut self) -> Result<(), LiveError> {
        self.stopping = true;
        while matches!(self.receive(MOST_BUDGET, |_| ())?, Received::Frames(_) | Received::Quiet) {}
        self.stopping = false;
        self.ending = None;
        self.totals = KernelTotals::default();
        self.delivered = 0;
        self.filtered = 0;
        Ok(())
    }

    fn arm(&mut self) -> Result<(), LiveError> {
        if let Some(counters) = self.interface.counters() {
            self.counters.add(counters);
        }
        self.attach(&self.program)
    }

    fn attach(&self, program: &[Instruction]) -> Result<(), LiveError> {
        socket_option::attach_filter(self.capture.as_fd(), program)
            .map_err(|error| self.option_error("SO_ATTACH_FILTER", error))
    }

    /// Hands on what is in the ring; never waits.
    fn dispatch(&mut self, budget: usize, each: &mut impl FnMut(Frame<'_>)) -> Result<usize, String> {
        let Self { capture, link, filter, delivered, filtered, .. } = self;
        let before = *delivered;
        let result = capture.dispatch(Some(budget.clamp(1, MOST_BUDGET)), |packet| {
            let time = packet.header.ts;
            let frame = Frame {
                ts: Timestamp::from_micros(time.tv_sec * 1_000_000 + time.tv_usec),
                link: *link,
                wire_bytes: packet.header.len,
                bytes: packet.data,
            };
            *delivered += 1;
            // An expression without meaning for the link type was refused when the source was opened.
            if filter.as_mut().is_some_and(|filter| !filter.matches(&frame).unwrap_or(true)) {
                *filtered += 1;
            } else {
                each(frame);
            }
        });
        match (*delivered - before) as usize {
            // What was handed on before an error counts; the error comes again.
            0 => result.map_err(bpf::reason),
            taken => Ok(taken),
        }
    }

    /// Waits until the ring has a block, or the socket has something to say.
    fn wait(&self, most: Duration) -> Result<(), Errno> {
        let most = Timespec { tv_sec: most.as_secs() as _, tv_nsec: most.subsec_nanos() as _ };
        poll(&mut [PollFd::new(&self.capture, PollFlags::IN)], Some(&most)).map(|_| ())
    }

    /// Whether all that the kernel put into the ring has been taken out, given that nothing new can come. Does not wait
    /// for ever for what should be there.
    fn is_drained(&mut self) -> Result<bool, LiveError> {
        self.fold()?;
        let since = *self.ending.get_or_insert_with(Instant::now);
        // Not at once, because a packet may be on its way past the old filter on another core.
        let balanced = self.delivered >= self.totals.stored() && since.elapsed() >= SETTLE;
        Ok(balanced || since.elapsed() > self.block_timeout * 4 + MOST_WAIT)
    }

    fn fold(&mut self) -> Result<(), LiveError> {
        self.folded = Instant::now();
        let reading = socket_option::take_statistics(self.capture.as_fd())
            .map_err(|error| self.option_error("PACKET_STATISTICS", error))?;
        self.totals.add(reading);
        Ok(())
    }

    fn read_error(&self, reason: String) -> LiveError {
        LiveError::Read { interface: self.interface.name().to_owned(), reason }
    }

    fn option_error(&self, option: &'static str, source: std::io::Error) -> LiveError {
        LiveError::Option { interface: self.interface.name().to_owned(), option, source }
    }
}

impl fmt::Debug for LiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSource")
            .field("interface", &self.interface)
            .field("link", &self.link)
            .field("statistics", &self.known_statistics())
            .finish_non_exhaustive()
    }
}

/// `ret #0`
const REJECT_ALL: [Instruction; 1] = [Instruction { code: 0x06, if_true: 0, if_false: 0, k: 0 }];
/// libpcap's limit.
const MOST_SNAP_BYTES: u32 = 262_144;
/// `BPF_MAXINSNS`
const MOST_KERNEL_INSTRUCTIONS: usize = 4096;
/// libpcap counts in an int.
const MOST_BUDGET: usize = 1 << 30;
/// The kernel's counters are 32 bits wide.
const FOLD_INTERVAL: Duration = Duration::from_secs(1);
/// Longer than a packet needs from the filter to the counter.
const SETTLE: Duration = Duration::from_millis(2);
