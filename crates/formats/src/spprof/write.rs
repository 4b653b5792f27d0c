//! Writing: a pass over the samples, of which one chunk at a time is held.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::iter::Peekable;

use profile::{NodeId, Profile, Sample, Samples};

use super::varint::{put, put_signed, put_text};
use super::{ARGV, DONE, FUNC, HAS_COUNTS, HEAD, IS_MAIN, IS_NATIVE, NODE, SAMP, TEXT, THRD, chunk};
use crate::header::Header;

/// Samples in a chunk at most: enough to pack well, and what a cut in the file can cost.
const CHUNK_SAMPLES: usize = 4096;

/// A chunk of other things ends when it is longer than this.
const CHUNK_BYTES: usize = 64 << 10;

pub(crate) fn write(profile: &Profile, out: &mut impl io::Write) -> io::Result<()> {
    chunk::begin(out)?;
    let mut header = Header::new(profile, Vec::new());
    header.leave_out_lists();
    chunk::write(out, HEAD, &serde_json::to_vec(&header)?)?;
    records(out, ARGV, &profile.info.argv, |content, argument| put_text(content, argument))?;
    records(out, THRD, &profile.threads, |content, thread| {
        put_text(content, &thread.name);
        put(content, thread.native_id);
        put(content, thread.python_id);
        put(content, thread.started_ns);
        put(content, thread.ended_ns.map_or(0, |ended_ns| ended_ns.saturating_add(1)));
        put(content, thread.folded_threads);
        put(content, if thread.is_main { IS_MAIN } else { 0 });
    })?;

    let mut names = Names { profile, functions: 1, nodes: 1, strings: 1, number_of_string: vec![0] };
    let mut timelines: Vec<_> = profile.threads.iter().map(|thread| Timeline::new(&thread.timeline)).collect();
    // The thread whose next sample is the oldest goes on: what is at the end of the file is what was recorded last.
    let mut order: BinaryHeap<_> = timelines
        .iter_mut()
        .enumerate()
        .filter_map(|(thread, timeline)| Some(Reverse((timeline.next_ns()?, thread))))
        .collect();
    let mut samples = 0;
    while let Some(Reverse((_, thread))) = order.pop() {
        let timeline = &mut timelines[thread];
        let part: Vec<Sample> = timeline.samples.by_ref().take(CHUNK_SAMPLES).collect();
        if let Some(last) = part.iter().map(|sample| sample.leaf).max() {
            names.write_up_to(last, out)?;
        }
        samples += part.len() as u64;
        chunk::write(out, SAMP, &timeline.encode(thread, &part))?;
        order.extend(timeline.next_ns().map(|next_ns| Reverse((next_ns, thread))));
    }
    if let Some(last) = profile.tree.ids().next_back() {
        names.write_up_to(last, out)?;
    }
    names.write_functions(profile.functions.len(), out)?;
    let mut done = Vec::new();
    put(&mut done, samples);
    chunk::write(out, DONE, &done)
}

/// Writes things one after the other, in as many chunks as they need.
fn records<T>(
    out: &mut impl io::Write,
    kind: chunk::Kind,
    things: impl IntoIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) -> io::Result<()> {
    let mut content = Vec::new();
    for thing in things {
        put(&mut content, thing);
        if content.len() >= CHUNK_BYTES {
            chunk::write(out, kind, &content)?;
            content.clear();
        }
    }
    if content.is_empty() { Ok(()) } else { chunk::write(out, kind, &content) }
}

/// What has been written of the tables that samples refer to.
struct Names<'a> {
    profile: &'a Profile,
    /// How many of each were written, the first included, which never is.
    functions: usize,
    nodes: usize,
    strings: u64,
    /// Number in the file, by position in the profile's table; 0 for those that were not written (and the empty one).
    number_of_string: Vec<u64>,
}

