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
use crate::memory::{Fault, LINK_WORDS, Memory, WordOffsets};

/// Entry frames do not count as frames, but there is one for each call from C into Python; a chain with more of them than
/// Python frames and this many besides is not one.
const MAX_SHIMS: usize = 64;

/// Links that are read at once, ahead of what is checked of them. They are on the stack of a signal handler, which may be a small
/// one: 56 bytes each.
const BATCH_LINKS: usize = 4;

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

/// Walks the frames of the thread whose state is at `thread_state`, innermost first, and shows the Python frames to `visit`, some
/// at a time.
///
/// `code_type` is the address of `PyCode_Type`. At most `max_frames` frames are shown.
///
/// A chain that is being changed while the thread is looked at ends as [`WalkEnd::Torn`]: compilers order the stores of a
/// call as they like, so the new frame may be the innermost one before it is linked to its caller, and what is found in its
/// place is then whatever frame had that memory before. From 3.11 on this shows, see [`TornReason`]. What cannot be seen
/// from memory alone is a call of the interpreter that has not filled in its own structure on the C stack: whoever walks
/// must not do so while the thread is in the first instructions of `_PyEval_EvalFrameDefault`.
#[inline(always)]
pub fn walk<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    max_frames: usize,
    visit: &mut impl FnMut(&[RawFrame]),
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
    let end = walk(memory, layout, code_type, thread_state, max_frames, &mut |found| {
        frames = frames.wrapping_add(found.len());
    });
    (frames, end)
}

#[inline(always)]
fn chain<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread_state: u64,
    innermost: u64,
    max_frames: usize,
    visit: &mut impl FnMut(&[RawFrame]),
) -> Result<WalkEnd, TornReason> {
    let words = FrameWords::of(layout).ok_or(TornReason::Fault)?;
    let mut found = [RawFrame { code_address: 0, instruction_offset_bytes: 0 }; BATCH_LINKS];
    let mut chain = Chain {
        memory,
        layout,
        code_type,
        thread_state,
        words: &words,
        frame: innermost,
        last: Link { frame: 0, owner: 0 },
        innermost_on_stack: None,
        is_link_checked: layout.frame.owner.is_none(),
        known_code: 0,
        frames_left: max_frames,
    };
    let mut links = [[0; LINK_WORDS]; BATCH_LINKS];
    let mut links_left = max_links(max_frames);
    while links_left != 0 {
        if chain.frame == 0 {
            return chain.end();
        }
        let room = links.get_mut(..links_left.min(BATCH_LINKS)).unwrap_or_default();
        let read = memory.read_chain(chain.frame, &words.offsets, room);
        let Some(read_links) = links.get(..read).filter(|links| !links.is_empty()) else {
            return Err(TornReason::Fault);
        };
        let mut frames = 0;
        let end = match chain.check_at_once(read_links, &mut found) {
            Some(all) => {
                frames = all;
                Ok(None)
            }
            None => chain.check(read_links, &mut found, &mut frames),
        };
        visit(found.get(..frames).unwrap_or_default());
        if let Some(end) = end? {
            return Ok(end);
        }
        links_left = links_left.saturating_sub(read);
    }
    Err(TornReason::Endless)
}

/// A walk along a chain, and how far it has come.
struct Chain<'a, M> {
    memory: &'a M,
    layout: &'a Layout,
    code_type: u64,
    thread_state: u64,
    words: &'a FrameWords,
    /// The next one; 0 at the end.
    frame: u64,
    last: Link,
    /// The innermost frame on the data stack, until its caller there was seen.
    innermost_on_stack: Option<u64>,
    is_link_checked: bool,
    /// The last that was found to be a code object.
    known_code: u64,
    /// That may still be shown.
    frames_left: usize,
}

