//! Writes the report of a large profile that is made up: `large_report FILE [SAMPLES [STACKS [THREADS]]]`.
//!
//! It is no easy one. Its stacks are 12 to 40 frames deep, over 4,000 functions; which of them a sample has follows a power
//! law, as in a service that does many different things, and no order of time makes neighbours alike. Weights vary as
//! measured ones do, and a fifth of the samples waits.
#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use formats::{Format, WriteOptions};
use profile::{
    Counters, Gil, Moment, NewThread, NodeId, Observation, Profile, Recording, RecordingInfo, Running, State,
};

const INTERVAL_NS: u64 = 1_000_000;
const FUNCTIONS: u64 = 4_000;
const FILES: [&str; 4] = [
    "/srv/shop/app/module",
    "/srv/shop/venv/lib/python3.12/site-packages/package/module",
    "/usr/lib/python3.12/module",
    "/srv/shop/plugins/module",
];

/// Numbers that look random and are the same every time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn stacks(recording: &mut Recording, numbers: &mut Numbers, count: usize) -> Vec<NodeId> {
    let functions: Vec<_> = (0..FUNCTIONS)
        .map(|number| {
            let name = format!("Class{}.method_{number}", number / 7);
            let file = format!("{}_{}.py", FILES[(number % 4) as usize], number / 20);
            recording.intern_function(&name, &file, (number % 20 * 30 + 1) as u32, false)
        })
        .collect();
    // A function calls some others, each from a line of its own; a leaf is at one of its other lines.
    let calls: Vec<Vec<(u32, usize)>> = (0..FUNCTIONS)
        .map(|_| {
            let callees = 1 + numbers.below(8);
            (0..callees).map(|_| (1 + numbers.below(600) as u32, numbers.below(FUNCTIONS) as usize)).collect()
        })
        .collect();
    // Stacks share their beginnings, as real ones do: each goes on from somewhere on the way of one before.
    let mut leaves: Vec<NodeId> = Vec::with_capacity(count);
    let mut seen = std::collections::HashSet::new();
    let mut path: Vec<(NodeId, usize)> = Vec::new();
    while leaves.len() < count {
        path.truncate((path.len() as u64).saturating_sub(numbers.below(10)) as usize);
        let depth = (path.len() + 1 + numbers.below(8) as usize).clamp(12, 40);
        let (mut parent, mut function) = path.last().copied().unwrap_or((NodeId::ROOT, 0));
        while path.len() < depth {
            let (line, callee) = calls[function][numbers.below(calls[function].len() as u64) as usize];
            parent = recording.child(parent, functions[function], line);
            function = callee;
            path.push((parent, function));
        }
        let leaf = recording.child(parent, functions[function], 1 + numbers.below(12) as u32);
        if seen.insert(leaf) {
            leaves.push(leaf);
        }
    }
    leaves
}

fn make(samples: u64, stack_count: usize, threads: u64) -> Profile {
    let info = RecordingInfo {
        start: Moment { unix_ns: 1_700_000_000_000_000_000, monotonic_ns: 0 },
        interval_ns: INTERVAL_NS,
        python_version: "3.12.1".to_owned(),
        implementation: "CPython".to_owned(),
        platform: "Linux".to_owned(),
        pid: 1,
        argv: vec!["/srv/shop/serve.py".to_owned()],
    };
    let mut numbers = Numbers(42);
    let mut recording = Recording::without_limit(info);
    let leaves = stacks(&mut recording, &mut numbers, stack_count);
    let threads: Vec<_> = (0..threads.max(1))
        .map(|number| {
            recording.add_thread(NewThread {
                native_id: 100 + number,
                name: format!("worker-{number}"),
                is_main: number == 0,
                ..NewThread::default()
            })
        })
        .collect();
    let mut end_ns = 0;
    let mut at_ns = vec![0; threads.len()];
    for number in 0..samples {
        let thread = (number % threads.len() as u64) as usize;
        // Every stack comes once; then the first are the frequent ones.
        let rank = if number < leaves.len() as u64 {
            number as f64
        } else {
            (leaves.len() as f64).powf(numbers.fraction()) - 1.0
        };
        let leaf = leaves[(rank as usize).min(leaves.len() - 1)];
        let wall_ns = numbers.below(2 * INTERVAL_NS);
        let (cpu_ns, state) = match numbers.below(10) {
            0 => (0, State::new(Running::Blocked, Gil::Detached)),
            1 => (numbers.below(20_000), State::new(Running::Blocked, Gil::Waits)),
            _ => (wall_ns - wall_ns / (20 + numbers.below(100)), State::new(Running::OnCpu, Gil::Holds)),
        };
        recording.record(threads[thread], Observation { leaf, wall_ns, cpu_ns, state });
        at_ns[thread] += wall_ns;
        end_ns = end_ns.max(at_ns[thread]);
    }
    recording.finish(Moment { unix_ns: 1_700_000_000_000_000_000 + end_ns, monotonic_ns: end_ns }, Counters::default())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("large_report FILE [SAMPLES [STACKS [THREADS]]]")?);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (samples, stacks, threads) = (number(1_000_000)?, number(50_000)?, number(4)?);
    let profile = make(samples, usize::try_from(stacks)?, threads);
    let seen = profile.weights_by_leaf().iter().filter(|weights| weights.samples > 0).count();
    let start = Instant::now();
    formats::write(&profile, Format::Html, &WriteOptions::default(), &mut File::create(&path)?)?;
    println!(
        "{} samples, {seen} distinct stacks, {} nodes: written in {:.0} ms, {} bytes",
        profile.counters.samples,
        profile.tree.len(),
        start.elapsed().as_secs_f64() * 1e3,
        std::fs::metadata(&path)?.len()
    );
    Ok(())
}
