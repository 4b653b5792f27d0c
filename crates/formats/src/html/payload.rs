//! The data of the page: the length of a JSON object (4 bytes, the lowest first), that object, and columns of numbers.
//!
//! The object says how long the columns are. They follow in this order, each whole, as [`columns`](super::columns) has it:
//!
//! - functions, the first without meaning: name and file (positions in `strings`), first line, origin (position in `origins`),
//!   first and last line of its source (0: none);
//! - the call tree ([`tree_columns`]);
//! - tables of totals by stack and activity, exact, one for each thread, or one for all of them where these would be too many
//!   ([`MAX_TOTALS`]): how far the node is behind the one before, activity, samples, and for each clock the weight in
//!   nanoseconds (from the second clock on: minus the one before) and the samples that do not carry it;
//! - for each thread, its timeline: leaf, gap in units, activity and which clocks it has weight on (bit 2 and up), samples
//!   (not there if runs were put together), wall time in units, and for each clock the wall time minus the weight, in units.
//!   Units are of `unit_ns`; the roundings never add up. A leaf is its position among all leaves, those with most samples
//!   first, then by node: so the frequent ones are short.

use std::collections::BTreeMap;
use std::io;

use profile::{Clock, FunctionId, NodeId, Origin, Profile, Thread};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::columns::{push, push_difference};
use super::source::{SourceFile, Sources};
use super::timeline::{Activity, Entry, MAX_ENTRIES, Timelines};
use crate::header::Header;

/// 146 years: no measured weight is longer, and sums and differences of two stay in range.
pub(crate) const MAX_WEIGHT_NS: u64 = 1 << 62;

/// Rows of all threads' tables of totals. Each takes some 7 bytes of the file.
const MAX_TOTALS: usize = 1 << 16;

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
    /// How many rows each table of totals has.
    totals: Vec<usize>,
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
    entries: usize,
}

/// How much is kept.
#[derive(Clone, Copy)]
struct Limits {
    entries: usize,
    totals: usize,
}

pub(crate) fn write(profile: &Profile, title: &str, clocks: &[Clock], out: &mut impl io::Write) -> io::Result<()> {
    write_within(Limits { entries: MAX_ENTRIES, totals: MAX_TOTALS }, profile, title, clocks, out)
}

fn write_within(
    limits: Limits,
    profile: &Profile,
    title: &str,
    clocks: &[Clock],
    out: &mut impl io::Write,
) -> io::Result<()> {
    let sources = Sources::read(profile, clocks[0]);
    let timelines = Timelines::new(&profile.threads, limits.entries);
    let mut totals: Vec<Totals> = profile.threads.iter().map(|thread| totals([thread])).collect();
    if totals.iter().map(BTreeMap::len).sum::<usize>() > limits.totals {
        totals = vec![self::totals(&profile.threads)];
    }
    let unit_ns = unit_ns(&timelines);
    let numbers = Header::new(profile, Vec::new());
    let start_ns = profile.info.start.monotonic_ns;
    let threads = numbers.thread_labels().into_iter().zip(&profile.threads).zip(&timelines.entries);
    let threads = threads
        .map(|((label, thread), entries)| ThreadColumns {
            label,
            is_main: thread.is_main,
            is_folded: thread.is_folded(),
            start_ns: thread.timeline.start_ns().saturating_sub(start_ns),
            entries: entries.len(),
        })
        .collect();

    let (strings, functions) = functions(profile, &sources);
    let payload = Payload {
        title,
        numbers,
        clocks: clocks.iter().map(|&clock| ClockColumn { label: clock.label(), bit: bit(clock) }).collect(),
        origins: Origin::ALL.map(Origin::label),
        strings,
        functions: profile.functions.len(),
        nodes: profile.tree.len(),
        totals: totals.iter().map(BTreeMap::len).collect(),
        threads,
        unit_ns,
        window_runs: timelines.window_runs,
        sources: sources.files(),
    };
    let json = serde_json::to_vec(&payload)?;
    let length = u32::try_from(json.len()).map_err(|_| io::Error::other("the names take more than 4 GB"))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&json)?;
    out.write_all(&functions)?;
    out.write_all(&tree_columns(profile))?;
    for totals in &totals {
        out.write_all(&totals_columns(totals, clocks))?;
    }
    let positions = leaf_positions(&totals);
    for entries in &timelines.entries {
        out.write_all(&timeline_columns(entries, &positions, timelines.window_runs, clocks, unit_ns))?;
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

/// The nodes without the root, by what usually comes next. A *frame* is a function and a line, and what is called from a
/// frame is one of few. Of each node:
///
/// - how far back its parent is;
/// - which of the frames seen below its parent's frame so far it is, counted from 1; 0 if it is none of them;
/// - then, in a column of its own: which of all frames so far, counted from 1; 0 for a new one;
/// - then, in two more: its function, and line minus first line.
fn tree_columns(profile: &Profile) -> Vec<u8> {
    let tree = &profile.tree;
    let [mut parents, mut successors, mut frames, mut functions, mut lines] = [const { Vec::new() }; 5];
    let mut frame_numbers: FxHashMap<(FunctionId, u32), u32> = FxHashMap::default();
    let mut successor_numbers: FxHashMap<(u32, u32), u64> = FxHashMap::default();
    // By frame; 0 is that of the root.
    let mut successor_counts: Vec<u64> = vec![0];
    let mut frame_of_node: Vec<u32> = vec![0];
    for node in tree.ids().skip(1) {
        let parent = tree.parent(node);
        push(&mut parents, (node.index() - parent.index()) as u64);
        let (function, line) = (tree.function(node), tree.line(node));
        let above = frame_of_node[parent.index()];
        let known = frame_numbers.get(&(function, line)).copied();
        let frame = known.unwrap_or(successor_counts.len() as u32);
        frame_of_node.push(frame);
        if let Some(&number) = successor_numbers.get(&(above, frame)) {
            push(&mut successors, number);
            continue;
        }
        push(&mut successors, 0);
        successor_counts[above as usize] += 1;
        successor_numbers.insert((above, frame), successor_counts[above as usize]);
        push(&mut frames, known.unwrap_or(0).into());
        if known.is_none() {
            frame_numbers.insert((function, line), frame);
            successor_counts.push(0);
            push(&mut functions, function.index() as u64);
            push_difference(&mut lines, line.into(), profile.functions.get(function).first_line.into());
        }
    }
    let lengths = [&successors, &frames, &functions, &lines].map(|column| column.len() as u64);
    let mut all = Vec::new();
    lengths.into_iter().for_each(|length| push(&mut all, length));
    // The script reads them side by side: those that grow as it goes come first, the parents' last.
    for column in [successors, frames, functions, lines, parents] {
        all.extend(column);
    }
    all
}

/// What threads' samples add up to, by stack and activity.
type Totals = BTreeMap<(NodeId, Activity), Total>;

/// What the samples of one stack and activity add up to.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    samples: u64,
    weights_ns: [u64; Clock::ALL.len()],
    carriers: [u64; Clock::ALL.len()],
}

