//! The data of the page: the length of a JSON object (4 bytes, the lowest first), that object, and columns of numbers.
//!
//! The object says how long the columns are. They follow in this order, each whole, as [`columns`](super::columns) has it:
//!
//! - functions, the first without meaning: name and file (positions in `strings`), first line, origin (position in `origins`),
//!   first and last line of its source (0: none);
//! - nodes of the call tree, without the root: how far back the parent is, function, line minus first line;
//! - for each thread, its totals by stack and activity, exact: how far the node is behind the one before, activity, samples,
//!   and for each clock the weight in nanoseconds (from the second clock on: minus the one before) and the samples that carry it;
//! - for each thread, its timeline: node, gap in units, activity and which clocks it has weight on (bit 2 and up), samples,
//!   wall time in units, and for each clock the wall time minus the weight, in units. Units are of `unit_ns`; the roundings
//!   never add up.

use std::collections::BTreeMap;
use std::io;

use profile::{Clock, NodeId, Origin, Profile, Thread};
use serde::Serialize;

use super::columns::{push, push_difference};
use super::source::{SourceFile, Sources};
use super::timeline::{Activity, Entry, MAX_ENTRIES, Timelines};
use crate::header::Header;

/// 146 years: no measured weight is longer, and sums and differences of two stay in range.
pub(crate) const MAX_WEIGHT_NS: u64 = 1 << 62;

#[derive(Serialize)]
struct Payload<'a> {
    title: &'a str,
    /// The honest numbers, as in every other format.
    numbers: Header,
    clocks: Vec<ClockColumn>,
    origins: [&'static str; Origin::ALL.len()],
    strings: Vec<&'a str>,
    functions: usize,
    nodes: usize,
    threads: Vec<ThreadColumns>,
    unit_ns: u64,
    window_runs: usize,
    sources: Vec<SourceFile<'a>>,
}

#[derive(Serialize)]
struct ClockColumn {
    label: &'static str,
    /// Which bit of a timeline's activity column says that an entry has weight on it.
    bit: usize,
}

#[derive(Serialize)]
struct ThreadColumns {
    label: String,
    is_main: bool,
    /// Its samples follow each other in no order.
    is_folded: bool,
    /// Where its timeline begins, after the recording's start.
    start_ns: u64,
    totals: usize,
    entries: usize,
}

pub(crate) fn write(profile: &Profile, title: &str, clocks: &[Clock], out: &mut impl io::Write) -> io::Result<()> {
    write_with(profile, title, clocks, MAX_ENTRIES, out)
}

fn write_with(
    profile: &Profile,
    title: &str,
    clocks: &[Clock],
    max_entries: usize,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let sources = Sources::read(profile, clocks[0]);
    let timelines = Timelines::new(&profile.threads, max_entries);
    let totals: Vec<_> = profile.threads.iter().map(totals).collect();
    let unit_ns = unit_ns(&timelines);
    let numbers = Header::new(profile, Vec::new());
    let start_ns = profile.info.start.monotonic_ns;
    let labels = numbers.thread_labels();
    let threads = labels.into_iter().zip(&profile.threads).zip(totals.iter().zip(&timelines.entries));
    let threads = threads
        .map(|((label, thread), (totals, entries))| ThreadColumns {
            label,
            is_main: thread.is_main,
            is_folded: thread.is_folded(),
            start_ns: thread.timeline.start_ns().saturating_sub(start_ns),
            totals: totals.len(),
            entries: entries.len(),
        })
        .collect();

    let (strings, functions) = functions(profile, &sources);
    let payload = Payload {
        title,
        numbers,
        clocks: clocks.iter().map(|clock| ClockColumn { label: clock.label(), bit: bit(*clock) }).collect(),
        origins: Origin::ALL.map(Origin::label),
        strings,
        functions: profile.functions.len(),
        nodes: profile.tree.len(),
        threads,
        unit_ns,
        window_runs: timelines.window_runs,
        sources: sources.files(),
    };
    let json = serde_json::to_vec(&payload)?;
    out.write_all(
        &u32::try_from(json.len()).map_err(|_| io::Error::other("the names take more than 4 GB"))?.to_le_bytes(),
    )?;
    out.write_all(&json)?;
    out.write_all(&functions)?;
    out.write_all(&nodes(profile))?;
    for totals in &totals {
        out.write_all(&totals_columns(totals, clocks))?;
    }
    for entries in &timelines.entries {
        out.write_all(&timeline_columns(entries, clocks, unit_ns))?;
    }
    Ok(())
}

fn bit(clock: Clock) -> usize {
    Clock::ALL.iter().position(|&other| other == clock).expect("all clocks are in it")
}

/// The strings that are used, and the columns of the functions.
fn functions<'a>(profile: &'a Profile, sources: &Sources) -> (Vec<&'a str>, Vec<u8>) {
    let mut strings = Vec::new();
    let mut position = vec![None; profile.strings.len()];
    let [mut names, mut files, mut first_lines, mut origins, mut source_first, mut source_last] =
        [const { Vec::new() }; 6];
    let none = profile.tree.function(NodeId::ROOT);
    for id in [none].into_iter().chain(profile.functions.ids()) {
        let function = profile.functions.get(id);
        for (string, column) in [(function.name, &mut names), (function.file, &mut files)] {
            let position = *position[string.index()].get_or_insert_with(|| {
                strings.push(profile.strings.get(string));
                strings.len() - 1
            });
            push(column, position as u64);
        }
        push(&mut first_lines, function.first_line.into());
        let origin = profile.origin(id);
        push(&mut origins, Origin::ALL.iter().position(|&other| other == origin).expect("all are in it") as u64);
        let (first, last) = sources.lines(id);
        push(&mut source_first, first.into());
        push(&mut source_last, last.into());
    }
    (strings, [names, files, first_lines, origins, source_first, source_last].concat())
}