impl<M: Memory> Chain<'_, M> {
    /// Goes on over all of `links`, which begin at the next frame, if there is nothing special about any of them, and puts what
    /// they show into `found`: returns how many frames. `None` if they have to be looked at one by one; nothing is changed then.
    ///
    /// All code objects are looked at together, so that waiting for the memory of one is waiting for all. A function of its own: what
    /// its loop needs stays in registers.
    #[inline(never)]
    fn check_at_once(&mut self, links: &[[u64; LINK_WORDS]], found: &mut [RawFrame; BATCH_LINKS]) -> Option<usize> {
        if !self.is_link_checked || self.frames_left < links.len() || !self.words.is_position_plain {
            return None;
        }
        let mut types = [0; BATCH_LINKS];
        let (mut new_codes, mut frames) = (0usize, 0usize);
        let mut known_code = self.known_code;
        let (mut frame, mut last) = (self.frame, self.last);
        for link in links {
            let words = self.words.of_frame(link);
            if words.owner < ENDED_FRAME_OWNER {
                if words.code == 0 {
                    return None;
                }
                if words.code != known_code {
                    known_code = words.code;
                    *types.get_mut(new_codes)? = at(words.code, self.layout.object.ob_type);
                    new_codes = new_codes.wrapping_add(1);
                }
                *found.get_mut(frames)? = RawFrame {
                    code_address: words.code,
                    instruction_offset_bytes: self.words.offset_bytes(&words, words.code),
                };
                frames = frames.wrapping_add(1);
            } else if words.owner == ENDED_FRAME_OWNER || words.owner > LAST_OWNER {
                return None;
            }
            last = Link { frame, owner: words.owner };
            frame = words.previous;
        }
        if new_codes != 0 {
            let types = types.get(..new_codes)?;
            if self.memory.count_equal(types, self.code_type) != new_codes {
                return None;
            }
        }
        (self.known_code, self.frame, self.last) = (known_code, frame, last);
        self.frames_left = self.frames_left.wrapping_sub(frames);
        Some(frames)
    }

    /// Goes on over `links`, which begin at the next frame, one by one as far as they hold, and puts what they show into `shown`,
    /// counted by `frames`. `None` unless the walk ends there.
    #[cold]
    #[inline(never)]
    fn check(
        &mut self,
        links: &[[u64; LINK_WORDS]],
        shown: &mut [RawFrame; BATCH_LINKS],
        frames: &mut usize,
    ) -> Result<Option<WalkEnd>, TornReason> {
        for link in links {
            let found = self.words.of_frame(link);
            let owner = found.owner;
            if owner == ENDED_FRAME_OWNER || owner > LAST_OWNER {
                return Err(TornReason::Owner);
            }
            if owner < FIRST_SHIM_OWNER {
                let code_address = found.code;
                if code_address != self.known_code {
                    check_code(self.memory, self.layout, self.code_type, code_address)?;
                    self.known_code = code_address;
                }
                if owner == THREAD_OWNER && !self.is_link_checked {
                    if let Some(inner) = self.innermost_on_stack {
                        check_link(self.memory, self.layout, self.thread_state, code_address, self.frame, inner)?;
                        self.is_link_checked = true;
                    }
                    self.innermost_on_stack = Some(self.frame);
                }
                // A frame that is being cleared has none.
                if code_address != 0 {
                    if self.frames_left == 0 {
                        return Ok(Some(WalkEnd::Truncated));
                    }
                    let instruction_offset_bytes = self.instruction_offset_bytes(&found)?;
                    if let Some(place) = shown.get_mut(*frames) {
                        *place = RawFrame { code_address, instruction_offset_bytes };
                        *frames = frames.wrapping_add(1);
                    }
                    self.frames_left = self.frames_left.wrapping_sub(1);
                }
            }
            self.last = Link { frame: self.frame, owner };
            self.frame = found.previous;
        }
        Ok(None)
    }

    /// Where the next frame, of which this was `found`, is in the code object that it runs.
    #[inline]
    fn instruction_offset_bytes(&self, found: &FoundFrame) -> Result<i32, Fault> {
        if self.words.is_position_plain {
            return Ok(self.words.offset_bytes(found, found.code));
        }
        let Bytecode::Inline(_) = self.layout.code.bytecode else { return Err(Fault) };
        let (Some(index), Some(copies)) = (self.layout.frame.tlbc_index, self.layout.code.thread_copies) else {
            return Ok(self.words.offset_bytes(found, found.code));
        };
        let copy = thread_copy(self.memory, at(self.frame, index), at(found.code, copies))?;
        Ok(self.words.offset_bytes(found, copy.map_or(found.code, |copy| copy.wrapping_sub(self.words.bytecode))))
    }

    /// There is no next frame.
    #[inline(always)]
    fn end(&self) -> Result<WalkEnd, TornReason> {
        if let Some(inner) = self.innermost_on_stack.filter(|_| !self.is_link_checked) {
            check_first_of_chunk(self.memory, self.layout, self.thread_state, inner)?;
        }
        end_of_chain(self.memory, self.layout, self.thread_state, self.last)
    }
}

