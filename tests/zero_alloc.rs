//! The hot path allocates nothing per packet: counted, in a program of its own, because the allocator is global.

#![expect(clippy::unwrap_used, reason = "a test that fails should say so at once")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;

use tapline_features::TaplineTracker;
use tapline_flow::{FlowTable, HashSeed, Rules, Timeouts};
use tapline_packet::{DecodeOptions, Decoder};
use tapline_record::{Frame, LinkType, Timestamp};

#[expect(dead_code, reason = "shared with the other tests, which use more of it")]
#[path = "support/packets.rs"]
mod packets;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A hundred conversations that open, talk, close and come back on the same tuples, over and over.
fn frame(index: u32) -> (i64, Vec<u8>) {
    let conversation = index % 100;
    let turn = index / 100 % 40;
    let forward = turn.is_multiple_of(2);
    let (client, server) = (Ipv4Addr::new(10, 0, 0, conversation as u8), Ipv4Addr::new(192, 0, 2, 1));
    let packet = packets::Packet {
        ts_us: 1_700_000_000_000_000 + i64::from(index) * 3_000,
        src: if forward { client } else { server },
        dst: if forward { server } else { client },
        protocol: 6,
        sport: if forward { 40_000 } else { 443 },
        dport: if forward { 443 } else { 40_000 },
        flags: match turn {
            0 => 0x02,
            1 => 0x12,
            38 | 39 => 0x11,
            _ => 0x18,
        },
        seq: index / 4_000 * 1_000_000 + turn * 100,
        ack: 0,
        window: 1_000,
        payload: if (2..38).contains(&turn) { 100 } else { 0 },
        options: 0,
    };
    (packet.ts_us, packet.frame())
}

#[test]
fn decode_table_and_features_allocate_nothing_in_the_steady_state() {
    let frames: Vec<(i64, Vec<u8>)> = (0..200_000).map(frame).collect();
    let mut decoder = Decoder::new(DecodeOptions::default());
    let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true };
    let mut table = FlowTable::new(rules, TaplineTracker, 1, 10_000, HashSeed(1, 2), |_, _| {});
    let mut taken = 0;
    let mut run = |range: std::ops::Range<usize>| {
        for (at, (ts_us, bytes)) in frames[range].iter().enumerate() {
            let ts = Timestamp::from_micros(*ts_us);
            let frame = Frame {
                ts,
                link: LinkType::ETHERNET,
                wire_bytes: u32::try_from(bytes.len()).unwrap(),
                bytes,
            };
            table.push(0, &decoder.decode(&frame, at as u64).unwrap());
            if at % 500 == 0 {
                table.tick(ts);
                let drained = table.drain(|flow| {
                    taken += u64::from(flow.record().head.packets);
                    Ok::<(), ()>(())
                });
                drained.unwrap();
            }
        }
    };
    run(0..100_000);
    let before = ALLOCATIONS.with(Cell::get);
    run(100_000..200_000);
    let allocations = ALLOCATIONS.with(Cell::get) - before;
    assert!(before > 0, "the counter works");
    assert!(taken > 150_000, "flows ended and were taken: {taken} packets");
    assert_eq!(allocations, 0, "allocations in 100,000 packets of the steady state");
}