fn nodes(profile: &Profile) -> Vec<u8> {
    let tree = &profile.tree;
    let [mut parents, mut functions, mut lines] = [const { Vec::new() }; 3];
    for node in tree.ids().skip(1) {
        let function = tree.function(node);
        push(&mut parents, (node.index() - tree.parent(node).index()) as u64);
        push(&mut functions, function.index() as u64);
        push_difference(&mut lines, tree.line(node).into(), profile.functions.get(function).first_line.into());
    }
    [parents, functions, lines].concat()
}

/// What a thread's samples of one stack and activity add up to.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    samples: u64,
    weights_ns: [u64; Clock::ALL.len()],
    carriers: [u64; Clock::ALL.len()],
}

fn totals(thread: &Thread) -> BTreeMap<(NodeId, Activity), Total> {
    let mut totals: BTreeMap<_, Total> = BTreeMap::new();
    for sample in &thread.timeline {
        let total = totals.entry((sample.leaf, Activity::of(&sample))).or_default();
        total.samples = total.samples.saturating_add(sample.count);
        for (position, clock) in Clock::ALL.into_iter().enumerate() {
            let weight_ns = sample.weight_ns(clock);
            total.weights_ns[position] = total.weights_ns[position].saturating_add(weight_ns).min(MAX_WEIGHT_NS);
            if weight_ns > 0 {
                total.carriers[position] = total.carriers[position].saturating_add(sample.count);
            }
        }
    }
    totals
}

fn totals_columns(totals: &BTreeMap<(NodeId, Activity), Total>, clocks: &[Clock]) -> Vec<u8> {
    let [mut nodes, mut activities, mut samples, mut on_clocks] = [const { Vec::new() }; 4];
    let mut last = 0;
    for (&(node, activity), total) in totals {
        push(&mut nodes, (node.index() - last) as u64);
        last = node.index();
        push(&mut activities, activity as u64);
        push(&mut samples, total.samples);
    }
    let mut before: Option<usize> = None;
    for clock in clocks.iter().map(|&clock| bit(clock)) {
        for total in totals.values() {
            push_difference(
                &mut on_clocks,
                total.weights_ns[clock],
                before.map_or(0, |before| total.weights_ns[before]),
            );
        }
        totals.values().for_each(|total| push(&mut on_clocks, total.carriers[clock]));
        before = Some(clock);
    }
    [nodes, activities, samples, on_clocks].concat()
}

/// A unit of time in which the entries of the timelines are some dozens long each: fine enough for a picture, and few bytes.
fn unit_ns(timelines: &Timelines) -> u64 {
    const UNITS_AN_ENTRY: u64 = 64;
    let entries = || timelines.entries.iter().flatten();
    let sum_ns = entries().fold(0, |sum: u64, entry| {
        sum.saturating_add(entry.weights_ns.iter().fold(entry.wall_ns, |most, &weight_ns| most.max(weight_ns)))
    });
    (sum_ns / (entries().count() as u64).max(1) / UNITS_AN_ENTRY).max(1)
}

/// Rounds a growing sum, so that no error adds up.
#[derive(Clone, Copy, Default)]
struct Rounded {
    sum_ns: u64,
    units: u64,
}

impl Rounded {
    fn add(&mut self, ns: u64, unit_ns: u64) -> u64 {
        self.sum_ns = self.sum_ns.saturating_add(ns);
        let units = self.sum_ns / unit_ns;
        units - std::mem::replace(&mut self.units, units)
    }
}

fn timeline_columns(entries: &[Entry], clocks: &[Clock], unit_ns: u64) -> Vec<u8> {
    let [mut nodes, mut gaps, mut activities, mut samples, mut walls] = [const { Vec::new() }; 5];
    let mut on_clocks = vec![Vec::new(); clocks.len()];
    let (mut gap_sum, mut wall_sum) = (Rounded::default(), Rounded::default());
    let mut sums = vec![Rounded::default(); clocks.len()];
    for entry in entries {
        push(&mut nodes, entry.leaf.index() as u64);
        push(&mut gaps, gap_sum.add(entry.gap_ns, unit_ns));
        push(&mut activities, entry.activity as u64 | u64::from(entry.carries) << 2);
        push(&mut samples, entry.samples);
        let wall = wall_sum.add(entry.wall_ns, unit_ns);
        push(&mut walls, wall);
        for ((column, sum), &clock) in on_clocks.iter_mut().zip(&mut sums).zip(clocks) {
            push_difference(column, wall, sum.add(entry.weights_ns[bit(clock)], unit_ns));
        }
    }
    [nodes, gaps, activities, samples, walls].into_iter().chain(on_clocks).flatten().collect()
}
