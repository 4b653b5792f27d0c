//! What a format keeps of a profile, and what is lost in it.

use profile::{Clock, Profile, State};

use crate::{Format, WriteOptions, clocks};

/// Something that a profile says and a format may have no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Which functions called which, all the way down.
    Stacks,
    /// Every clock, side by side.
    Clocks,
    /// When each sample was taken.
    Times,
    /// Which thread a sample is of.
    Threads,
    /// Whether a thread was on CPU or blocked, and what it had to do with the GIL.
    States,
    /// At which line a function was.
    Lines,
    /// The time of threads that were in no Python function.
    WithoutPython,
    /// What was asked, got and lost.
    Numbers,
}

impl Fact {
    /// All of them, in the order in which their loss is said.
    pub const ALL: [Fact; 8] = [
        Fact::Stacks,
        Fact::Clocks,
        Fact::Times,
        Fact::Threads,
        Fact::States,
        Fact::Lines,
        Fact::WithoutPython,
        Fact::Numbers,
    ];

    /// Whether a profile says such a thing.
    fn is_in(self, profile: &Profile) -> bool {
        match self {
            Fact::Stacks => profile.tree.ids().skip(1).any(|node| profile.tree.parent(node) != profile::NodeId::ROOT),
            Fact::Clocks => clocks(profile, None).len() > 1,
            Fact::Times => profile.threads.iter().any(|thread| thread.timeline.len() > 1),
            Fact::Threads => profile.threads.iter().filter(|thread| !thread.timeline.is_empty()).count() > 1,
            Fact::States => {
                let mut samples = profile.threads.iter().flat_map(|thread| &thread.timeline);
                samples.any(|sample| sample.state != State::UNKNOWN)
            }
            Fact::Lines => profile.tree.ids().any(|node| profile.tree.line(node) > 0),
            Fact::WithoutPython => {
                let weights = profile.weights_without_python();
                Clock::ALL.into_iter().any(|clock| weights.on(clock) > 0)
            }
            Fact::Numbers => profile.info.interval_ns > 0,
        }
    }

    /// The sentence that says what becomes of it in a format that does not hold it.
    fn loss(self, profile: &Profile, format: Format, options: &WriteOptions) -> String {
        let name = format.name();
        match self {
            Fact::Stacks => format!("{name} holds callers and callees, no whole stacks"),
            Fact::Clocks => {
                let written = format.single_clock(profile, options);
                let others: Vec<&str> =
                    clocks(profile, None).into_iter().filter(|&clock| clock != written).map(Clock::label).collect();
                let (written, others) = (written.label(), others.join(" and "));
                format!(
                    "{name} holds one clock: {written} time is written, {others} time is left out; choose with --clock"
                )
            }
            Fact::Times => format!("{name} does not hold when a sample was taken: what has the same stack is added up"),
            Fact::Threads if format.can_hold(Fact::Threads) => {
                format!("{name} adds all threads up unless --threads keeps them apart")
            }
            Fact::Threads => format!("{name} does not hold threads: all are added up"),
            Fact::States => {
                format!(
                    "{name} does not hold what a thread was doing: on CPU, blocked or waiting for the GIL is left out"
                )
            }
            Fact::Lines if format.can_hold(Fact::Lines) => {
                format!("{name} puts the lines of a function together unless --lines tells them apart")
            }
            Fact::Lines => format!("{name} does not hold lines: those of a function are put together"),
            Fact::WithoutPython => {
                format!("{name} holds functions only: the time of threads in no Python function is left out")
            }
            Fact::Numbers => {
                format!("{name} has no place for the honest numbers: what was asked, got and lost is left out")
            }
        }
    }
}

impl Format {
    /// What files of this format hold when they are written with the default options.
    #[must_use]
    pub const fn holds(self) -> &'static [Fact] {
        match self {
            Format::Spprof => &Fact::ALL,
            // The viewer shows no states; we read them back.
            Format::Speedscope => &[
                Fact::Stacks,
                Fact::Clocks,
                Fact::Times,
                Fact::Threads,
                Fact::States,
                Fact::WithoutPython,
                Fact::Numbers,
            ],
            Format::Pprof => &[
                Fact::Stacks,
                Fact::Clocks,
                Fact::Threads,
                Fact::States,
                Fact::Lines,
                Fact::WithoutPython,
                Fact::Numbers,
            ],
            // The clocks: stacks weigh wall time, and CPU time has a track of its own.
            Format::Firefox => &[
                Fact::Stacks,
                Fact::Clocks,
                Fact::Times,
                Fact::Threads,
                Fact::States,
                Fact::Lines,
                Fact::WithoutPython,
                Fact::Numbers,
            ],
            // The clocks: CPU time is the thread's clock at each event.
            Format::Chrome => &[Fact::Stacks, Fact::Clocks, Fact::Times, Fact::Threads, Fact::Numbers],
            // Everything but the lines of a function at a time; but it is there to be looked at, and cannot be read back.
            Format::Html => &Fact::ALL,
            Format::Collapsed | Format::Svg => &[Fact::Stacks, Fact::Numbers],
            Format::Callgrind => &[Fact::Clocks, Fact::Lines, Fact::Numbers],
            Format::Pstats => &[],
        }
    }

    /// Whether it holds a thing by default or when the options ask for it.
    const fn can_hold(self, fact: Fact) -> bool {
        matches!(
            (self, fact),
            (Format::Collapsed, Fact::Threads | Fact::Lines | Fact::WithoutPython)
                | (Format::Speedscope | Format::Svg | Format::Chrome, Fact::Lines)
        )
    }

    fn single_clock(self, profile: &Profile, options: &WriteOptions) -> Clock {
        clocks(profile, options.clock)[0]
    }
}

/// What is lost when a profile is written in a format: a sentence for each thing that is in the profile and has no place there.
#[must_use]
pub fn losses(profile: &Profile, format: Format, options: &WriteOptions) -> Vec<String> {
    let is_asked_for = |fact: Fact| match fact {
        // Whoever chooses a clock knows that it is one.
        Fact::Clocks => options.clock.is_some(),
        Fact::Lines => options.lines && format.can_hold(fact),
        Fact::Threads | Fact::WithoutPython => options.thread_roots && format.can_hold(fact),
        _ => false,
    };
    Fact::ALL
        .into_iter()
        .filter(|fact| !format.holds().contains(fact) && !is_asked_for(*fact) && fact.is_in(profile))
        .map(|fact| fact.loss(profile, format, options))
        .collect()
}