impl Names<'_> {
    /// Writes the nodes up to `last`, and the functions they name.
    fn write_up_to(&mut self, last: NodeId, out: &mut impl io::Write) -> io::Result<()> {
        let tree = &self.profile.tree;
        let nodes = self.nodes..(last.index() + 1).max(self.nodes);
        let functions = nodes.clone().map(|node| tree.function(NodeId::from_index(node)).index() + 1).max();
        self.write_functions(functions.unwrap_or(0), out)?;
        self.nodes = nodes.end;
        records(out, NODE, nodes, |content, node| {
            let id = NodeId::from_index(node);
            put(content, (node - tree.parent(id).index()) as u64);
            put(content, tree.function(id).index() as u64);
            put(content, u64::from(tree.line(id)));
        })
    }

    /// Writes the functions below that number, and their names.
    fn write_functions(&mut self, end: usize, out: &mut impl io::Write) -> io::Result<()> {
        let Profile { functions, strings, .. } = self.profile;
        let fresh: Vec<_> = functions.ids().skip(self.functions - 1).take(end.saturating_sub(self.functions)).collect();
        let texts = fresh.iter().flat_map(|&id| [functions.get(id).name, functions.get(id).file]);
        self.number_of_string.resize(strings.len(), 0);
        let unwritten = texts.filter(|&id| {
            let number = &mut self.number_of_string[id.index()];
            let is_new = *number == 0 && !strings.get(id).is_empty();
            if is_new {
                *number = self.strings;
                self.strings += 1;
            }
            is_new
        });
        records(out, TEXT, unwritten, |content, id| put_text(content, strings.get(id)))?;
        self.functions = self.functions.max(end);
        records(out, FUNC, fresh, |content, id| {
            let function = functions.get(id);
            put(content, self.number_of_string[function.name.index()]);
            put(content, self.number_of_string[function.file.index()]);
            put(content, u64::from(function.first_line));
            put(content, if function.is_native { IS_NATIVE } else { 0 });
        })
    }
}

/// A thread's samples that are still to be written.
struct Timeline<'a> {
    samples: Peekable<Samples<'a>>,
    /// Up to where it was written, and where it ends.
    at_ns: u64,
    end_ns: u64,
}

impl<'a> Timeline<'a> {
    fn new(timeline: &'a profile::Timeline) -> Timeline<'a> {
        Timeline { samples: timeline.iter().peekable(), at_ns: timeline.start_ns(), end_ns: timeline.end_ns() }
    }

    /// When what is to be written next was; `None` if everything is written.
    fn next_ns(&mut self) -> Option<u64> {
        let next = self.samples.peek().map(|sample| sample.timestamp_ns);
        next.or_else(|| (self.end_ns > self.at_ns).then_some(self.end_ns))
    }

    /// The content of a chunk with `part`, which was just taken from `samples`.
    fn encode(&mut self, thread: usize, part: &[Sample]) -> Vec<u8> {
        let mut content = Vec::with_capacity(part.len() * 12 + 16);
        put(&mut content, thread as u64);
        put(&mut content, part.len() as u64);
        let has_counts = part.iter().any(|sample| sample.count != 1);
        put(&mut content, if has_counts { HAS_COUNTS } else { 0 });
        let mut before = 0;
        for sample in part {
            let leaf = sample.leaf.index() as i64;
            put_signed(&mut content, leaf - before);
            before = leaf;
        }
        content.extend(part.iter().map(|sample| sample.state.bits()));
        part.iter().for_each(|sample| put(&mut content, sample.wall_ns));
        part.iter().for_each(|sample| put(&mut content, sample.cpu_ns));
        if has_counts {
            part.iter().for_each(|sample| put(&mut content, sample.count));
        }
        let mut gaps = Vec::new();
        for (position, sample) in part.iter().enumerate() {
            let gap_ns = sample.timestamp_ns.saturating_sub(self.at_ns).saturating_sub(sample.wall_ns);
            gaps.extend((gap_ns > 0).then_some((position, gap_ns)));
            self.at_ns = sample.timestamp_ns;
        }
        if self.samples.peek().is_none() && self.end_ns > self.at_ns {
            gaps.push((part.len(), self.end_ns - self.at_ns));
            self.at_ns = self.end_ns;
        }
        put(&mut content, gaps.len() as u64);
        let mut before = 0;
        for (position, gap_ns) in gaps {
            put(&mut content, (position - before) as u64);
            put(&mut content, gap_ns);
            before = position;
        }
        content
    }
}
