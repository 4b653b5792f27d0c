//! The Firefox Profiler's processed profile, version 55 of that format: every thread with its stacks over time, a track of its
//! CPU use, and markers.
//!
//! Each frame has the line it is at, and a category: whose code it is; the innermost one of a thread that was blocked is in
//! "Waiting", that of one that collected garbage in "Garbage collector". Markers say from when to when a thread collected
//! garbage and waited for the GIL. Where nobody looked, the stack is empty. The honest numbers are in `meta.spprof`, and for
//! people in `meta.extra`, which the profiler shows with the profile's details.
//!
//! The tables of a thread are made when it is written; its columns are computed as they are serialized.

use std::io;

use profile::{Clock, Gil, NodeId, Origin, Profile, Sample, State, Thread};
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::json;

use crate::WriteOptions;
use crate::header::{Header, View};
use crate::sequence::Sequence;

/// The version of the format; its readers upgrade older ones.
const VERSION: u32 = 55;

/// Categories by number: the first is what the profiler takes for anything else, and has to be grey.
const CATEGORIES: [(&str, &str); 7] = [
    ("Other", "grey"),
    ("Own code", "yellow"),
    ("Library", "blue"),
    ("Standard library", "green"),
    ("Native", "purple"),
    ("Garbage collector", "red"),
    ("Waiting", "transparent"),
];
const GC_CATEGORY: u32 = 5;
const WAITING_CATEGORY: u32 = 6;

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let clock = options.clock.unwrap_or(Clock::Wall);
    let file =
        File { profile, name: &options.name, clock, header: Header::new(profile, vec![View::all_threads(clock)]) };
    serde_json::to_writer(&mut *out, &file)?;
    out.write_all(b"\n")
}

struct File<'a> {
    profile: &'a Profile,
    name: &'a str,
    clock: Clock,
    header: Header,
}

impl File<'_> {
    /// Milliseconds since the recording began.
    fn ms(&self, at_ns: u64) -> f64 {
        (i128::from(at_ns) - i128::from(self.profile.info.start.monotonic_ns)) as f64 / 1e6
    }

    fn product(&self) -> String {
        let name = if self.name.is_empty() { self.profile.info.argv.join(" ") } else { self.name.to_owned() };
        if name.is_empty() { "Python".to_owned() } else { name }
    }

    fn meta(&self) -> serde_json::Value {
        let Profile { info, counters, .. } = self.profile;
        let categories =
            CATEGORIES.map(|(name, color)| json!({"name": name, "color": color, "subcategories": ["Other"]}));
        let number = |label: &str, value: u64| json!({"label": label, "format": "integer", "value": value});
        let marker = |name: &str, description: &str| {
            json!({
                "name": name, "display": ["marker-chart", "marker-table", "timeline-overview"], "description": description,
                "chartLabel": "{marker.name}", "tooltipLabel": "{marker.name}", "tableLabel": "{marker.name}", "fields": [],
            })
        };
        json!({
            "categories": categories,
            "debug": false,
            "extensions": {"length": 0, "baseURL": [], "id": [], "name": []},
            "interval": info.interval_ns as f64 / 1e6,
            "preprocessedProfileVersion": VERSION,
            "version": 24,
            "processType": 0,
            "product": self.product(),
            "oscpu": info.platform,
            "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
            "startTime": info.start.unix_ns as f64 / 1e6,
            "symbolicated": true,
            "pausedRanges": [],
            "usesOnlyOneStackType": true,
            "sourceCodeIsNotOnSearchfox": true,
            "markerSchema": [
                marker("GC", "The thread collected garbage."),
                marker("GIL", "The thread waited for the global interpreter lock, which another one held."),
            ],
            "extra": [{"label": "spprof", "entries": [
                {"label": "Recording", "format": "string", "value": self.header.summary()},
                number("Samples", counters.samples),
                number("Samples lost", counters.dropped),
                number("Ticks missed", counters.missed_ticks),
                number("Stacks truncated", counters.truncated_stacks),
                number("Stacks torn", counters.torn_stacks),
            ]}],
            "spprof": self.header,
        })
    }
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut file = serializer.serialize_map(None)?;
        file.serialize_entry("meta", &self.meta())?;
        file.serialize_entry("libs", &[(); 0])?;
        let labels = self.header.thread_labels();
        // Those without a sample would be empty tracks. The main thread comes first: it is shown first.
        let mut threads: Vec<_> = self.profile.threads.iter().zip(&labels).enumerate().collect();
        threads.retain(|(_, (thread, _))| !thread.timeline.is_empty());
        threads.sort_by_key(|(_, (thread, _))| !thread.is_main);
        let threads = || threads.iter().map(|&(number, (thread, label))| Track { file: self, thread, label, number });
        file.serialize_entry("threads", &Sequence(threads))?;
        file.serialize_entry("pages", &[(); 0])?;
        file.serialize_entry("profilerOverhead", &[(); 0])?;
        file.serialize_entry("counters", &[(); 0])?;
        file.end()
    }
}

