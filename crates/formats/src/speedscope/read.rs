//! Reading files of any producer, sampled and evented profiles alike.
//!
//! A file of ours says which clock and thread each of its profiles shows and is put together again. In any other each
//! profile is taken for a thread and its weights for wall time; those without a unit (`none`) count as nanoseconds.

use profile::{Clock, NewThread, NodeId, Observation, Profile, Recording, State};

use super::parse::{RawFrame, RawProfile, parse};
use crate::error::ReadError;
use crate::header::Header;
use crate::reading::{TotalWeight, finish_without_header};
use crate::runs::{Run, Stretch, join};
use crate::stacks::{EMPTY_STACK, GAP, StackTree};

pub(crate) fn read(content: &[u8]) -> Result<Profile, ReadError> {
    let mut file = parse(content).map_err(|error| ReadError::new(format!("not a speedscope file: {error}")))?;
    let Some(frames) = file.frames else {
        return Err(ReadError::new("not a speedscope file: it has no \"shared\" object with a list of \"frames\""));
    };
    let Some(profiles) = file.profiles else {
        return Err(ReadError::new("not a speedscope file: it has no list of \"profiles\""));
    };
    let mut total = TotalWeight::default();
    let mut runs = Vec::new();
    for (number, raw) in profiles.iter().enumerate() {
        let located = |error: ReadError| ReadError::new(format!("profile {number} ({:?}): {error}", raw.name));
        let of_profile = raw.runs(&mut file.stacks).map_err(located)?;
        let view = file.header.as_ref().and_then(|header| header.views.get(number));
        if view.is_none_or(|view| view.thread.is_some()) {
            of_profile.iter().try_for_each(|run| total.add(run.weight_ns)).map_err(located)?;
        }
        runs.push(of_profile);
    }
    if let Some(&(_, frame)) = file.stacks.nodes().iter().find(|&&(_, frame)| frame as usize >= frames.len()) {
        let count = frames.len();
        return Err(ReadError::new(format!("a stack names frame {frame}, but the file lists {count} frames from 0")));
    }
    let own = file.header.is_some();
    let header = file.header.unwrap_or_default();
    let mut recording = Recording::without_limit(header.info());
    let nodes = enter_stacks(&mut recording, &file.stacks, &frames, own && !header.lines);
    if own { restore(recording, &header, runs, &nodes) } else { Ok(assemble(recording, &profiles, runs, &nodes)) }
}

/// Enters all stacks; returns the node of each.
fn enter_stacks(
    recording: &mut Recording,
    stacks: &StackTree,
    frames: &[RawFrame],
    line_is_first: bool,
) -> Vec<NodeId> {
    let functions: Vec<_> = frames
        .iter()
        .map(|frame| {
            let line = frame.line_number();
            let (first_line, line) = if line_is_first { (line, 0) } else { (frame.first_line, line) };
            let file = frame.file.as_deref().unwrap_or_default();
            (recording.intern_function(&frame.name, file, first_line, frame.is_native), line)
        })
        .collect();
    let mut nodes = vec![NodeId::ROOT];
    for &(parent, frame) in stacks.nodes() {
        let (function, line) = functions[frame as usize];
        nodes.push(recording.child(nodes[parent as usize], function, line));
    }
    nodes
}

/// A file of ours: the threads and clocks are as its header says; "All threads" only repeats them.
fn restore(
    mut recording: Recording,
    header: &Header,
    runs: Vec<Vec<Run>>,
    nodes: &[NodeId],
) -> Result<Profile, ReadError> {
    if header.views.len() != runs.len() {
        let (views, profiles) = (header.views.len(), runs.len());
        return Err(ReadError::new(format!(
            "its \"spprof\" object describes {views} profiles, but there are {profiles}: the file was changed after spprof wrote it"
        )));
    }
    let threads: Vec<_> = header.threads().map(|thread| recording.add_thread(thread)).collect();
    let mut clocks: Vec<(Vec<Run>, Vec<Run>)> = threads.iter().map(|_| Default::default()).collect();
    for (number, (view, mut runs)) in header.views.iter().zip(runs).enumerate() {
        let Some(thread) = view.thread else { continue };
        let Some((cpu, wall)) = clocks.get_mut(thread as usize) else {
            let count = threads.len();
            return Err(ReadError::new(format!(
                "its \"spprof\" object says that profile {number} is of thread {thread}, but it lists {count} threads from 0"
            )));
        };
        for (run, state) in runs.iter_mut().zip(header.states(thread, view.clock)) {
            run.state = state;
        }
        if view.clock == header.counts_on(thread) {
            runs.iter_mut().enumerate().for_each(|(entry, run)| run.samples = header.samples(thread, entry));
        }
        match view.clock {
            // The wall clock and the states say the same, unless this is all there is.
            Clock::Gil if header.counts_on(thread) != Clock::Gil => {}
            Clock::Gil => wall.extend(runs),
            Clock::Cpu => cpu.extend(runs),
            Clock::Wall => {
                for &gap in header.gaps(thread) {
                    let Some(run) = runs.get_mut(gap).filter(|run| run.stack == EMPTY_STACK) else {
                        return Err(ReadError::new(format!(
                            "its \"spprof\" object says that nobody looked at entry {gap} of profile {number}, but that is no empty stack"
                        )));
                    };
                    run.stack = GAP;
                }
                wall.extend(runs);
            }
        }
    }
    for ((thread, (cpu, wall)), new) in threads.into_iter().zip(clocks).zip(header.threads()) {
        let mut at_ns = new.started_ns;
        for Stretch { stack, state, wall_ns, cpu_ns, samples } in join(cpu, wall) {
            at_ns = at_ns.saturating_add(wall_ns);
            if stack == GAP {
                recording.skip_to(thread, at_ns);
            } else {
                let leaf = nodes[stack as usize];
                let observation = Observation { leaf, wall_ns, cpu_ns, state };
                recording.record_several(thread, observation, samples);
            }
        }
    }
    let mut profile = recording.finish(header.end(), header.counters());
    profile.ending = header.ending();
    profile.counters = header.counters();
    header.complete(&mut profile.threads);
    Ok(profile)
}

/// A file of another producer: a thread for each profile.
fn assemble(mut recording: Recording, profiles: &[RawProfile], runs: Vec<Vec<Run>>, nodes: &[NodeId]) -> Profile {
    for (raw, runs) in profiles.iter().zip(runs) {
        let name = raw.name.clone();
        let thread = recording.add_thread(NewThread { is_main: name == "MainThread", name, ..NewThread::default() });
        for Run { stack, weight_ns, .. } in runs {
            let leaf = nodes[stack as usize];
            recording.record(thread, Observation { leaf, wall_ns: weight_ns, cpu_ns: 0, state: State::UNKNOWN });
        }
    }
    finish_without_header(recording)
}
