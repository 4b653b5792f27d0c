//! Tests of [`crate::frame_walk`].

use crate::frame_walk::*;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::memory::fake::FakeMemory;
use alloc::vec;
use alloc::vec::Vec;

const TYPE: u64 = 0x5000;
const THREAD: u64 = 0x1000;
const CFRAME: u64 = 0x2000;
/// A piece of data stack, and the two frames on it.
const CHUNK: u64 = 0x3000;
const OUTER: u64 = CHUNK + 24;
const FRAME_WORDS: u32 = 16;
const INNER: u64 = OUTER + 8 * FRAME_WORDS as u64;
const ENTRY: u64 = 0x3800;
const LAST: u64 = 0x3900;

fn layout(minor: u32) -> Layout {
    let identity = Identity {
        hexversion: 0x0300_01f0 | minor << 16,
        free_threaded: false,
        debug: false,
        trace_refs: false,
        is_cpython: true,
    };
    Layout::detect(&identity, &FakeMemory::default(), 0).expect("a known version")
}

/// Code object `number`, with nothing in it but its type.
fn put_code(memory: &mut FakeMemory, number: u64) -> u64 {
    let address = 0x10_0000 + number * 0x1000;
    memory.put_u64(address + 8, TYPE);
    memory.put_u32(address + 76, FRAME_WORDS);
    address
}

/// A 3.12 frame whose last begun instruction is at `offset` bytes.
fn put_frame(memory: &mut FakeMemory, at: u64, previous: u64, code: u64, offset: i64, owner: u8) {
    memory.put_u64(at, code);
    memory.put_u64(at + 8, previous);
    memory.put_u64(at + 56, (code as i64 + 192 + offset) as u64);
    memory.put_bytes(at + 70, &[owner]);
}

fn walked(memory: &FakeMemory, layout: &Layout, max_frames: usize) -> (Vec<RawFrame>, WalkEnd) {
    let mut frames = vec![];
    let end = walk(memory, layout, TYPE, THREAD, max_frames, &mut |found| frames.extend_from_slice(found));
    let counted = count_frames(memory, layout, TYPE, THREAD, max_frames);
    assert_eq!(counted, (frames.len(), end), "counting is the same walk");
    (frames, end)
}

/// Two Python frames with an entry frame between them and one at the end.
fn two_frames() -> FakeMemory {
    let mut memory = FakeMemory::default();
    let (inner, outer) = (put_code(&mut memory, 1), put_code(&mut memory, 2));
    memory.put_u64(THREAD + 56, CFRAME);
    memory.put_u64(CFRAME, INNER);
    memory.put_u64(THREAD + 232, CHUNK);
    put_frame(&mut memory, INNER, ENTRY, inner, 10, 0);
    put_frame(&mut memory, ENTRY, OUTER, 0, 0, 3);
    put_frame(&mut memory, OUTER, LAST, outer, -2, 0);
    put_frame(&mut memory, LAST, 0, 0, 0, 3);
    memory
}

#[test]
fn frames_innermost_first_without_shims() {
    let (frames, end) = walked(&two_frames(), &layout(12), 10);
    assert_eq!(end, WalkEnd::Complete);
    assert_eq!(
        frames,
        [
            RawFrame { code_address: 0x10_1000, instruction_offset_bytes: 10 },
            RawFrame { code_address: 0x10_2000, instruction_offset_bytes: -2 },
        ]
    );
}

#[test]
fn the_limit_counts_python_frames_only() {
    assert_eq!(walked(&two_frames(), &layout(12), 2).1, WalkEnd::Complete);
    let (frames, end) = walked(&two_frames(), &layout(12), 1);
    assert_eq!((frames.len(), end), (1, WalkEnd::Truncated));
}

#[test]
fn a_thread_without_frames() {
    let mut memory = FakeMemory::default();
    memory.put_u64(THREAD + 56, CFRAME);
    memory.put_u64(CFRAME, 0);
    assert_eq!(walked(&memory, &layout(12), 10), (vec![], WalkEnd::Complete));
}

#[test]
fn what_cannot_be_ends_the_walk_and_keeps_what_was_found() {
    let mut memory = two_frames();
    memory.put_bytes(OUTER + 70, &[9]);
    assert_eq!(walked(&memory, &layout(12), 10).1, WalkEnd::Torn(TornReason::Owner));
    let mut memory = two_frames();
    memory.put_u64(0x10_2000 + 8, 0x6666);
    let (frames, end) = walked(&memory, &layout(12), 10);
    assert_eq!((frames.len(), end), (1, WalkEnd::Torn(TornReason::NotCode)));
    let mut memory = two_frames();
    memory.put_u64(OUTER + 8, 0x9_9999);
    assert_eq!(walked(&memory, &layout(12), 10).1, WalkEnd::Torn(TornReason::Fault));
    let mut memory = two_frames();
    memory.put_u64(LAST + 8, LAST);
    assert_eq!(walked(&memory, &layout(12), 10).1, WalkEnd::Torn(TornReason::Endless));
}

#[test]
fn a_frame_that_is_being_cleared_is_passed_over() {
    let mut memory = two_frames();
    memory.put_u64(INNER, 1);
    let (frames, end) = walked(&memory, &layout(12), 10);
    assert_eq!((frames.len(), end), (1, WalkEnd::Complete));
}

#[test]
fn heap_frames_of_3_9_and_3_10() {
    let mut memory = FakeMemory::default();
    let code = put_code(&mut memory, 1);
    memory.put_u64(THREAD + 24, 0x3000);
    memory.put_u64(0x3000 + 24, 0);
    memory.put_u64(0x3000 + 32, code);
    memory.put_u64(0x3000 + 96, 0);
    memory.put_u32(0x3000 + 104, 42);
    assert_eq!(walked(&memory, &layout(9), 10).0[0].instruction_offset_bytes, 42);
    memory.put_u32(0x3000 + 96, 21);
    assert_eq!(walked(&memory, &layout(10), 10).0[0].instruction_offset_bytes, 42);
    memory.put_u32(0x3000 + 96, u32::MAX);
    assert!(walked(&memory, &layout(10), 10).0[0].instruction_offset_bytes < 0);
}