struct Track<'a> {
    file: &'a File<'a>,
    thread: &'a Thread,
    label: &'a str,
    number: usize,
}

impl Serialize for Track<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Track { file, thread, .. } = self;
        let tables = Tables::new(file.profile, thread);
        let info = &file.profile.info;
        let markers = markers(thread);
        let tid = if thread.native_id == 0 { format!("thread {}", self.number) } else { thread.native_id.to_string() };
        let ended_ms = thread.ended_ns.map(|ended_ns| file.ms(ended_ns));

        let mut track = serializer.serialize_map(None)?;
        track.serialize_entry("name", self.label)?;
        // The profiler calls a main thread by its process.
        track.serialize_entry("isMainThread", &thread.is_main)?;
        track.serialize_entry("processName", &file.product())?;
        track.serialize_entry("processType", "default")?;
        track.serialize_entry("processStartupTime", &0.0)?;
        track.serialize_entry("processShutdownTime", &None::<f64>)?;
        track.serialize_entry("registerTime", &file.ms(thread.started_ns))?;
        track.serialize_entry("unregisterTime", &ended_ms)?;
        track.serialize_entry("pausedRanges", &[(); 0])?;
        track.serialize_entry("showMarkersInTimeline", &true)?;
        track.serialize_entry("pid", &info.pid.to_string())?;
        track.serialize_entry("tid", &tid)?;
        track.serialize_entry("frameTable", &tables.frame_table())?;
        track.serialize_entry("funcTable", &tables.function_table())?;
        track.serialize_entry("stackTable", &tables.stack_table())?;
        track.serialize_entry("resourceTable", &json!({"length": 0, "lib": [], "name": [], "host": [], "type": []}))?;
        track.serialize_entry(
            "nativeSymbols",
            &json!({"length": 0, "address": [], "functionSize": [], "libIndex": [], "name": []}),
        )?;
        track.serialize_entry("samples", &SampleTable { track: self, tables: &tables })?;
        track.serialize_entry("markers", &marker_table(file, &markers))?;
        track.serialize_entry("stringArray", &tables.strings)?;
        track.end()
    }
}

/// What a thread's samples refer to.
struct Tables {
    strings: Vec<String>,
    /// Functions of the profile, by their number here: name and file as positions in `strings`, first line.
    functions: Vec<(u32, Option<u32>, u32)>,
    /// Function, line and category.
    frames: Vec<(u32, u32, u32)>,
    /// Parent, where there is one, and frame.
    stacks: Vec<(Option<u32>, u32)>,
    /// By leaf and the category that its state asks for.
    stack_of: FxHashMap<(NodeId, Option<u32>), u32>,
}

/// The category that a state gives the innermost frame.
fn category_of_state(state: State) -> Option<u32> {
    if state.is_blocked() {
        Some(WAITING_CATEGORY)
    } else if state.is_in_gc() {
        Some(GC_CATEGORY)
    } else {
        None
    }
}

