//! A thread's samples as the page's timeline has them: runs, and where there are too many of these, one of several.
//!
//! 1. Neighbours with the same stack, activity and clocks are one entry, a *run*. That loses nothing a picture could show.
//! 2. If all threads together still have more than [`MAX_ENTRIES`], each *window* of so many runs becomes one entry for each
//!    activity in it: the stack of one of its runs, drawn with a chance in proportion to its weight, stands for all. So
//!    sums over any range stay right, shares are what a sample of the samples says, and no stack is preferred.

use profile::{Clock, Gil, NodeId, Sample, Thread};

use crate::html::payload::MAX_WEIGHT_NS;

/// Entries of all threads. Each takes some 3 bytes of the file.
pub(crate) const MAX_ENTRIES: usize = 1 << 17;

/// What a thread was doing, as the page colours it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Activity {
    /// On a processor, or nobody knows.
    Running,
    /// Blocked in a system call.
    Waiting,
    /// Blocked because another thread held the GIL.
    WaitingForGil,
}

impl Activity {
    pub(crate) fn of(sample: &Sample) -> Activity {
        match sample.state.gil() {
            Gil::Waits => Activity::WaitingForGil,
            _ if sample.state.is_blocked() => Activity::Waiting,
            _ => Activity::Running,
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) leaf: NodeId,
    pub(crate) activity: Activity,
    /// On which clocks it has weight, a bit each in the order of [`Clock::ALL`].
    pub(crate) carries: u8,
    /// Time between the entry before and this one that belongs to none: nobody looked.
    pub(crate) gap_ns: u64,
    pub(crate) samples: u64,
    /// In the order of [`Clock::ALL`].
    pub(crate) weights_ns: [u64; Clock::ALL.len()],
    pub(crate) wall_ns: u64,
}

impl Entry {
    fn new(sample: &Sample, gap_ns: u64) -> Entry {
        let weights_ns = Clock::ALL.map(|clock| sample.weight_ns(clock).min(MAX_WEIGHT_NS));
        let carries = weights_ns.iter().rev().fold(0, |bits, &weight_ns| bits << 1 | u8::from(weight_ns > 0));
        let wall_ns = sample.wall_ns.min(MAX_WEIGHT_NS);
        let activity = Activity::of(sample);
        Entry { leaf: sample.leaf, activity, carries, gap_ns, samples: sample.count, weights_ns, wall_ns }
    }

    fn is_like(&self, other: &Entry) -> bool {
        (self.activity, self.carries) == (other.activity, other.carries)
    }

    fn add(&mut self, other: &Entry) {
        self.samples = self.samples.saturating_add(other.samples);
        self.wall_ns = self.wall_ns.saturating_add(other.wall_ns).min(MAX_WEIGHT_NS);
        for (sum, weight_ns) in self.weights_ns.iter_mut().zip(other.weights_ns) {
            *sum = sum.saturating_add(weight_ns).min(MAX_WEIGHT_NS);
        }
    }
}

/// Runs of a thread, in the order of time.
fn runs(thread: &Thread) -> impl Iterator<Item = Entry> + '_ {
    let mut at_ns = thread.timeline.start_ns();
    let mut entries = thread
        .timeline
        .iter()
        .map(move |sample| {
            let gap_ns = sample.timestamp_ns.saturating_sub(at_ns).saturating_sub(sample.wall_ns);
            at_ns = sample.timestamp_ns;
            Entry::new(&sample, gap_ns)
        })
        .peekable();
    std::iter::from_fn(move || {
        let mut run = entries.next()?;
        while let Some(more) = entries.next_if(|next| next.gap_ns == 0 && next.leaf == run.leaf && next.is_like(&run)) {
            run.add(&more);
        }
        Some(run)
    })
}

/// What is kept of the threads' order of time.
#[derive(Debug)]
pub(crate) struct Timelines {
    /// How many runs a window has; 1: every run is there.
    pub(crate) window_runs: usize,
    /// By thread.
    pub(crate) entries: Vec<Vec<Entry>>,
}

