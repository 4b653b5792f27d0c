//! The walk along a thread's Python frames, from the innermost outwards. Runs in a signal handler: no allocation, no panic,
//! and not more than [`MAX_SHIMS`] steps beyond the frames asked for.

// Nothing here may panic: it would unwind out of a signal handler.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use crate::layout::{Bytecode, Innermost, Layout, Position};
use crate::memory::{Fault, Memory};

/// Entry frames do not count as frames, but there is one for each call from C into Python; a chain with more of them than
/// Python frames and this many besides is not one.
const MAX_SHIMS: usize = 64;

/// `FRAME_OWNED_BY_FRAME_OBJECT` (CPython 3.12 to 3.15, in the same enumeration as the next): a copy that was made when the
/// frame ended, and is linked to nothing.
const ENDED_FRAME_OWNER: u8 = 2;
/// `FRAME_OWNED_BY_CSTACK` or `FRAME_OWNED_BY_INTERPRETER` (CPython 3.12 to 3.15, `Include/internal/pycore_frame.h` and
/// `pycore_interpframe_structs.h`): from this value on it is not a Python frame.
const FIRST_SHIM_OWNER: u8 = 3;
/// The highest owner of any version.
const LAST_OWNER: u8 = 4;

/// Code objects are aligned to 8, and the low bits of a `_PyStackRef` are a tag (3.14 and 3.15).
const TAG_MASK: u64 = 7;

/// One Python frame as it stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Its `PyCodeObject`.
    pub code_address: u64,
    /// The instruction that it is at, in bytes from the start of the code; negative before the first.
    pub instruction_offset_bytes: i32,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkEnd {
    /// At the outermost frame.
    Complete,
    /// At the limit; the outer frames are missing.
    Truncated,
    /// At something that cannot be; the frames up to there stand.
    Torn(TornReason),
}

/// What a walk met that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TornReason {
    /// Memory that is not there.
    Fault,
    /// A frame's owner is none that a linked frame has.
    Owner,
    /// A frame's code is not a code object.
    NotCode,
    /// More links than a chain can have.
    Endless,
    /// The chain did not end in the thread's base frame (3.15).
    BaseFrame,
}

impl From<Fault> for TornReason {
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}

/// Walks the frames of the thread whose state is at `thread_state`, innermost first, and shows each Python frame to `visit`.
///
/// `code_type` is the address of `PyCode_Type`. At most `max_frames` frames are shown.
pub fn walk<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    max_frames: usize,
    visit: &mut impl FnMut(RawFrame),
) -> WalkEnd {
    let end = innermost(memory, layout, code_type, thread_state, max_links(max_frames))
        .map_err(TornReason::from)
        .and_then(|frame| chain(memory, layout, code_type, thread_state, frame, max_frames, visit));
    match end {
        Ok(end) => end,
        Err(reason) => WalkEnd::Torn(reason),
    }
}

/// Each Python frame may have an entry frame beside it.
fn max_links(max_frames: usize) -> usize {
    max_frames.saturating_mul(2).saturating_add(MAX_SHIMS)
}

/// How many frames [`walk`] would show, and how it would end.
pub fn count_frames<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    max_frames: usize,
) -> (usize, WalkEnd) {
    let mut frames = 0usize;
    let end = walk(memory, layout, code_type, thread_state, max_frames, &mut |_| frames = frames.wrapping_add(1));
    (frames, end)
}

fn chain<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    innermost: u64,
    max_frames: usize,
    visit: &mut impl FnMut(RawFrame),
) -> Result<WalkEnd, TornReason> {
    let mut frame = innermost;
    let mut last = frame;
    let mut shown = 0usize;
    for _ in 0..max_links(max_frames) {
        if frame == 0 {
            return end_of_chain(memory, layout, thread_state, last);
        }
        let previous = memory.read_u64(at(frame, layout.frame.previous))?;
        if is_python_frame(memory, layout, frame)?
            && let Some(code_address) = code(memory, layout, code_type, frame)?
        {
            if shown >= max_frames {
                return Ok(WalkEnd::Truncated);
            }
            let instruction_offset_bytes = instruction_offset_bytes(memory, layout, frame, code_address)?;
            visit(RawFrame { code_address, instruction_offset_bytes });
            shown = shown.wrapping_add(1);
        }
        last = frame;
        frame = previous;
    }
    Err(TornReason::Endless)
}

