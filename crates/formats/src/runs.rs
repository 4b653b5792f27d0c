//! Runs: neighbouring samples of a thread with the same stack and state, as one.

use profile::{Clock, State, Timeline};

use crate::stacks::GAP;

/// A stack and how long it lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) stack: u32,
    pub(crate) state: State,
    pub(crate) weight_ns: u64,
    /// How many samples it stands for; none for a [`GAP`].
    pub(crate) samples: u64,
}

/// The runs of a thread on one clock, in the order of time.
///
/// Samples without weight are left out, but on the wall clock they stay, so that every CPU run has its wall run, which lets a reader put the two together again ([`join`]); and time that was skipped is there a
/// run of [`GAP`].
pub(crate) fn runs<'a>(
    timeline: &'a Timeline,
    clock: Clock,
    stack_of_leaf: &'a [u32],
) -> impl Iterator<Item = Run> + 'a {
    let mut at_ns = timeline.start_ns();
    let mut samples = timeline
        .iter()
        .flat_map(move |sample| {
            let gap_ns = sample.timestamp_ns.saturating_sub(at_ns).saturating_sub(sample.wall_ns);
            at_ns = sample.timestamp_ns;
            let gap = (gap_ns > 0 && clock == Clock::Wall).then_some(Run {
                stack: GAP,
                state: State::UNKNOWN,
                weight_ns: gap_ns,
                samples: 0,
            });
            let stack = stack_of_leaf[sample.leaf.index()];
            let run = Run { stack, state: sample.state, weight_ns: sample.weight_ns(clock), samples: sample.count };
            gap.into_iter().chain((clock == Clock::Wall || run.weight_ns > 0).then_some(run))
        })
        .peekable();
    std::iter::from_fn(move || {
        let mut run = samples.next()?;
        while let Some(more) = samples.next_if(|next| (next.stack, next.state) == (run.stack, run.state)) {
            run.weight_ns = run.weight_ns.saturating_add(more.weight_ns);
            run.samples = run.samples.saturating_add(more.samples);
        }
        Some(run)
    })
}

/// What both clocks say about one stretch of time, which may be a [`GAP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) stack: u32,
    pub(crate) state: State,
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) samples: u64,
}

/// Puts the CPU and wall runs of one thread together again.
///
/// The CPU runs went through the stacks in the same order as the wall runs, leaving some out; so each is matched with the
/// next wall run of its stack. Those that find none (in a file that was made otherwise) come last, without wall time: the
/// sums of both clocks are right in any case.
pub(crate) fn join(cpu: Vec<Run>, wall: Vec<Run>) -> impl Iterator<Item = Stretch> {
    let mut cpu = cpu.into_iter().peekable();
    let mut wall = wall.into_iter();
    std::iter::from_fn(move || {
        if let Some(Run { stack, state, weight_ns: wall_ns, samples }) = wall.next() {
            let is_the_same = |run: &Run| (run.stack, run.state) == (stack, state);
            let cpu_ns = cpu.next_if(is_the_same).map_or(0, |run| run.weight_ns);
            return Some(Stretch { stack, state, wall_ns, cpu_ns, samples });
        }
        cpu.next().map(|Run { stack, state, weight_ns: cpu_ns, samples }| Stretch {
            stack,
            state,
            wall_ns: 0,
            cpu_ns,
            samples,
        })
    })
}
