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

use crate::layout::{Bytecode, FrameSize, Innermost, Layout, Position};
use crate::memory::{Fault, Memory, WordOffsets};

/// Entry frames do not count as frames, but there is one for each call from C into Python; a chain with more of them than
/// Python frames and this many besides is not one.
const MAX_SHIMS: usize = 64;

/// `FRAME_OWNED_BY_FRAME_OBJECT` (CPython 3.11 to 3.15, in the same enumeration as the next): a copy that was made when the
/// frame ended, and is linked to nothing.
const ENDED_FRAME_OWNER: u8 = 2;
/// `FRAME_OWNED_BY_CSTACK` or `FRAME_OWNED_BY_INTERPRETER` (CPython 3.12 to 3.15, `Include/internal/pycore_frame.h` and
/// `pycore_interpframe_structs.h`): from this value on it is not a Python frame.
const FIRST_SHIM_OWNER: u8 = 3;
/// The highest owner of any version.
const LAST_OWNER: u8 = 4;

/// `FRAME_OWNED_BY_THREAD` (CPython 3.11 to 3.15): a frame on the thread's data stack.
const THREAD_OWNER: u8 = 0;

/// `sizeof(_PyStackChunk)` before its `data` (`previous`, `size`, `top`; `Include/cpython/pystate.h`, 3.11 to 3.15).
const CHUNK_HEADER_BYTES: u64 = 24;
const WORD_BYTES: u64 = 8;

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
    /// The innermost frame does not begin where its caller's ends (3.11): it is being linked.
    Unlinked,
    /// The chain did not end in a frame that C code entered the interpreter by (3.11).
    Root,
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
///
/// A chain that is being changed while the thread is looked at ends as [`WalkEnd::Torn`]: compilers order the stores of a
/// call as they like, so the new frame may be the innermost one before it is linked to its caller, and what is found in its
/// place is then whatever frame had that memory before. From 3.11 on this shows, see [`TornReason`]. What cannot be seen
/// from memory alone is a call of the interpreter that has not filled in its own structure on the C stack: whoever walks
/// must not do so while the thread is in the first instructions of `_PyEval_EvalFrameDefault`.
pub fn walk<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    max_frames: usize,
    visit: &mut impl FnMut(RawFrame),
) -> WalkEnd {
    let end = innermost(memory, layout, thread_state)
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
    let words = FrameWords::of(layout).ok_or(TornReason::Fault)?;
    let mut frame = innermost;
    let mut last = Link { frame: 0, owner: None };
    // The innermost frame on the data stack, until its caller there was seen.
    let mut innermost_on_stack = None;
    let mut is_link_checked = false;
    let mut known_code = 0;
    let mut shown = 0usize;
    for _ in 0..max_links(max_frames) {
        if frame == 0 {
            if let Some(inner) = innermost_on_stack.filter(|_| !is_link_checked) {
                check_first_of_chunk(memory, layout, thread_state, inner)?;
            }
            return end_of_chain(memory, layout, thread_state, last);
        }
        let found = words.read(memory, frame)?;
        let owner = found.owner()?;
        if owner.is_none_or(|owner| owner < FIRST_SHIM_OWNER) {
            let code_address = found.code();
            if code_address != known_code {
                check_code(memory, layout, code_type, code_address)?;
                known_code = code_address;
            }
            if owner == Some(THREAD_OWNER) && !is_link_checked {
                if let Some(inner) = innermost_on_stack {
                    check_link(memory, layout, thread_state, code_address, frame, inner)?;
                    is_link_checked = true;
                }
                innermost_on_stack = Some(frame);
            }
            // A frame that is being cleared has none.
            if code_address != 0 {
                if shown >= max_frames {
                    return Ok(WalkEnd::Truncated);
                }
                let instruction_offset_bytes = instruction_offset_bytes(memory, layout, frame, &found, code_address)?;
                visit(RawFrame { code_address, instruction_offset_bytes });
                shown = shown.wrapping_add(1);
            }
        }
        last = Link { frame, owner };
        frame = found.previous;
    }
    Err(TornReason::Endless)
}

/// The words of a frame that every step needs, which are read together: one by one they were a third of a walk's time.
struct FrameWords {
    offsets: WordOffsets<4>,
    /// Where in the owner's word its byte begins; `None` where frames have no owner.
    owner_shift: Option<u32>,
    /// Where in the position's word it begins.
    position_shift: u32,
}

impl FrameWords {
    /// `None` if the layout has a field where none can be.
    fn of(layout: &Layout) -> Option<Self> {
        let frame = &layout.frame;
        let (Position::LastIndexBytes(position) | Position::LastIndexUnits(position) | Position::Pointer(position)) =
            frame.position;
        let shift = |offset: u32| (offset & 7).wrapping_mul(8);
        Some(Self {
            offsets: WordOffsets::new([
                frame.previous,
                frame.code,
                position & !7,
                frame.owner.unwrap_or(frame.previous) & !7,
            ])?,
            owner_shift: frame.owner.map(shift),
            position_shift: shift(position),
        })
    }

    fn read<M: Memory>(&self, memory: &M, frame: u64) -> Result<FoundFrame, Fault> {
        let [previous, code, position, owner] = memory.read_words(frame, &self.offsets)?;
        Ok(FoundFrame {
            previous,
            code,
            position: position.wrapping_shr(self.position_shift),
            owner: self.owner_shift.map(|shift| owner.wrapping_shr(shift) as u8),
        })
    }
}