fn at(address: u64, offset: u32) -> u64 {
    address.wrapping_add(u64::from(offset))
}

fn innermost<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    max_links: usize,
) -> Result<u64, Fault> {
    match layout.thread_state.innermost {
        Innermost::Direct(offset) => memory.read_u64(at(thread_state, offset)),
        Innermost::ThroughCFrame { cframe, current_frame } => {
            let cframe = memory.read_u64(at(thread_state, cframe))?;
            let frame = memory.read_u64(at(cframe, current_frame));
            // `previous` follows `current_frame` (`Include/cpython/pystate.h` of 3.11 and 3.12); the outermost has none.
            let before = memory.read_u64(at(cframe, current_frame).wrapping_add(8));
            match before.and_then(|before| memory.read_u64(at(before, current_frame))) {
                Ok(before)
                    if before != 0
                        && !frame.is_ok_and(|frame| leads_to(memory, layout, code_type, frame, before, max_links)) =>
                {
                    Ok(before)
                }
                _ => frame,
            }
        }
    }
}

/// Whether the chain from `frame` comes by `caller`, the frame that called the interpreter anew, and is sound up to there.
///
/// A call of the interpreter links its `_PyCFrame` before it has filled it in and linked its first frame (3.11 and 3.12,
/// `Python/ceval.c`, `_PyEval_EvalFrameDefault`): until then there stands what was on the stack before, which may be a frame that
/// was there. A thread hit in between is still where its caller says.
fn leads_to<M: Memory>(memory: &M, layout: &Layout, code_type: u64, frame: u64, caller: u64, max_links: usize) -> bool {
    let step = |frame: u64| -> Result<u64, TornReason> {
        if is_python_frame(memory, layout, frame)? {
            code(memory, layout, code_type, frame)?;
        }
        Ok(memory.read_u64(at(frame, layout.frame.previous))?)
    };
    let mut frame = frame;
    for _ in 0..max_links {
        if frame == caller {
            return true;
        }
        match step(frame) {
            Ok(previous) if previous != 0 => frame = previous,
            _ => return false,
        }
    }
    // Deeper than anybody looks.
    true
}

/// From 3.15 every chain ends in the thread's base frame; one that does not is in the middle of a change.
fn end_of_chain<M: Memory>(memory: &M, layout: &Layout, thread_state: u64, last: u64) -> Result<WalkEnd, TornReason> {
    match layout.thread_state.base_frame {
        Some(offset) if memory.read_u64(at(thread_state, offset))? != last => Err(TornReason::BaseFrame),
        _ => Ok(WalkEnd::Complete),
    }
}

fn is_python_frame<M: Memory>(memory: &M, layout: &Layout, frame: u64) -> Result<bool, TornReason> {
    let Some(offset) = layout.frame.owner else { return Ok(true) };
    match memory.read_u8(at(frame, offset))? {
        ENDED_FRAME_OWNER => Err(TornReason::Owner),
        owner if owner < FIRST_SHIM_OWNER => Ok(true),
        owner if owner <= LAST_OWNER => Ok(false),
        _ => Err(TornReason::Owner),
    }
}

/// The frame's code object; `None` for a frame that is being cleared.
fn code<M: Memory>(memory: &M, layout: &Layout, code_type: u64, frame: u64) -> Result<Option<u64>, TornReason> {
    let address = memory.read_u64(at(frame, layout.frame.code))? & !TAG_MASK;
    if address == 0 {
        return Ok(None);
    }
    if memory.read_u64(at(address, layout.object.ob_type))? != code_type {
        return Err(TornReason::NotCode);
    }
    Ok(Some(address))
}

fn instruction_offset_bytes<M: Memory>(memory: &M, layout: &Layout, frame: u64, code: u64) -> Result<i32, Fault> {
    match layout.frame.position {
        Position::LastIndexBytes(offset) => Ok(memory.read_u32(at(frame, offset))? as i32),
        Position::LastIndexUnits(offset) => {
            // -1 before the first instruction stays negative.
            Ok((memory.read_u32(at(frame, offset))? as i32).saturating_mul(2))
        }
        Position::Pointer(offset) => {
            let pointer = memory.read_u64(at(frame, offset))?;
            let start = bytecode_start(memory, layout, frame, code)?;
            let distance = pointer.wrapping_sub(start) as i64;
            Ok(i32::try_from(distance).unwrap_or(i32::MIN))
        }
    }
}