/// The words of a frame that every step needs.
struct FrameWords {
    offsets: WordOffsets<LINK_WORDS>,
    /// Where in the owner's word its byte begins, and which of its bits count: none where frames have no owner.
    owner_shift: u32,
    owner_mask: u8,
    /// Where in the position's word it begins.
    position_shift: u32,
    position: Position,
    /// Where in a code object its bytecode begins, if that is a part of it.
    bytecode: u64,
    /// The position says all that is asked: it does not point into a copy of the bytecode.
    is_position_plain: bool,
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
            owner_shift: frame.owner.map_or(0, shift),
            owner_mask: if frame.owner.is_some() { u8::MAX } else { 0 },
            position_shift: shift(position),
            position: frame.position,
            bytecode: if let Bytecode::Inline(offset) = layout.code.bytecode { u64::from(offset) } else { 0 },
            is_position_plain: match frame.position {
                Position::LastIndexBytes(_) | Position::LastIndexUnits(_) => true,
                Position::Pointer(_) => {
                    matches!(layout.code.bytecode, Bytecode::Inline(_))
                        && (frame.tlbc_index.is_none() || layout.code.thread_copies.is_none())
                }
            },
        })
    }

    /// The instruction's offset in bytes, where the bytecode lies as it does in a code object at `code`.
    #[inline(always)]
    fn offset_bytes(&self, found: &FoundFrame, code: u64) -> i32 {
        match self.position {
            Position::LastIndexBytes(_) => found.position as u32 as i32,
            // -1 before the first instruction stays negative.
            Position::LastIndexUnits(_) => (found.position as u32 as i32).saturating_mul(2),
            Position::Pointer(_) => {
                let distance = found.position.wrapping_sub(code.wrapping_add(self.bytecode)) as i64;
                i32::try_from(distance).unwrap_or(i32::MIN)
            }
        }
    }

    #[inline(always)]
    fn of_frame(&self, &[previous, code, position, owner]: &[u64; LINK_WORDS]) -> FoundFrame {
        FoundFrame {
            previous,
            code: code & !TAG_MASK,
            position: position.wrapping_shr(self.position_shift),
            owner: owner.wrapping_shr(self.owner_shift) as u8 & self.owner_mask,
        }
    }
}

/// What stands in a frame.
struct FoundFrame {
    previous: u64,
    /// Address of its code object; 0 for a frame that is being cleared.
    code: u64,
    /// What [`Position`] says; higher bits are of something else if that is an int.
    position: u64,
    /// Who it belongs to; 0 where frames have no owner.
    owner: u8,
}

/// A frame that was walked over.
#[derive(Clone, Copy)]
struct Link {
    frame: u64,
    owner: u8,
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
#[inline(always)]
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
    let is_root = match layout.frame.is_entry {
        _ if layout.frame.owner.is_none() || last.frame == 0 => true,
        Some(offset) => memory.read_u8(at(last.frame, offset))? != 0,
        None => last.owner >= FIRST_SHIM_OWNER,
    };
    if is_root { Ok(WalkEnd::Complete) } else { Err(TornReason::Root) }
}

/// Whether what a frame runs is a code object, or 0.
#[cold]
fn check_code<M: Memory>(memory: &M, layout: &Layout, code_type: u64, address: u64) -> Result<(), TornReason> {
    if address != 0 && memory.read_u64(at(address, layout.object.ob_type))? != code_type {
        return Err(TornReason::NotCode);
    }
    Ok(())
}

/// Where the copy of the bytecode begins that a frame runs, in free-threaded builds from 3.14: the one made for a thread, or
/// `None` if it is the code object's own. The frame has its number at `index`, the code object the array at `copies`.
#[inline(never)]
fn thread_copy<M: Memory>(memory: &M, index: u64, copies: u64) -> Result<Option<u64>, Fault> {
    let index = memory.read_u32(index)?;
    if index == 0 {
        return Ok(None);
    }
    // `_PyCodeArray { Py_ssize_t size; char *entries[size]; }` (`Include/cpython/code.h`).
    let array = memory.read_u64(copies)?;
    let size = memory.read_u64(array)?;
    if u64::from(index) >= size {
        return Err(Fault);
    }
    match memory.read_u64(array.wrapping_add(8).wrapping_add(8 * u64::from(index)))? {
        0 => Err(Fault),
        copy => Ok(Some(copy)),
    }
}
