//! The program that divides packets among the handles of a group.
//!
//! Classic BPF, run by the kernel on each packet; its result modulo the number of handles is the handle. It starts at
//! the network header, wherever the link layer ends, and reads the protocol from the packet's metadata, where the outer
//! VLAN tag is gone already. Bytes that are not there end it with 0.

use crate::bpf::Instruction;

/// Hashes the pair of IP addresses: the exclusive or of all their words is the same in both directions.
pub(crate) fn host_pair() -> Vec<Instruction> {
    let mut program = vec![statement(LOAD_HALF, PROTOCOL)];
    program.extend(addresses(0));
    for tag in [0x8100, 0x88a8] {
        // What follows an inner tag: 2 bytes of tag, then the protocol.
        let mut inner = vec![statement(LOAD_HALF, NETWORK + 2)];
        inner.extend(addresses(4));
        inner.push(statement(RETURN, 0));
        program.extend(when(tag, inner));
    }
    // A PPPoE session: 6 bytes, then PPP's own protocol number.
    let mut session = vec![statement(LOAD_HALF, NETWORK + 6)];
    session.extend(when(0x0021, hash(8 + 12, 2)));
    session.extend(when(0x0057, hash(8 + 8, 8)));
    session.push(statement(RETURN, 0));
    program.extend(when(0x8864, session));
    program.push(statement(RETURN, 0));
    program
}

/// If the accumulator holds the protocol of IPv4 or IPv6: the hash of the header `at` bytes into the network layer.
fn addresses(at: u32) -> Vec<Instruction> {
    [when(0x0800, hash(at + 12, 2)), when(0x86dd, hash(at + 8, 8))].concat()
}

/// `block`, which must return, if the accumulator is `protocol`.
fn when(protocol: u32, block: Vec<Instruction>) -> Vec<Instruction> {
    let over = u8::try_from(block.len()).expect("the blocks above are shorter than 256 instructions");
    let mut tested = vec![Instruction { code: JUMP_IF_EQUAL, if_true: 0, if_false: over, k: protocol }];
    tested.extend(block);
    tested
}

/// Returns a hash of `words` words from `at` bytes into the network layer.
fn hash(at: u32, words: u32) -> Vec<Instruction> {
    let mut block = vec![statement(LOAD_WORD, NETWORK + at)];
    for word in 1..words {
        block.push(statement(TO_X, 0));
        block.push(statement(LOAD_WORD, NETWORK + at + 4 * word));
        block.push(statement(XOR_X, 0));
    }
    // Fibonacci hashing: neighbouring addresses part.
    block.push(statement(MULTIPLY, 0x9e37_79b1));
    block.push(statement(SHIFT_RIGHT, 16));
    block.push(statement(RETURN_A, 0));
    block
}

fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, k }
}

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_IF_EQUAL: u16 = 0x15;
const TO_X: u16 = 0x07;
const XOR_X: u16 = 0xac;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const RETURN: u16 = 0x06;
const RETURN_A: u16 = 0x16;

/// `SKF_NET_OFF`: offsets from here on count from the network header.
const NETWORK: u32 = libc::SKF_NET_OFF as u32;
/// `SKF_AD_OFF + SKF_AD_PROTOCOL`: the packet's protocol.
const PROTOCOL: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32;
