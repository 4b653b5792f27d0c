//! Writing. Everything is serialized as it is computed: only the frame list and the tree of stacks are held.

use std::io;

use profile::{Clock, FunctionId, Profile, State, ThreadIndex};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::SCHEMA;
use crate::frames::Frames;
use crate::header::{Header, VERSION, View};
use crate::labels::ALL_THREADS;
use crate::runs::{Run, runs};
use crate::sequence::Sequence;
use crate::stacks::GAP;
use crate::{WriteOptions, clocks};

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let views = views(profile, options.clock);
    let mut header = Header::new(profile, views);
    header.lines = options.lines;
    let frames = Frames::new(profile, options.lines);
    for (thread, index) in profile.threads.iter().zip(0..) {
        let wall = runs(&thread.timeline, Clock::Wall, &frames.stack_of_leaf).enumerate();
        header.set_gaps(index, wall.filter(|(_, run)| run.stack == GAP).map(|(number, _)| number).collect());
        let counted = runs(&thread.timeline, header.counts_on(index), &frames.stack_of_leaf);
        header.set_samples(index, counted.map(|run| run.samples).collect());
        for clock in header.clocks_of(index) {
            let states = runs(&thread.timeline, clock, &frames.stack_of_leaf).map(|run| run.state);
            header.set_states(index, clock, states);
        }
    }
    let labels = header.thread_labels();
    let file = File { profile, name: &options.name, header, frames, labels };
    serde_json::to_writer(&mut *out, &file)?;
    out.write_all(b"\n")
}

/// What the file will show, in its order.
fn views(profile: &Profile, clock: Option<Clock>) -> Vec<View> {
    let weights: Vec<_> = profile.threads.iter().map(|thread| (thread.is_main, thread.weights())).collect();
    let views_of_clock = |clock: Clock| {
        let mut threads: Vec<_> = (0..).zip(&weights).filter(|(_, (_, weights))| weights.on(clock) > 0).collect();
        threads.sort_by_key(|(_, (is_main, weights))| std::cmp::Reverse((*is_main, weights.on(clock))));
        let threads = threads.into_iter().map(move |(index, _)| View::of_thread(clock, ThreadIndex(index)));
        [View::all_threads(clock)].into_iter().chain(threads)
    };
    clocks(profile, clock).into_iter().flat_map(views_of_clock).collect()
}

struct File<'a> {
    profile: &'a Profile,
    name: &'a str,
    header: Header,
    frames: Frames,
    labels: Vec<String>,
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = serializer.serialize_struct("File", 7)?;
        file.serialize_field("$schema", SCHEMA)?;
        file.serialize_field("exporter", &format!("spprof@{VERSION}"))?;
        if !self.name.is_empty() {
            file.serialize_field("name", self.name)?;
        }
        file.serialize_field("activeProfileIndex", &0)?;
        file.serialize_field("spprof", &self.header)?;
        file.serialize_field("shared", &Shared(self))?;
        file.serialize_field("profiles", &Sequence(|| self.header.views.iter().map(|&view| Sampled(self, view))))?;
        file.end()
    }
}

struct Shared<'a>(&'a File<'a>);

impl Serialize for Shared<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shared(file) = self;
        let frames = || file.frames.frames.iter().map(|&(function, line)| Frame { file, function, line });
        let mut shared = serializer.serialize_struct("shared", 1)?;
        shared.serialize_field("frames", &Sequence(frames))?;
        shared.end()
    }
}

struct Frame<'a> {
    file: &'a File<'a>,
    function: FunctionId,
    line: u32,
}

impl Serialize for Frame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Profile { functions, strings, .. } = self.file.profile;
        let function = functions.get(self.function);
        let lines = self.file.header.lines;
        let line = if lines { self.line } else { function.first_line };
        let mut frame = serializer.serialize_struct("Frame", 5)?;
        frame.serialize_field("name", strings.get(function.name))?;
        if !strings.get(function.file).is_empty() {
            frame.serialize_field("file", strings.get(function.file))?;
        }
        if line != 0 {
            frame.serialize_field("line", &line)?;
        }
        // The format has no place for the following two; the viewer passes over them, our reader does not.
        if lines && function.first_line != 0 {
            frame.serialize_field("first_line", &function.first_line)?;
        }
        if function.is_native {
            frame.serialize_field("is_native", &true)?;
        }
        frame.end()
    }
}

struct Sampled<'a>(&'a File<'a>, View);

impl Sampled<'_> {
    fn name(&self) -> String {
        let Sampled(file, view) = self;
        let thread = view.thread.map_or(ALL_THREADS, |thread| &file.labels[thread as usize]);
        format!("{thread} · {}", view.clock.label())
    }

    fn runs(&self) -> Box<dyn Iterator<Item = Run> + '_> {
        let Sampled(File { profile, frames, .. }, view) = self;
        if let Some(thread) = view.thread {
            return Box::new(runs(&profile.threads[thread as usize].timeline, view.clock, &frames.stack_of_leaf));
        }
        let mut weights = vec![0u64; frames.stacks.len()];
        for (leaf, leaf_weights) in profile.weights_by_leaf().iter().enumerate() {
            let weight = &mut weights[frames.stack_of_leaf[leaf] as usize];
            *weight = weight.saturating_add(leaf_weights.on(view.clock));
        }
        let stacks = frames.stacks.depth_first().into_iter();
        Box::new(
            stacks
                .map(move |stack| Run { stack, state: State::UNKNOWN, weight_ns: weights[stack as usize], samples: 1 })
                .filter(|run| run.weight_ns > 0),
        )
    }
}

impl Serialize for Sampled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Sampled(file, _) = self;
        let stacks = || self.runs().map(|run| file.frames.stacks.labels(run.stack));
        let weights = || self.runs().map(|run| run.weight_ns);
        let mut sampled = serializer.serialize_struct("SampledProfile", 7)?;
        sampled.serialize_field("type", "sampled")?;
        sampled.serialize_field("name", &self.name())?;
        sampled.serialize_field("unit", "nanoseconds")?;
        sampled.serialize_field("startValue", &0)?;
        sampled.serialize_field("endValue", &weights().fold(0u64, u64::saturating_add))?;
        sampled.serialize_field("samples", &Sequence(stacks))?;
        sampled.serialize_field("weights", &Sequence(weights))?;
        sampled.end()
    }
}