impl Timelines {
    pub(crate) fn new(threads: &[Thread], max_entries: usize) -> Timelines {
        let count: usize = threads.iter().map(|thread| runs(thread).count()).sum();
        let mut window_runs = count.div_ceil(max_entries.max(1)).max(1);
        loop {
            let entries: Vec<_> = threads.iter().map(|thread| windows(runs(thread), window_runs)).collect();
            let kept: usize = entries.iter().map(Vec::len).sum();
            // Where several activities share windows, or gaps end them, the first try is not enough. Past the longest
            // thread a longer window brings nothing more.
            if kept <= max_entries || window_runs > count {
                return Timelines { window_runs, entries };
            }
            window_runs = (window_runs * kept).div_ceil(max_entries).max(window_runs + 1);
        }
    }
}

fn windows(runs: impl Iterator<Item = Entry>, window_runs: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut window: Vec<Entry> = Vec::with_capacity(window_runs.min(1 << 12));
    let mut draw = Draw::default();
    for run in runs {
        if window.len() == window_runs || run.gap_ns > 0 {
            close(&mut window, &mut draw, &mut entries);
        }
        window.push(run);
    }
    close(&mut window, &mut draw, &mut entries);
    entries
}

fn close(window: &mut Vec<Entry>, draw: &mut Draw, entries: &mut Vec<Entry>) {
    let first = entries.len();
    for number in 0..window.len() {
        let run = &window[number];
        if entries[first..].iter().any(|entry| entry.is_like(run)) {
            continue;
        }
        let like = || window[number..].iter().filter(|other| other.is_like(run));
        let mut entry = run.clone();
        like().skip(1).for_each(|other| entry.add(other));
        let total = like().fold(0, |sum: u64, other| sum.saturating_add(importance(other)));
        let mut left = draw.below(total);
        let drawn = like().find(|other| {
            let found = left < importance(other);
            left = left.saturating_sub(importance(other));
            found
        });
        entry.leaf = drawn.unwrap_or(run).leaf;
        // Only the first run of a window follows a gap.
        entry.gap_ns = if number == 0 { run.gap_ns } else { 0 };
        entries.push(entry);
    }
    window.clear();
}

/// What a run counts when one is drawn. Where no clock says anything, its samples.
fn importance(run: &Entry) -> u64 {
    run.weights_ns.iter().copied().max().filter(|&weight_ns| weight_ns > 0).unwrap_or(run.samples)
}

/// Numbers spread evenly over a range, the same every time: a file must not differ from one writing to the next.
#[derive(Default)]
struct Draw(u64);

