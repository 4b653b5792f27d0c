//! How long the signal handler and its parts take, for the benchmarks: nothing at all without the feature `bench`.

/// What is timed. Its number is its place among the histograms.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// A call of the handler, from its first instruction to its last.
    Whole,
    /// The walk into the ring.
    Walk,
    /// Setting the timer for the next tick.
    Timer,
    /// [`bare_walk`]; only the benchmarks have it.
    #[cfg(feature = "bench")]
    BareWalk,
}

#[cfg(feature = "bench")]
pub(crate) use measured::{DURATIONS, IS_BARE_WALKED, Timed, bare_walk};

#[cfg(feature = "bench")]
mod measured {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use interpreter::layout::{Innermost, Position};
    use interpreter::{Memory, RawFrame};

    use super::Part;
    use crate::cycle_histogram::{CycleHistogram, cycles};
    use crate::record::{self, FrameWriter};
    use crate::safe_load::LiveMemory;
    use crate::shared::Shared;

    /// Every call and part since they were last taken, one histogram a [`Part`].
    pub(crate) static DURATIONS: [CycleHistogram; 4] = [const { CycleHistogram::new() }; 4];

    /// Whether in every second call of the handler the stack is first walked by [`bare_walk`], which leaves its memory in the
    /// caches: nothing else of these calls is counted.
    pub(crate) static IS_BARE_WALKED: AtomicBool = AtomicBool::new(false);
    static CALLS: AtomicU64 = AtomicU64::new(0);

    fn is_bare_call() -> bool {
        IS_BARE_WALKED.load(Ordering::Relaxed) && CALLS.load(Ordering::Relaxed) & 1 == 0
    }

    /// Counts the time from its making to its end.
    pub(crate) struct Timed(Part, u64);

    impl Timed {
        pub(crate) fn begin(part: Part) -> Self {
            if matches!(part, Part::Whole) {
                CALLS.fetch_add(1, Ordering::Relaxed);
            }
            Self(part, cycles())
        }
    }

    impl Drop for Timed {
        fn drop(&mut self) {
            if !is_bare_call() || matches!(self.0, Part::BareWalk) {
                DURATIONS[self.0 as usize].record(cycles().wrapping_sub(self.1));
            }
        }
    }

    /// The floor of a walk: loads the same four words of each of `frames` frames and puts as much into the ring, with plain
    /// instructions and without a single check. The chain must be whole, so the program that is measured does not call or
    /// return while its stack is looked at.
    pub(crate) fn bare_walk(shared: &Shared, thread_state: u64, frames: u64) {
        if !is_bare_call() || thread_state == 0 {
            return;
        }
        let layout = &shared.host.layout;
        let at = |base: u64, offset: u32| base + u64::from(offset);
        let first = match layout.thread_state.innermost {
            Innermost::Direct(offset) => LiveMemory.read_u64(at(thread_state, offset)),
            Innermost::ThroughCFrame { cframe, current_frame } => LiveMemory
                .read_u64(at(thread_state, cframe))
                .and_then(|cframe| LiveMemory.read_u64(at(cframe, current_frame))),
        };
        let (Position::LastIndexBytes(position) | Position::LastIndexUnits(position) | Position::Pointer(position)) =
            layout.frame.position;
        let owner = layout.frame.owner.unwrap_or(layout.frame.previous) & !7;
        let (Ok(mut frame), Some(taken)) = (first, shared.ring.reserve(record::length_words(frames))) else { return };
        let timed = Timed::begin(Part::BareWalk);
        let mut writer = FrameWriter::new(&shared.ring, taken);
        for _ in 0..frames {
            if frame == 0 {
                break;
            }
            let load = |offset: u32| {
                // SAFETY: `frame` is in the chain of the calling thread, which is whole (see above), and the offsets are of
                // fields of a frame.
                unsafe { std::ptr::read_volatile(at(frame, offset & !7) as *const u64) }
            };
            let position = load(position) ^ load(owner);
            let shown = RawFrame { code_address: load(layout.frame.code), instruction_offset_bytes: position as i32 };
            writer.write(&[shown]);
            frame = load(layout.frame.previous);
        }
        drop(timed);
        record::abandon(&shared.ring, taken);
    }
}

/// Does nothing.
#[cfg(not(feature = "bench"))]
pub(crate) struct Timed;

#[cfg(not(feature = "bench"))]
impl Timed {
    pub(crate) const fn begin(_: Part) -> Self {
        Self
    }
}

/// Does nothing.
#[cfg(not(feature = "bench"))]
pub(crate) const fn bare_walk(_: &crate::shared::Shared, _: u64, _: u64) {}
