//! Several profiles as one.

use std::collections::HashMap;

use crate::ending::Ending;
use crate::filter::rebuilt;
use crate::function::{Function, FunctionId, FunctionTable};
use crate::info::{Counters, Moment, Profile, RecordingInfo};
use crate::strings::StringTable;
use crate::thread::Thread;
use crate::tree::{CallTree, NodeId};

impl Profile {
    /// All of these profiles as one: every thread of each, by itself, on one axis of time.
    ///
    /// Where the profiles are of different processes, the name of a thread says of which: `MainThread (pid 17)`. Threads that would
    /// still have the same name and id get a number. The calendar says how the recordings lie to each other; those that do
    /// not know it begin with the first. Numbers add up; the interval is the longest. What the profiles do not agree on in
    /// other respects is put side by side, or left empty (process number, command line).
    #[must_use]
    pub fn merged(profiles: &[&Profile]) -> Profile {
        let start = first_moment(profiles);
        let mut strings = StringTable::default();
        let mut functions = FunctionTable::new(strings.intern(""));
        let mut tree = CallTree::new(usize::MAX);
        let mut threads = Vec::new();
        let same_process = all_same(profiles.iter().map(|profile| profile.info.pid));
        let mut end = start;
        for profile in profiles {
            let shift_ns = shift_ns(profile, start);
            let ids: Vec<FunctionId> =
                profile.functions.ids().map(|id| adopt(profile, id, &mut strings, &mut functions)).collect();
            let mut node_here = vec![NodeId::ROOT; profile.tree.len()];
            for node in profile.tree.ids().skip(1) {
                let parent = node_here[profile.tree.parent(node).index()];
                let function = ids[profile.tree.function(node).index() - 1];
                node_here[node.index()] = tree.child(parent, function, profile.tree.line(node)).opened();
            }
            for thread in &profile.threads {
                let timeline = rebuilt(&thread.timeline, shift_ns, |sample| Some(node_here[sample.leaf.index()]));
                let mut thread = thread.with_timeline(timeline);
                thread.started_ns = thread.started_ns.saturating_add_signed(shift_ns);
                thread.ended_ns = thread.ended_ns.map(|at_ns| at_ns.saturating_add_signed(shift_ns));
                if !same_process && profile.info.pid != 0 {
                    thread.name = format!("{} (pid {})", thread.name, profile.info.pid);
                }
                threads.push(thread);
            }
            end.monotonic_ns = end.monotonic_ns.max(profile.end.monotonic_ns.saturating_add_signed(shift_ns));
            end.unix_ns = end.unix_ns.max(profile.end.unix_ns);
        }
        number_twins(&mut threads);
        strings.freeze();
        functions.freeze();
        tree.freeze();
        let counters = profiles.iter().fold(Counters::default(), |sum, profile| added(&sum, &profile.counters));
        let ending = Ending::of_all(profiles.iter().map(|profile| profile.ending));
        Profile { info: common_info(profiles, start), end, ending, counters, strings, functions, tree, threads }
    }
}

fn adopt(profile: &Profile, id: FunctionId, strings: &mut StringTable, functions: &mut FunctionTable) -> FunctionId {
    let function = profile.functions.get(id);
    let name = strings.intern(profile.strings.get(function.name));
    let file = strings.intern(profile.strings.get(function.file));
    let function = Function { name, file, ..*function };
    functions.find(&function).unwrap_or_else(|| functions.add(function))
}

/// The start of the profile that began first by the calendar; of the first one if none knows.
fn first_moment(profiles: &[&Profile]) -> Moment {
    let starts = profiles.iter().map(|profile| profile.info.start);
    let known = starts.clone().filter(|start| start.unix_ns > 0).min_by_key(|start| start.unix_ns);
    known.or_else(|| starts.into_iter().next()).unwrap_or_default()
}

/// What to add to a profile's monotonic times so that they are on the axis on which `start` lies.
fn shift_ns(profile: &Profile, start: Moment) -> i64 {
    let own = profile.info.start;
    let later_ns = if own.unix_ns > 0 { own.unix_ns.saturating_sub(start.unix_ns) } else { 0 };
    let target_ns = i128::from(start.monotonic_ns) + i128::from(later_ns);
    i64::try_from(target_ns - i128::from(own.monotonic_ns)).unwrap_or(0)
}

/// Gives every thread whose name and id another one before it has a number behind its name.
fn number_twins(threads: &mut [Thread]) {
    let mut seen: HashMap<(String, u64), u32> = HashMap::new();
    for thread in threads {
        let count = seen.entry((thread.name.clone(), thread.native_id)).or_default();
        *count += 1;
        if *count > 1 {
            thread.name = format!("{} #{count}", thread.name);
        }
    }
}

fn all_same<T: PartialEq>(mut values: impl Iterator<Item = T>) -> bool {
    let Some(first) = values.next() else { return true };
    values.all(|value| value == first)
}

fn common_info(profiles: &[&Profile], start: Moment) -> RecordingInfo {
    let infos = || profiles.iter().map(|profile| &profile.info);
    let side_by_side = |text: fn(&RecordingInfo) -> &String| {
        let mut texts: Vec<&str> = Vec::new();
        // Of a merged profile it is a list already.
        for text in infos().flat_map(|info| text(info).split(", ")) {
            if !text.is_empty() && !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts.join(", ")
    };
    let first = infos().next();
    RecordingInfo {
        start,
        interval_ns: infos().map(|info| info.interval_ns).max().unwrap_or(0),
        python_version: side_by_side(|info| &info.python_version),
        implementation: side_by_side(|info| &info.implementation),
        platform: side_by_side(|info| &info.platform),
        pid: first.filter(|_| all_same(infos().map(|info| info.pid))).map_or(0, |info| info.pid),
        argv: first
            .filter(|_| all_same(infos().map(|info| &info.argv)))
            .map_or_else(Vec::new, |info| info.argv.clone()),
    }
}

fn added(one: &Counters, other: &Counters) -> Counters {
    let sum = u64::saturating_add;
    Counters {
        samples: sum(one.samples, other.samples),
        dropped: sum(one.dropped, other.dropped),
        missed_ticks: sum(one.missed_ticks, other.missed_ticks),
        truncated_stacks: sum(one.truncated_stacks, other.truncated_stacks),
        torn_stacks: sum(one.torn_stacks, other.torn_stacks),
        collapsed: sum(one.collapsed, other.collapsed),
        coarsened: sum(one.coarsened, other.coarsened),
        folded_threads: sum(one.folded_threads, other.folded_threads),
        profiler_cpu_ns: sum(one.profiler_cpu_ns, other.profiler_cpu_ns),
        handler_ns: sum(one.handler_ns, other.handler_ns),
        memory_bytes: sum(one.memory_bytes, other.memory_bytes),
    }
}