fn category_of_origin(origin: Origin) -> u32 {
    match origin {
        Origin::Own => 1,
        Origin::Library => 2,
        Origin::StandardLibrary => 3,
        Origin::Native => 4,
        Origin::Gc => GC_CATEGORY,
    }
}

/// Names of the markers.
const GC_MARKER: &str = "Garbage collection";
const GIL_MARKER: &str = "Waiting for the GIL";

impl Tables {
    fn new(profile: &Profile, thread: &Thread) -> Tables {
        let mut tables = Tables {
            strings: vec![GC_MARKER.to_owned(), GIL_MARKER.to_owned()],
            functions: Vec::new(),
            frames: Vec::new(),
            stacks: Vec::new(),
            stack_of: FxHashMap::default(),
        };
        let mut strings: FxHashMap<profile::StringId, u32> = FxHashMap::default();
        let mut functions = FxHashMap::default();
        let mut frames = FxHashMap::default();
        let mut missing = Vec::new();
        for sample in &thread.timeline {
            // From the leaf outwards to what is known.
            let mut next = Some((sample.leaf, category_of_state(sample.state)));
            while let Some((node, category)) =
                next.filter(|key| key.0 != NodeId::ROOT && !tables.stack_of.contains_key(key))
            {
                missing.push((node, category));
                next = Some((profile.tree.parent(node), None));
            }
            while let Some((node, category)) = missing.pop() {
                let id = profile.tree.function(node);
                let function = *functions.entry(id).or_insert_with(|| {
                    let function = profile.functions.get(id);
                    let mut intern = |id: profile::StringId| {
                        *strings.entry(id).or_insert_with(|| {
                            tables.strings.push(profile.strings.get(id).to_owned());
                            tables.strings.len() as u32 - 1
                        })
                    };
                    let name = intern(function.name);
                    let file = (!profile.strings.get(function.file).is_empty()).then(|| intern(function.file));
                    tables.functions.push((name, file, function.first_line));
                    tables.functions.len() as u32 - 1
                });
                let category_number = category.unwrap_or_else(|| category_of_origin(profile.origin(id)));
                let frame = (function, profile.tree.line(node), category_number);
                let frame = *frames.entry(frame).or_insert_with(|| {
                    tables.frames.push(frame);
                    tables.frames.len() as u32 - 1
                });
                let parent = tables.stack_of.get(&(profile.tree.parent(node), None)).copied();
                tables.stack_of.insert((node, category), tables.stacks.len() as u32);
                tables.stacks.push((parent, frame));
            }
        }
        tables
    }

    fn stack(&self, sample: &Sample) -> Option<u32> {
        self.stack_of.get(&(sample.leaf, category_of_state(sample.state))).copied()
    }

    fn frame_table(&self) -> impl Serialize {
        let length = self.frames.len();
        let column = |of: fn(&(u32, u32, u32)) -> Option<u32>| self.frames.iter().map(of).collect::<Vec<_>>();
        json!({
            "length": length,
            "address": vec![-1; length],
            "inlineDepth": vec![0; length],
            "category": column(|frame| Some(frame.2)),
            "subcategory": vec![0; length],
            "func": column(|frame| Some(frame.0)),
            "nativeSymbol": vec![(); length],
            "innerWindowID": vec![0; length],
            "line": column(|frame| Some(frame.1).filter(|&line| line > 0)),
            "column": vec![(); length],
        })
    }

    fn function_table(&self) -> impl Serialize {
        let length = self.functions.len();
        json!({
            "length": length,
            "name": self.functions.iter().map(|function| function.0).collect::<Vec<_>>(),
            "isJS": vec![false; length],
            "relevantForJS": vec![false; length],
            "resource": vec![-1; length],
            "fileName": self.functions.iter().map(|function| function.1).collect::<Vec<_>>(),
            "lineNumber": self.functions.iter().map(|function| Some(function.2).filter(|&line| line > 0)).collect::<Vec<_>>(),
            "columnNumber": vec![(); length],
        })
    }

