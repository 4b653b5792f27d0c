//! The Trace Event Format of Chrome, in its JSON object form: what each thread was in, over time. For Perfetto and
//! `chrome://tracing`.
//!
//! A frame is open (events B and E) as long as consecutive samples have it on their stack; `tts` is the thread's CPU time up
//! to there. So the times of a frame are as exact as the sampling interval, and a function that returned and was called
//! again between two samples shows as one call. Where nobody looked nothing is open. Threads that were folded to save memory
//! have no times and are left out.
//!
//! The honest numbers stand in `otherData`.

use std::collections::HashSet;
use std::io;

use profile::{FunctionId, NodeId, Profile, Thread};
use serde::Serialize;

use crate::WriteOptions;
use crate::header::Header;

/// No system gives a thread a number from here on; and readers take 32 bits.
const FIRST_FREE_TID: u32 = 1 << 30;

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let mut header = Header::new(profile, Vec::new());
    header.lines = options.lines;
    write!(out, "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"spprof\":")?;
    serde_json::to_writer(&mut *out, &header)?;
    write!(out, "}},\"traceEvents\":[")?;
    // 0 is the kernel's own.
    let mut events = Events { out, is_first: true, pid: profile.info.pid.max(1), tid: profile.info.pid.max(1) };
    let program = match profile.info.argv.join(" ") {
        argv if argv.is_empty() => "python".to_owned(),
        argv => argv,
    };
    events.name("process_name", &program)?;
    let mut used = HashSet::new();
    let mut next_free = FIRST_FREE_TID;
    for (thread, label) in profile.threads.iter().zip(header.thread_labels()).filter(|(thread, _)| !thread.is_folded())
    {
        // A number of its own for each: the system uses numbers again, and other tools do not tell them.
        let tid =
            u32::try_from(thread.native_id).ok().filter(|&tid| tid > 0 && tid < FIRST_FREE_TID && used.insert(tid));
        events.tid = tid.unwrap_or_else(|| {
            next_free += 1;
            next_free
        });
        events.name("thread_name", &label)?;
        write_thread(profile, thread, options.lines, &mut events)?;
    }
    writeln!(out, "\n]}}")
}

fn write_thread(
    profile: &Profile,
    thread: &Thread,
    lines: bool,
    events: &mut Events<'_, impl io::Write>,
) -> io::Result<()> {
    let tree = &profile.tree;
    let start_ns = profile.info.start.monotonic_ns;
    let frame_of = |node| (tree.function(node), if lines { tree.line(node) } else { 0 });
    let us = |at_ns: u64| (i128::from(at_ns) - i128::from(start_ns)) as f64 / 1e3;
    // Outermost first.
    let mut open: Vec<(FunctionId, u32)> = Vec::new();
    let mut open_leaf = NodeId::ROOT;
    let mut at_ns = thread.timeline.start_ns();
    let mut cpu_ns = 0u64;
    for sample in &thread.timeline {
        let began_ns = sample.timestamp_ns.saturating_sub(sample.wall_ns);
        let cpu_before_ns = cpu_ns;
        cpu_ns = cpu_ns.saturating_add(sample.cpu_ns);
        if began_ns > at_ns {
            close(&mut open, 0, us(at_ns), cpu_before_ns, events)?;
            open_leaf = NodeId::ROOT;
        }
        if sample.wall_ns > 0 && sample.leaf != open_leaf {
            let mut nodes: Vec<NodeId> = tree.ancestors(sample.leaf).collect();
            nodes.reverse();
            let same = open.iter().zip(&nodes).take_while(|(frame, node)| **frame == frame_of(**node)).count();
            close(&mut open, same, us(began_ns), cpu_before_ns, events)?;
            for &node in &nodes[same..] {
                let (function, line) = frame_of(node);
                events.begin(profile, function, line, us(began_ns), cpu_before_ns)?;
                open.push((function, line));
            }
            open_leaf = sample.leaf;
        }
        at_ns = sample.timestamp_ns;
    }
    close(&mut open, 0, us(at_ns), cpu_ns, events)
}

/// Ends all open frames but the `keep` outermost.
fn close(
    open: &mut Vec<(FunctionId, u32)>,
    keep: usize,
    at_us: f64,
    cpu_ns: u64,
    events: &mut Events<'_, impl io::Write>,
) -> io::Result<()> {
    open.drain(keep..).try_for_each(|_| events.end(at_us, cpu_ns))
}

struct Events<'a, W> {
    out: &'a mut W,
    is_first: bool,
    pid: u32,
    tid: u32,
}

/// An event of the format; what it does not have is left out.
#[derive(Default, Serialize)]
struct Event<'a> {
    ph: &'a str,
    pid: u32,
    tid: u32,
    /// Microseconds since the recording began ...
    ts: f64,
    /// ... and of the thread's CPU time.
    #[serde(skip_serializing_if = "Option::is_none")]
    tts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Arguments<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Arguments<'a> {
    Name { name: &'a str },
    Place { file: &'a str, line: u32 },
}

impl<W: io::Write> Events<'_, W> {
    fn put(&mut self, event: Event<'_>) -> io::Result<()> {
        self.out.write_all(if std::mem::take(&mut self.is_first) { b"\n" } else { b",\n" })?;
        let event = Event { pid: self.pid, tid: self.tid, ..event };
        serde_json::to_writer(&mut *self.out, &event)?;
        Ok(())
    }

    /// Says what the process or the thread is called.
    fn name(&mut self, what: &str, name: &str) -> io::Result<()> {
        self.put(Event { ph: "M", name: Some(what), args: Some(Arguments::Name { name }), ..Event::default() })
    }

    fn begin(&mut self, profile: &Profile, id: FunctionId, line: u32, ts: f64, cpu_ns: u64) -> io::Result<()> {
        let function = profile.functions.get(id);
        let (name, file) = (profile.strings.get(function.name), profile.strings.get(function.file));
        let line = if line == 0 { function.first_line } else { line };
        self.put(Event {
            ph: "B",
            ts,
            tts: Some(cpu_ns as f64 / 1e3),
            name: Some(name),
            cat: Some(profile.origin(id).label()),
            args: Some(Arguments::Place { file, line }),
            ..Event::default()
        })
    }

    fn end(&mut self, ts: f64, cpu_ns: u64) -> io::Result<()> {
        self.put(Event { ph: "E", ts, tts: Some(cpu_ns as f64 / 1e3), ..Event::default() })
    }
}