impl Draw {
    /// A number below `end`; 0 if that is 0.
    fn below(&mut self, end: u64) -> u64 {
        // The fraction of multiples of the golden ratio never comes near itself again.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = self.0.wrapping_add(GOLDEN);
        ((u128::from(self.0) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use profile::{Moment, NewThread, Observation, Profile, Recording, RecordingInfo, Running, State};

    use super::*;

    const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);
    const BLOCKED: State = State::new(Running::Blocked, Gil::Detached);
    const GIL: State = State::new(Running::Blocked, Gil::Waits);

    /// A thread with these samples, each the function it was in, its wall and CPU time and its state.
    fn profile(samples: impl IntoIterator<Item = (&'static str, u64, u64, State)>) -> Profile {
        let mut recording = Recording::without_limit(RecordingInfo::default());
        let thread = recording.add_thread(NewThread::default());
        for (name, wall_ns, cpu_ns, state) in samples {
            let function = recording.intern_function(name, "", 0, false);
            let leaf = recording.child(NodeId::ROOT, function, 0);
            recording.record(thread, Observation { leaf, wall_ns, cpu_ns, state });
        }
        recording.finish(Moment::default(), profile::Counters::default())
    }

    fn name(profile: &Profile, entry: &Entry) -> String {
        let function = profile.functions.get(profile.tree.function(entry.leaf));
        profile.strings.get(function.name).to_owned()
    }

    #[test]
    fn neighbours_that_look_the_same_are_one() {
        let profile = profile([
            ("a", 10, 10, ON_CPU),
            ("a", 11, 9, ON_CPU),
            ("a", 10, 0, ON_CPU), // no CPU time
            ("a", 10, 0, BLOCKED),
            ("a", 10, 0, GIL),
            ("b", 10, 10, ON_CPU),
        ]);
        let timelines = Timelines::new(&profile.threads, 100);
        assert_eq!(timelines.window_runs, 1);
        let seen: Vec<_> = timelines.entries[0]
            .iter()
            .map(|entry| (name(&profile, entry), entry.activity, entry.carries & 3, entry.samples, entry.wall_ns))
            .collect();
        let a = || "a".to_owned();
        let expected = [
            (a(), Activity::Running, 3, 2, 21),
            (a(), Activity::Running, 2, 1, 10),
            (a(), Activity::Waiting, 2, 1, 10),
            (a(), Activity::WaitingForGil, 2, 1, 10),
            ("b".to_owned(), Activity::Running, 3, 1, 10),
        ];
        assert_eq!(seen, expected);
        assert_eq!(timelines.entries[0][0].weights_ns[..2], [19, 21]);
    }

    #[test]
    fn windows_keep_every_sum_and_draw_by_weight() {
        // Of the time on CPU, a has 3 parts of 4; in between, waits.
        let samples = (0..4000).map(|number| match number % 4 {
            0 => ("a", 30, 30, ON_CPU),
            1 => ("wait", 7, 0, BLOCKED),
            2 => ("b", 10, 10, ON_CPU),
            _ => ("gil", 5, 0, GIL),
        });
        let profile = profile(samples);
        let timelines = Timelines::new(&profile.threads, 300);
        let entries = &timelines.entries[0];
        assert!(entries.len() <= 300 && entries.len() > 200, "{}", entries.len());
        let sum = |of: fn(&Entry) -> u64| entries.iter().map(of).sum::<u64>();
        let all = profile.weights();
        assert_eq!(sum(|entry| entry.wall_ns), all.wall_ns);
        assert_eq!(sum(|entry| entry.samples), 4000);
        for (position, clock) in Clock::ALL.into_iter().enumerate() {
            let on_clock: u64 = entries.iter().map(|entry| entry.weights_ns[position]).sum();
            assert_eq!(on_clock, all.on(clock), "{clock:?}");
        }
        let cpu_of = |wanted: &str| -> u64 {
            let cpu = Clock::ALL.iter().position(|&clock| clock == Clock::Cpu).expect("it is one");
            let of = entries.iter().filter(|entry| name(&profile, entry) == wanted);
            of.map(|entry| entry.weights_ns[cpu]).sum()
        };
        let share = cpu_of("a") as f64 / all.cpu_ns as f64;
        assert!((0.72..0.78).contains(&share), "{share}");
        assert_eq!(cpu_of("wait") + cpu_of("gil"), 0);
    }

    #[test]
    fn a_gap_ends_runs_and_windows() {
        let mut recording = Recording::without_limit(RecordingInfo::default());
        let thread = recording.add_thread(NewThread::default());
        for at_ns in [100, 200] {
            recording.skip_to(thread, at_ns);
            for _ in 0..3 {
                let observation = Observation { leaf: NodeId::ROOT, wall_ns: 10, cpu_ns: 10, state: ON_CPU };
                recording.record(thread, observation);
            }
        }
        let profile = recording.finish(Moment::default(), profile::Counters::default());
        for max_entries in [100, 1] {
            let timelines = Timelines::new(&profile.threads, max_entries);
            let seen: Vec<_> = timelines.entries[0].iter().map(|entry| (entry.gap_ns, entry.wall_ns)).collect();
            assert_eq!(seen, [(100, 30), (70, 30)], "at most {max_entries}");
        }
    }
}
