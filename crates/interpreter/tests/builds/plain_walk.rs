//! The rules of a walk, written down once more: frame by frame and word by word, so that the real one, which reads ahead and
//! checks many frames together, has something to be compared with.

use interpreter::layout::{Bytecode, FrameSize, Innermost, Layout, Position};
use interpreter::{Fault, Memory, RawFrame, TornReason, WalkEnd};

/// What [`interpreter::walk`] must show, and how it must end.
pub(crate) fn plain_walk<M: Memory>(
    memory: &M,
    layout: &Layout,
    code_type: u64,
    thread: u64,
    max_frames: usize,
) -> (Vec<RawFrame>, WalkEnd) {
    let mut shown = Vec::new();
    let thread = Thread { memory, layout, code_type, address: thread };
    let end = thread.walk(max_frames, &mut shown).unwrap_or_else(WalkEnd::Torn);
    (shown, end)
}

struct Thread<'a, M> {
    memory: &'a M,
    layout: &'a Layout,
    code_type: u64,
    address: u64,
}

impl<M: Memory> Thread<'_, M> {
    fn word(&self, address: u64, offset: u32) -> Result<u64, Fault> {
        self.memory.read_u64(address.wrapping_add(u64::from(offset)))
    }

    fn int(&self, address: u64, offset: u32) -> Result<u32, Fault> {
        self.memory.read_u32(address.wrapping_add(u64::from(offset)))
    }

    fn walk(&self, max_frames: usize, shown: &mut Vec<RawFrame>) -> Result<WalkEnd, TornReason> {
        let layout = self.layout;
        let mut frame = match layout.thread_state.innermost {
            Innermost::Direct(offset) => self.word(self.address, offset)?,
            Innermost::ThroughCFrame { cframe, current_frame } => {
                self.word(self.word(self.address, cframe)?, current_frame)?
            }
        };
        // Frames of calls, from the innermost on.
        let mut on_stack = Vec::new();
        let mut last = None;
        for _ in 0..2 * max_frames + 64 {
            if frame == 0 {
                return self.end(&on_stack, last);
            }
            let (previous, code) =
                (self.word(frame, layout.frame.previous)?, self.word(frame, layout.frame.code)? & !7);
            let position = self.position(frame)?;
            let owner = layout.frame.owner.map(|offset| self.memory.read_u8(frame.wrapping_add(u64::from(offset))));
            let owner = owner.transpose()?;
            if matches!(owner, Some(2 | 5..)) {
                return Err(TornReason::Owner);
            }
            if matches!(owner, None | Some(0 | 1)) {
                if code != 0 && self.word(code, layout.object.ob_type)? != self.code_type {
                    return Err(TornReason::NotCode);
                }
                if owner == Some(0) {
                    if let [inner] = on_stack[..] {
                        self.check_caller(frame, code, inner)?;
                    }
                    on_stack.push(frame);
                }
                if code != 0 && shown.len() == max_frames {
                    return Ok(WalkEnd::Truncated);
                }
                if code != 0 {
                    let instruction_offset_bytes = self.offset_bytes(frame, code, position)?;
                    shown.push(RawFrame { code_address: code, instruction_offset_bytes });
                }
            }
            last = Some((frame, owner));
            frame = previous;
        }
        Err(TornReason::Endless)
    }

    fn position(&self, frame: u64) -> Result<u64, Fault> {
        match self.layout.frame.position {
            Position::LastIndexBytes(offset) | Position::LastIndexUnits(offset) => {
                self.int(frame, offset).map(u64::from)
            }
            Position::Pointer(offset) => self.word(frame, offset),
        }
    }

    fn offset_bytes(&self, frame: u64, code: u64, position: u64) -> Result<i32, Fault> {
        let own = match (self.layout.frame.position, self.layout.code.bytecode) {
            (Position::LastIndexBytes(_), _) => return Ok(position as u32 as i32),
            (Position::LastIndexUnits(_), _) => return Ok((position as u32 as i32).saturating_mul(2)),
            (Position::Pointer(_), Bytecode::Inline(offset)) => code.wrapping_add(u64::from(offset)),
            (Position::Pointer(_), Bytecode::Object(_)) => return Err(Fault),
        };
        let mut start = own;
        if let (Some(index), Some(copies)) = (self.layout.frame.tlbc_index, self.layout.code.thread_copies) {
            let index = u64::from(self.int(frame, index)?);
            if index != 0 {
                let array = self.word(code, copies)?;
                start = if index < self.word(array, 0)? { self.word(array, 8 + 8 * index as u32)? } else { 0 };
                if start == 0 {
                    return Err(Fault);
                }
            }
        }
        Ok(i32::try_from(position.wrapping_sub(start) as i64).unwrap_or(i32::MIN))
    }

    /// The innermost frame of a call begins where its caller's ends, or a chunk of the data stack does.
    fn check_caller(&self, caller: u64, code: u64, inner: u64) -> Result<(), TornReason> {
        let Some(size) = self.layout.code.frame_size else { return Ok(()) };
        if code == 0 {
            return Err(TornReason::Unlinked);
        }
        let words = match size {
            FrameSize::Words(offset) => u64::from(self.int(code, offset)?),
            FrameSize::Parts { locals, stack, specials_words } => {
                u64::from(self.int(code, locals)?) + u64::from(self.int(code, stack)?) + u64::from(specials_words)
            }
        };
        if caller.wrapping_add(8 * words) == inner { Ok(()) } else { self.check_begins_chunk(inner) }
    }

    fn check_begins_chunk(&self, frame: u64) -> Result<(), TornReason> {
        let Some(chunk) = self.layout.thread_state.datastack_chunk else { return Ok(()) };
        let chunk = self.word(self.address, chunk)?;
        let header_bytes = if self.word(chunk, 0)? == 0 { 32 } else { 24 };
        if chunk.wrapping_add(header_bytes) == frame { Ok(()) } else { Err(TornReason::Unlinked) }
    }

    fn end(&self, on_stack: &[u64], last: Option<(u64, Option<u8>)>) -> Result<WalkEnd, TornReason> {
        if let [only] = *on_stack {
            self.check_begins_chunk(only)?;
        }
        let last_frame = last.map_or(0, |(frame, _)| frame);
        if let Some(base) = self.layout.thread_state.base_frame
            && self.word(self.address, base)? != last_frame
        {
            return Err(TornReason::BaseFrame);
        }
        let is_root = match (last, self.layout.frame.is_entry) {
            (None | Some((_, None)), _) => true,
            (Some((frame, _)), Some(offset)) => self.memory.read_u8(frame.wrapping_add(u64::from(offset)))? != 0,
            (Some((_, Some(owner))), None) => owner >= 3,
        };
        if is_root { Ok(WalkEnd::Complete) } else { Err(TornReason::Root) }
    }
}