fn totals<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> Totals {
    let mut totals = Totals::new();
    for sample in threads.into_iter().flat_map(|thread| &thread.timeline) {
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

fn totals_columns(totals: &Totals, clocks: &[Clock]) -> Vec<u8> {
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
        totals.values().for_each(|total| push(&mut on_clocks, total.samples - total.carriers[clock]));
        before = Some(clock);
    }
    [nodes, activities, samples, on_clocks].concat()
}

/// The position of each leaf among all of them, those with most samples first, then by node.
fn leaf_positions(totals: &[Totals]) -> FxHashMap<NodeId, u64> {
    let mut samples: BTreeMap<NodeId, u64> = BTreeMap::new();
    for (&(leaf, _), total) in totals.iter().flatten() {
        let sum = samples.entry(leaf).or_default();
        *sum = sum.saturating_add(total.samples);
    }
    let mut leaves: Vec<_> = samples.into_iter().collect();
    leaves.sort_by_key(|&(leaf, samples)| (std::cmp::Reverse(samples), leaf));
    leaves.into_iter().map(|(leaf, _)| leaf).zip(0..).collect()
}

/// A unit of time in which the entries of the timelines are some dozens long each, in small files some thousands: fine
/// enough for a picture, and few bytes.
fn unit_ns(timelines: &Timelines) -> u64 {
    let entries = || timelines.entries.iter().flatten();
    let count = (entries().count() as u64).max(1);
    let units_an_entry = ((1 << 21) / count).clamp(16, 4096);
    let sum_ns = entries().fold(0, |sum: u64, entry| {
        sum.saturating_add(entry.weights_ns.iter().fold(entry.wall_ns, |most, &weight_ns| most.max(weight_ns)))
    });
    (sum_ns / count / units_an_entry).max(1)
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

fn timeline_columns(
    entries: &[Entry],
    positions: &FxHashMap<NodeId, u64>,
    window_runs: usize,
    clocks: &[Clock],
    unit_ns: u64,
) -> Vec<u8> {
    let [mut leaves, mut gaps, mut activities, mut samples, mut walls] = [const { Vec::new() }; 5];
    let mut on_clocks = vec![Vec::new(); clocks.len()];
    let (mut gap_sum, mut wall_sum) = (Rounded::default(), Rounded::default());
    let mut sums = vec![Rounded::default(); clocks.len()];
    for entry in entries {
        push(&mut leaves, positions[&entry.leaf]);
        push(&mut gaps, gap_sum.add(entry.gap_ns, unit_ns));
        push(&mut activities, entry.activity as u64 | u64::from(entry.carries) << 2);
        if window_runs == 1 {
            push(&mut samples, entry.samples);
        }
        let wall = wall_sum.add(entry.wall_ns, unit_ns);
        push(&mut walls, wall);
        for ((column, sum), &clock) in on_clocks.iter_mut().zip(&mut sums).zip(clocks) {
            push_difference(column, wall, sum.add(entry.weights_ns[bit(clock)], unit_ns));
        }
    }
    [leaves, gaps, activities, samples, walls].into_iter().chain(on_clocks).flatten().collect()
}
