//! Which frames to keep: tcpdump's filter language (pcap-filter(7)).
//!
//! libpcap compiles the expression, once per link type that turns up; the program it returns runs here, in safe Rust.

use tapline_record::{Frame, LinkType};

#[cfg(feature = "libpcap")]
use crate::bpf::Program;
use crate::error::CaptureError;

/// A filter expression, and its programs for the link types met so far.
#[derive(Clone, Debug)]
pub struct FrameFilter {
    expression: String,
    #[cfg(feature = "libpcap")]
    programs: Vec<(LinkType, Result<Program, String>)>,
    /// Index of the program used last: one link type follows another rarely.
    #[cfg(feature = "libpcap")]
    latest: usize,
}

#[cfg(feature = "libpcap")]
impl FrameFilter {
    /// Compiles an expression, at first for Ethernet.
    ///
    /// # Errors
    ///
    /// If libpcap does not understand the expression.
    pub fn compile(expression: &str) -> Result<Self, CaptureError> {
        let mut filter = Self { expression: expression.to_owned(), programs: Vec::new(), latest: 0 };
        filter.select(LinkType::ETHERNET);
        match &filter.programs[0].1 {
            Ok(_) => Ok(filter),
            Err(reason) => Err(filter.error(LinkType::ETHERNET, reason)),
        }
    }

    /// Whether a frame passes. Lengths in the expression (`len`, `greater`) mean the frame on the wire; bytes beyond
    /// what was captured match nothing.
    ///
    /// # Errors
    ///
    /// If the expression makes no sense for the frame's link type.
    #[inline]
    pub fn matches(&mut self, frame: &Frame<'_>) -> Result<bool, CaptureError> {
        if self.programs[self.latest].0 != frame.link {
            self.select(frame.link);
        }
        match &self.programs[self.latest].1 {
            Ok(program) => Ok(program.run(frame.bytes, frame.wire_bytes)),
            Err(reason) => Err(self.error(frame.link, reason)),
        }
    }

    #[cold]
    fn select(&mut self, link: LinkType) {
        self.latest = match self.programs.iter().position(|(known, _)| *known == link) {
            Some(index) => index,
            None => {
                self.programs.push((link, Program::compile(&self.expression, link)));
                self.programs.len() - 1
            }
        };
    }

    #[cold]
    fn error(&self, link: LinkType, reason: &str) -> CaptureError {
        CaptureError::Filter { expression: self.expression.clone(), link, reason: reason.to_owned() }
    }
}

#[cfg(not(feature = "libpcap"))]
impl FrameFilter {
    /// Says that this build has no filters.
    ///
    /// # Errors
    ///
    /// Always: the cargo feature `libpcap` is off.
    pub fn compile(expression: &str) -> Result<Self, CaptureError> {
        Err(CaptureError::FilterUnavailable { expression: expression.to_owned() })
    }

    /// Says that this build has no filters.
    ///
    /// # Errors
    ///
    /// Always: the cargo feature `libpcap` is off.
    pub fn matches(&mut self, _frame: &Frame<'_>) -> Result<bool, CaptureError> {
        Err(CaptureError::FilterUnavailable { expression: self.expression.clone() })
    }
}

impl FrameFilter {
    /// The expression as it was given.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }
}