    fn stack_table(&self) -> impl Serialize {
        json!({
            "length": self.stacks.len(),
            "prefix": self.stacks.iter().map(|stack| stack.0).collect::<Vec<_>>(),
            "frame": self.stacks.iter().map(|stack| stack.1).collect::<Vec<_>>(),
        })
    }
}

/// A row of the table of samples: time, stack, weight and CPU time.
struct Row {
    at_ns: u64,
    stack: Option<u32>,
    weight_ns: u64,
    cpu_ns: u64,
}

struct SampleTable<'a> {
    track: &'a Track<'a>,
    tables: &'a Tables,
}

impl SampleTable<'_> {
    /// The samples, and one without a stack wherever nobody looked.
    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let timeline = &self.track.thread.timeline;
        let mut at_ns = timeline.start_ns();
        timeline.iter().flat_map(move |sample| {
            let began_ns = sample.timestamp_ns.saturating_sub(sample.wall_ns);
            let gap = (began_ns > at_ns).then_some(Row { at_ns: began_ns, stack: None, weight_ns: 0, cpu_ns: 0 });
            at_ns = sample.timestamp_ns;
            let row = Row {
                at_ns,
                stack: self.tables.stack(&sample),
                weight_ns: sample.weight_ns(self.track.file.clock),
                cpu_ns: sample.cpu_ns,
            };
            gap.into_iter().chain([row])
        })
    }
}

impl Serialize for SampleTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_map(None)?;
        table.serialize_entry("length", &self.rows().count())?;
        // Weights are milliseconds.
        table.serialize_entry("weightType", "tracing-ms")?;
        table.serialize_entry("stack", &Sequence(|| self.rows().map(|row| row.stack)))?;
        table.serialize_entry("time", &Sequence(|| self.rows().map(|row| self.track.file.ms(row.at_ns))))?;
        table.serialize_entry("weight", &Sequence(|| self.rows().map(|row| row.weight_ns as f64 / 1e6)))?;
        table.serialize_entry("threadCPUDelta", &Sequence(|| self.rows().map(|row| row.cpu_ns as f64 / 1e3)))?;
        table.end()
    }
}

/// From when to when a thread was in a state.
struct Marker {
    is_gc: bool,
    start_ns: u64,
    end_ns: u64,
}

fn markers(thread: &Thread) -> Vec<Marker> {
    let mut markers: Vec<Marker> = Vec::new();
    if thread.is_folded() {
        return markers; // its samples have no times
    }
    for sample in &thread.timeline {
        let start_ns = sample.timestamp_ns.saturating_sub(sample.wall_ns);
        for (is_gc, is_so) in [(true, sample.state.is_in_gc()), (false, sample.state.gil() == Gil::Waits)] {
            if !is_so {
                continue;
            }
            let last = markers.iter_mut().rev().take(2).find(|marker| marker.is_gc == is_gc);
            match last.filter(|marker| marker.end_ns == start_ns) {
                Some(marker) => marker.end_ns = sample.timestamp_ns,
                None => markers.push(Marker { is_gc, start_ns, end_ns: sample.timestamp_ns }),
            }
        }
    }
    markers
}

fn marker_table(file: &File<'_>, markers: &[Marker]) -> impl Serialize + use<> {
    const INTERVAL: u32 = 1;
    let times = |of: fn(&Marker) -> u64| markers.iter().map(|marker| file.ms(of(marker))).collect::<Vec<_>>();
    let category = |marker: &Marker| if marker.is_gc { GC_CATEGORY } else { WAITING_CATEGORY };
    json!({
        "length": markers.len(),
        "category": markers.iter().map(category).collect::<Vec<_>>(),
        "data": markers.iter().map(|marker| json!({"type": if marker.is_gc { "GC" } else { "GIL" }})).collect::<Vec<_>>(),
        // Their names are the first two strings.
        "name": markers.iter().map(|marker| u32::from(!marker.is_gc)).collect::<Vec<_>>(),
        "phase": vec![INTERVAL; markers.len()],
        "startTime": times(|marker| marker.start_ns),
        "endTime": times(|marker| marker.end_ns),
    })
}