/// Where the copy of the bytecode begins that the frame runs: the code object's own, or in free-threaded builds from 3.14
/// the one made for a thread.
fn bytecode_start<M: Memory>(memory: &M, layout: &Layout, frame: u64, code: u64) -> Result<u64, Fault> {
    let own = match layout.code.bytecode {
        Bytecode::Inline(offset) => at(code, offset),
        Bytecode::Object(_) => return Err(Fault),
    };
    let (Some(index), Some(copies)) = (layout.frame.tlbc_index, layout.code.thread_copies) else { return Ok(own) };
    let index = memory.read_u32(at(frame, index))?;
    if index == 0 {
        return Ok(own);
    }
    // `_PyCodeArray { Py_ssize_t size; char *entries[size]; }` (`Include/cpython/code.h`).
    let array = memory.read_u64(at(code, copies))?;
    let size = memory.read_u64(array)?;
    if u64::from(index) >= size {
        return Err(Fault);
    }
    match memory.read_u64(array.wrapping_add(8).wrapping_add(8 * u64::from(index)))? {
        0 => Err(Fault),
        copy => Ok(copy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::memory::fake::FakeMemory;
    use alloc::vec;
    use alloc::vec::Vec;

    const TYPE: u64 = 0x5000;
    const THREAD: u64 = 0x1000;
    const CFRAME: u64 = 0x2000;

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
        let end = walk(memory, layout, TYPE, THREAD, max_frames, &mut |frame| frames.push(frame));
        let counted = count_frames(memory, layout, TYPE, THREAD, max_frames);
        assert_eq!(counted, (frames.len(), end), "counting is the same walk");
        (frames, end)
    }

    /// Two Python frames with an entry frame between them and one at the end.
    fn two_frames() -> FakeMemory {
        let mut memory = FakeMemory::default();
        let (inner, outer) = (put_code(&mut memory, 1), put_code(&mut memory, 2));
        memory.put_u64(THREAD + 56, CFRAME);
        memory.put_u64(CFRAME, 0x3000);
        put_frame(&mut memory, 0x3000, 0x3100, inner, 10, 0);
        put_frame(&mut memory, 0x3100, 0x3200, 0, 0, 3);
        put_frame(&mut memory, 0x3200, 0x3300, outer, -2, 1);
        put_frame(&mut memory, 0x3300, 0, 0, 0, 3);
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
        memory.put_bytes(0x3200 + 70, &[9]);
        assert_eq!(walked(&memory, &layout(12), 10).1, WalkEnd::Torn(TornReason::Owner));
        let mut memory = two_frames();
        memory.put_u64(0x10_2000 + 8, 0x6666);
        let (frames, end) = walked(&memory, &layout(12), 10);
        assert_eq!((frames.len(), end), (1, WalkEnd::Torn(TornReason::NotCode)));
        let mut memory = two_frames();
        memory.put_u64(0x3208, 0x9_9999);
        assert_eq!(walked(&memory, &layout(12), 10).1, WalkEnd::Torn(TornReason::Fault));
        let mut memory = two_frames();
        memory.put_u64(0x3300 + 8, 0x3300);
        assert_eq!(walked(&memory, &layout(12), 10).1, WalkEnd::Torn(TornReason::Endless));
    }

    #[test]
    fn a_frame_that_is_being_cleared_is_passed_over() {
        let mut memory = two_frames();
        memory.put_u64(0x3000, 1);
        let (frames, end) = walked(&memory, &layout(12), 10);
        assert_eq!((frames.len(), end), (1, WalkEnd::Complete));
    }

    #[test]
    fn a_call_of_the_interpreter_that_has_no_frame_yet() {
        let mut memory = two_frames();
        let newest = 0x2100;
        memory.put_u64(THREAD + 56, newest);
        memory.put_u64(newest + 8, CFRAME);
        // Whatever its place on the stack held before.
        let ended = 0x7000;
        let code = put_code(&mut memory, 3);
        put_frame(&mut memory, ended, 0, code, 4, 1);
        // And a frame that is gone but for its link.
        let gone = 0x7100;
        put_frame(&mut memory, gone, 0x3000, 0x6666_0000, 4, 0);
        for stale in [0, 7, 0x9_9990, THREAD, ended, gone] {
            memory.put_u64(newest, stale);
            let (frames, end) = walked(&memory, &layout(12), 10);
            assert_eq!((frames.len(), end), (2, WalkEnd::Complete), "stale {stale:#x}");
        }
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
}
