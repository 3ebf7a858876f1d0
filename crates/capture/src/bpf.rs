//! Classic BPF: libpcap compiles, this module runs.
//!
//! It runs programs itself for three reasons: the binding's runner passes the captured length as the length on the
//! wire, so that `greater 1000` would miss frames that a snap length cut; `protochain` jumps backwards, and a hostile
//! packet must not make it run for ever; and a call into C per packet is not free. The machine is that of the BSD
//! Packet Filter paper (McCanne and Jacobson, 1993) with libpcap's MOD and XOR.

use pcap::{BpfProgram, Capture, Linktype};
use tapline_record::LinkType;

/// A compiled filter.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    instructions: Box<[Instruction]>,
}

/// One instruction of the machine, as the kernel knows it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) k: u32,
}

impl Program {
    /// Compiles an expression; on failure returns what libpcap says.
    pub(crate) fn compile(expression: &str, link: LinkType) -> Result<Self, String> {
        let handle = Capture::dead(Linktype(dlt(link))).map_err(reason)?;
        let program = handle.compile(expression, true).map_err(reason)?;
        Ok(Self { instructions: instructions_of(&program)? })
    }

    /// Whether a frame passes.
    #[inline]
    pub(crate) fn run(&self, bytes: &[u8], wire_bytes: u32) -> bool {
        self.execute(bytes, wire_bytes).is_some_and(|accepted| accepted != 0)
    }

    /// The program's return value; `None` if it reads beyond the packet, divides by zero, or does not end.
    fn execute(&self, bytes: &[u8], wire_bytes: u32) -> Option<u32> {
        let mut a = 0u32;
        let mut x = 0u32;
        let mut memory = [0u32; 16];
        let mut at = 0usize;
        for _ in 0..MOST_STEPS {
            let Instruction { code, if_true, if_false, k } = *self.instructions.get(at)?;
            at += 1;
            let branch = |condition: bool| usize::from(if condition { if_true } else { if_false });
            match code {
                // LD, LDX: class, size, mode.
                0x00 => a = k,
                0x20 => a = word(bytes, k)?,
                0x28 => a = half(bytes, k)?,
                0x30 => a = byte(bytes, k)?,
                0x40 => a = word(bytes, x.checked_add(k)?)?,
                0x48 => a = half(bytes, x.checked_add(k)?)?,
                0x50 => a = byte(bytes, x.checked_add(k)?)?,
                0x60 => a = *memory.get(k as usize)?,
                0x80 => a = wire_bytes,
                0x01 => x = k,
                0x61 => x = *memory.get(k as usize)?,
                0x81 => x = wire_bytes,
                0xb1 => x = (byte(bytes, k)? & 0xf) << 2,
                // ST, STX.
                0x02 => *memory.get_mut(k as usize)? = a,
                0x03 => *memory.get_mut(k as usize)? = x,
                // ALU: with K, with X.
                0x04 => a = a.wrapping_add(k),
                0x0c => a = a.wrapping_add(x),
                0x14 => a = a.wrapping_sub(k),
                0x1c => a = a.wrapping_sub(x),
                0x24 => a = a.wrapping_mul(k),
                0x2c => a = a.wrapping_mul(x),
                0x34 => a = a.checked_div(k)?,
                0x3c => a = a.checked_div(x)?,
                0x44 => a |= k,
                0x4c => a |= x,
                0x54 => a &= k,
                0x5c => a &= x,
                0x64 => a = a.checked_shl(k).unwrap_or(0),
                0x6c => a = a.checked_shl(x).unwrap_or(0),
                0x74 => a = a.checked_shr(k).unwrap_or(0),
                0x7c => a = a.checked_shr(x).unwrap_or(0),
                0x84 => a = a.wrapping_neg(),
                0x94 => a = a.checked_rem(k)?,
                0x9c => a = a.checked_rem(x)?,
                0xa4 => a ^= k,
                0xac => a ^= x,
                // JMP. Only JA reaches backwards.
                0x05 => at = at.checked_add_signed(k as i32 as isize)?,
                0x15 => at += branch(a == k),
                0x1d => at += branch(a == x),
                0x25 => at += branch(a > k),
                0x2d => at += branch(a > x),
                0x35 => at += branch(a >= k),
                0x3d => at += branch(a >= x),
                0x45 => at += branch(a & k != 0),
                0x4d => at += branch(a & x != 0),
                // RET, MISC.
                0x06 => return Some(k),
                0x16 => return Some(a),
                0x07 => x = a,
                0x87 => a = x,
                _ => return None,
            }
        }
        None
    }
}

/// The instructions of a program of libpcap's.
pub(crate) fn instructions_of(program: &BpfProgram) -> Result<Box<[Instruction]>, String> {
    // The binding keeps the fields of an instruction to itself, but prints them: code, jt, jf, k.
    let instructions = program.get_instructions().iter();
    let instructions: Option<_> =
        instructions.map(|instruction| Instruction::parse(&instruction.to_string())).collect();
    instructions.ok_or_else(|| "libpcap's program is unreadable".to_owned())
}

impl Instruction {
    fn parse(printed: &str) -> Option<Self> {
        let mut fields = printed.split_ascii_whitespace();
        let instruction = Self {
            code: fields.next()?.parse().ok()?,
            if_true: fields.next()?.parse().ok()?,
            if_false: fields.next()?.parse().ok()?,
            k: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(instruction)
    }
}

#[inline]
fn word(bytes: &[u8], at: u32) -> Option<u32> {
    bytes.get(at as usize..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

#[inline]
fn half(bytes: &[u8], at: u32) -> Option<u32> {
    bytes.get(at as usize..)?.first_chunk().map(|chunk| u32::from(u16::from_be_bytes(*chunk)))
}

#[inline]
fn byte(bytes: &[u8], at: u32) -> Option<u32> {
    bytes.get(at as usize).map(|byte| u32::from(*byte))
}

/// The registry's number of a link type of libpcap's, the reverse of what compiling needs.
#[cfg(target_os = "linux")]
pub(crate) fn link_type(dlt: Linktype) -> LinkType {
    match dlt.0 {
        DLT_RAW => LinkType::RAW,
        11 => LinkType(100),
        other => LinkType(u16::try_from(other).unwrap_or(u16::MAX)),
    }
}

/// libpcap's own number of a link type: the same as in files, but for those whose number differs by system.
fn dlt(link: LinkType) -> i32 {
    match link {
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => DLT_RAW,
        LinkType(100) => 11, // ATM_RFC1483
        LinkType(other) => i32::from(other),
    }
}

/// What libpcap said.
pub(crate) fn reason(error: pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(reason) => reason,
        other => other.to_string(),
    }
}

const DLT_RAW: i32 = if cfg!(target_os = "openbsd") { 14 } else { 12 };

/// Programs hold a few hundred instructions; only loops over header chains take more steps.
const MOST_STEPS: usize = 65_536;