/// What stands in a frame.
struct FoundFrame {
    previous: u64,
    code: u64,
    /// What [`Position`] says; higher bits are of something else if that is an int.
    position: u64,
    owner: Option<u8>,
}

impl FoundFrame {
    /// Who it belongs to, from 3.11 on.
    fn owner(&self) -> Result<Option<u8>, TornReason> {
        match self.owner {
            Some(owner) if owner == ENDED_FRAME_OWNER || owner > LAST_OWNER => Err(TornReason::Owner),
            owner => Ok(owner),
        }
    }

    /// Address of its code object; 0 for a frame that is being cleared.
    fn code(&self) -> u64 {
        self.code & !TAG_MASK
    }
}

/// A frame that was walked over.
#[derive(Clone, Copy)]
struct Link {
    frame: u64,
    owner: Option<u8>,
}

fn at(address: u64, offset: u32) -> u64 {
    address.wrapping_add(u64::from(offset))
}

pub(crate) fn innermost<M: Memory>(memory: &M, layout: &Layout, thread_state: u64) -> Result<u64, Fault> {
    match layout.thread_state.innermost {
        Innermost::Direct(offset) => memory.read_u64(at(thread_state, offset)),
        Innermost::ThroughCFrame { cframe, current_frame } => {
            let cframe = memory.read_u64(at(thread_state, cframe))?;
            memory.read_u64(at(cframe, current_frame))
        }
    }
}

/// Frames of calls lie one behind the other on the thread's data stack (`Python/pystate.c`, `_PyThreadState_PushFrame`, and
/// `Include/internal/pycore_frame.h`, 3.11 to 3.15), so `inner` begins where `caller`, which runs `code`, ends: unless it is
/// the first of its chunk. Only the innermost frame can be on its way in; those below it were linked long ago. A generator's
/// frame is elsewhere, and one that a stale link leads to is running, which makes the stack true if not whole, or at rest,
/// which makes it the last of the chain.
fn check_link<M: Memory>(
    memory: &M,
    layout: &Layout,
    thread_state: u64,
    code: u64,
    caller: u64,
    inner: u64,
) -> Result<(), TornReason> {
    let Some(size) = layout.code.frame_size else { return Ok(()) };
    if code == 0 {
        return Err(TornReason::Unlinked);
    }
    let size_words = match size {
        FrameSize::Words(offset) => u64::from(memory.read_u32(at(code, offset))?),
        FrameSize::Parts { locals, stack, specials_words } => u64::from(memory.read_u32(at(code, locals))?)
            .wrapping_add(u64::from(memory.read_u32(at(code, stack))?))
            .wrapping_add(u64::from(specials_words)),
    };
    if caller.wrapping_add(size_words.wrapping_mul(WORD_BYTES)) == inner {
        return Ok(());
    }
    check_first_of_chunk(memory, layout, thread_state, inner)
}

/// Whether the frame `inner` is where a new piece of the data stack begins, so that there is none before it.
fn check_first_of_chunk<M: Memory>(
    memory: &M,
    layout: &Layout,
    thread_state: u64,
    inner: u64,
) -> Result<(), TornReason> {
    let Some(chunk) = layout.thread_state.datastack_chunk else { return Ok(()) };
    let chunk = memory.read_u64(at(thread_state, chunk))?;
    // The very first chunk leaves out a word (`Python/pystate.c`, `push_chunk`).
    let skipped_bytes = if memory.read_u64(chunk)? == 0 { WORD_BYTES } else { 0 };
    let first = chunk.wrapping_add(CHUNK_HEADER_BYTES).wrapping_add(skipped_bytes);
    if first == inner { Ok(()) } else { Err(TornReason::Unlinked) }
}

/// Every chain ends where C code entered the interpreter, from 3.15 in the thread's base frame; one that does not is in the
/// middle of a change.
fn end_of_chain<M: Memory>(memory: &M, layout: &Layout, thread_state: u64, last: Link) -> Result<WalkEnd, TornReason> {
    if let Some(offset) = layout.thread_state.base_frame
        && memory.read_u64(at(thread_state, offset))? != last.frame
    {
        return Err(TornReason::BaseFrame);
    }
    let is_root = match (layout.frame.is_entry, last.owner) {
        (_, None) => true,
        (Some(offset), Some(_)) => memory.read_u8(at(last.frame, offset))? != 0,
        (None, Some(owner)) => owner >= FIRST_SHIM_OWNER,
    };
    if is_root { Ok(WalkEnd::Complete) } else { Err(TornReason::Root) }
}

/// Whether what a frame runs is a code object, or 0.
fn check_code<M: Memory>(memory: &M, layout: &Layout, code_type: u64, address: u64) -> Result<(), TornReason> {
    if address != 0 && memory.read_u64(at(address, layout.object.ob_type))? != code_type {
        return Err(TornReason::NotCode);
    }
    Ok(())
}

fn instruction_offset_bytes<M: Memory>(
    memory: &M,
    layout: &Layout,
    frame: u64,
    found: &FoundFrame,
    code: u64,
) -> Result<i32, Fault> {
    match layout.frame.position {
        Position::LastIndexBytes(_) => Ok(found.position as u32 as i32),
        // -1 before the first instruction stays negative.
        Position::LastIndexUnits(_) => Ok((found.position as u32 as i32).saturating_mul(2)),
        Position::Pointer(_) => {
            let start = bytecode_start(memory, layout, frame, code)?;
            let distance = found.position.wrapping_sub(start) as i64;
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
}
