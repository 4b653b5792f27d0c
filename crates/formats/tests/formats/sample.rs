//! Profiles to write.

use profile::{
    Counters, Gil, Moment, NewThread, NodeId, Observation, Profile, Recording, RecordingInfo, Running, State, ThreadId,
};

pub(crate) const ON_CPU: State = State::new(Running::OnCpu, Gil::Holds);

pub(crate) fn info() -> RecordingInfo {
    RecordingInfo {
        start: Moment { unix_ns: 1_700_000_000_000_000_000, monotonic_ns: 1_000_000_000 },
        interval_ns: 10_000_000,
        python_version: "3.13.1".to_owned(),
        implementation: "CPython".to_owned(),
        platform: "Linux x86_64".to_owned(),
        pid: 42,
        argv: vec!["app.py".to_owned(), "--port=80".to_owned()],
    }
}

pub(crate) fn end() -> Moment {
    Moment { unix_ns: 1_700_000_002_000_000_000, monotonic_ns: 3_000_000_000 }
}

pub(crate) fn counters() -> Counters {
    Counters {
        dropped: 1,
        missed_ticks: 2,
        truncated_stacks: 3,
        torn_stacks: 4,
        profiler_cpu_ns: 5_000,
        handler_ns: 4_000,
        ..Counters::default()
    }
}

pub(crate) fn thread(recording: &mut Recording, name: &str, native_id: u64) -> ThreadId {
    let is_main = name == "MainThread";
    let new =
        NewThread { native_id, python_id: native_id << 8, name: name.to_owned(), is_main, started_ns: 1_000_000_000 };
    recording.add_thread(new)
}

/// The stack of these functions at these lines, root first, all of one file.
pub(crate) fn stack(recording: &mut Recording, frames: &[(&str, u32)]) -> NodeId {
    frames.iter().fold(NodeId::ROOT, |node, &(name, line)| {
        let function = recording.intern_function(name, "/srv/app.py", 1, false);
        recording.child(node, function, line)
    })
}

pub(crate) fn record(recording: &mut Recording, thread: ThreadId, leaf: NodeId, wall_ns: u64, cpu_ns: u64) {
    recording.record(thread, Observation { leaf, wall_ns, cpu_ns, state: ON_CPU });
}

pub(crate) fn finish(recording: Recording) -> Profile {
    let mut profile = recording.finish(end(), counters());
    profile.counters.memory_bytes = 1_000_000; // what it really is differs from one allocator to another
    profile
}

/// Two workers of one name beside the main thread and one that was idle; lines, native frames, empty stacks.
pub(crate) fn profile() -> Profile {
    let mut recording = Recording::new(info(), 32 << 20);
    let main = thread(&mut recording, "MainThread", 42);
    let workers = [43, 44].map(|native_id| thread(&mut recording, "worker", native_id));
    let idle = thread(&mut recording, "idle", 45);

    let serve_1 = stack(&mut recording, &[("<module>", 90), ("serve", 11)]);
    let serve_2 = stack(&mut recording, &[("<module>", 90), ("serve", 12)]);
    let other = stack(&mut recording, &[("<module>", 90), ("Handler.get", 20)]);
    let native = recording.intern_function("memcpy", "/usr/lib/libc.so.6", 0, true);
    let native = recording.child(serve_1, native, 0);
    let job = stack(&mut recording, &[("job.<locals>.<lambda>", 50)]);
    let wait = stack(&mut recording, &[("wait", 60)]);

    for (leaf, wall_ns, cpu_ns) in [
        (NodeId::ROOT, 5, 5),
        (serve_1, 10, 10),
        (serve_2, 10, 9), // the same stack unless lines are told apart
        (other, 10, 8),
        (serve_1, 10, 7),
        (native, 10, 6),
        (NodeId::ROOT, 3, 0),
        (other, 2, 0), // blocked: not in the CPU profile
        (native, 1, 1),
    ] {
        record(&mut recording, main, leaf, wall_ns, cpu_ns);
    }
    for (worker, weight_ns) in workers.into_iter().zip([20, 30]) {
        record(&mut recording, worker, job, weight_ns, weight_ns);
    }
    record(&mut recording, idle, wait, 61, 0);
    recording.end_thread(workers[0], 1_500_000_000);
    finish(recording)
}

/// A profile in which nothing was sampled.
pub(crate) fn empty() -> Profile {
    finish(Recording::new(info(), 32 << 20))
}

/// A main thread that was seen once in a function of that name and file.
pub(crate) fn single(name: &str, file: &str, thread_name: &str) -> Profile {
    let mut recording = Recording::new(info(), 32 << 20);
    let main = thread(&mut recording, thread_name, 1);
    let function = recording.intern_function(name, file, 1, false);
    let leaf = recording.child(NodeId::ROOT, function, 2);
    record(&mut recording, main, leaf, 10, 10);
    finish(recording)
}

/// Names that break careless writers.
pub(crate) fn hard_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        " ",
        "a b",
        "a (b)",
        "f (g",
        ") (",
        "x:12",
        "a;b",
        "a\nb\r\nc",
        "\t tab",
        "\u{0}\u{7f}\u{85}",
        "\u{2028}\u{2029}",
        "\"quoted\" 'twice'",
        "</script><script>alert(1)</script>",
        "\u{202e}right to left\u{202c}",
        "\u{1f40d}\u{10ffff}",
        "C:\\x\\new\\u0041",
        "\\x{3b}",
        "\\\\x{x{",
        "trailing\\",
        "# comment",
        "12",
        "f 12",
        "\u{feff}",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("長".repeat(10_000));
    names
}
