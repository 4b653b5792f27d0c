//! Profiles to look at, and chance that is the same in every run.

use std::collections::HashMap;

use profile::{
    Clock, Counters, Gil, Moment, NewThread, NodeId, Observation, Profile, Recording, RecordingInfo, Running, State,
    ThreadId,
};

pub(crate) const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);
pub(crate) const BLOCKED: State = State::new(Running::Blocked, Gil::Detached);
pub(crate) const WAITS_FOR_GIL: State = State::new(Running::Blocked, Gil::Waits);
pub(crate) const BLOCKED_WITH_GIL: State = State::new(Running::Blocked, Gil::Holds);

/// Interval of the profiles here.
pub(crate) const INTERVAL_NS: u64 = 10;

/// A recording whose stacks are named by their functions.
pub(crate) struct Builder {
    recording: Recording,
    stacks: HashMap<String, NodeId>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder::of_process(0, Moment::default())
    }

    pub(crate) fn of_process(pid: u32, start: Moment) -> Builder {
        let info = RecordingInfo { pid, start, interval_ns: INTERVAL_NS, ..RecordingInfo::default() };
        Builder { recording: Recording::without_limit(info), stacks: HashMap::new() }
    }

    pub(crate) fn thread(&mut self, name: &str, native_id: u64) -> ThreadId {
        let is_main = name == "MainThread";
        self.recording.add_thread(NewThread { name: name.to_owned(), native_id, is_main, ..NewThread::default() })
    }

    /// A stack, `main:3 f:5` for instance: function `main` at line 3 calls `f`, which is at line 5; all in
    /// `app.py`, but for a function `lib.f`, which is in an installed package.
    fn stack(&mut self, text: &str) -> NodeId {
        if let Some(&known) = self.stacks.get(text) {
            return known;
        }
        let leaf = text.split_whitespace().fold(NodeId::ROOT, |parent, frame| {
            let (name, line) = frame.split_once(':').unwrap_or((frame, "1"));
            let file =
                if name.starts_with("lib.") { "/usr/lib/python3.12/site-packages/lib.py" } else { "/srv/app.py" };
            let function = self.recording.intern_function(name, file, 1, false);
            self.recording.child(parent, function, line.parse().unwrap())
        });
        self.stacks.insert(text.to_owned(), leaf);
        leaf
    }

    pub(crate) fn record(&mut self, thread: ThreadId, stack: &str, wall_ns: u64, cpu_ns: u64, state: State) {
        let leaf = self.stack(stack);
        self.recording.record(thread, Observation { leaf, wall_ns, cpu_ns, state });
    }

    /// So many samples on CPU of one interval each, put together as coarsening does.
    pub(crate) fn record_samples(&mut self, thread: ThreadId, stack: &str, samples: u64) {
        let leaf = self.stack(stack);
        let time_ns = samples * INTERVAL_NS;
        self.recording.record_several(
            thread,
            Observation { leaf, wall_ns: time_ns, cpu_ns: time_ns, state: ON_CPU },
            samples,
        );
    }

    pub(crate) fn skip_to(&mut self, thread: ThreadId, at_ns: u64) {
        self.recording.skip_to(thread, at_ns);
    }

    pub(crate) fn finish(self) -> Profile {
        self.finish_at(Moment::default())
    }

    pub(crate) fn finish_at(self, end: Moment) -> Profile {
        self.recording.finish(end, Counters { dropped: 2, missed_ticks: 1, ..Counters::default() })
    }
}

/// One thread on CPU in each of these stacks for so many samples of one interval, which are one entry.
pub(crate) fn profile(stacks: &[(&str, u64)]) -> Profile {
    let mut builder = Builder::new();
    let main = builder.thread("MainThread", 1);
    for &(stack, samples) in stacks {
        builder.record_samples(main, stack, samples);
    }
    builder.finish()
}

pub(crate) fn name(profile: &Profile, function: profile::FunctionId) -> &str {
    profile.strings.get(profile.functions.get(function).name)
}

/// Each thread's samples as (thread, stack, timestamp, wall, CPU, count), stacks as [`Builder::record`] takes them.
pub(crate) type Shown = (String, String, u64, u64, u64, u64);

pub(crate) fn samples(profile: &Profile) -> Vec<Shown> {
    let mut shown = Vec::new();
    for thread in &profile.threads {
        for sample in &thread.timeline {
            let frames = profile.tree.frames(sample.leaf);
            let stack: Vec<String> =
                frames.map(|(function, line)| format!("{}:{line}", name(profile, function))).collect();
            shown.push((
                thread.name.clone(),
                stack.join(" "),
                sample.timestamp_ns,
                sample.wall_ns,
                sample.cpu_ns,
                sample.count,
            ));
        }
    }
    shown
}

/// (own, total) of a function on a clock; zeros if it is not there.
pub(crate) fn function_ns(profile: &Profile, function: &str, clock: Clock) -> (u64, u64) {
    let totals = profile.function_totals(clock);
    let found = totals.iter().find(|total| name(profile, total.function) == function);
    found.map_or((0, 0), |total| (total.own.on(clock), total.total.on(clock)))
}

/// Chance by counting: SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `shares`, each as often as its share says.
    pub(crate) fn pick(&mut self, shares: &[f64]) -> usize {
        let mut left = self.share() * shares.iter().sum::<f64>();
        for (number, share) in shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return number;
            }
        }
        shares.len() - 1
    }
}
