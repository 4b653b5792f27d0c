//! Collapsed (folded) stacks: a line for each distinct stack, `frame;frame;frame weight`, root first, sorted.
//!
//! - A frame is `name (file)`, and `name (file:line)` where lines are told apart: a name alone would put different functions
//!   together. Without a file it is the name alone.
//! - The weight is in whole nanoseconds of one clock.
//! - Readers of this format split at every `;` and every line end, so these, other control characters and the two Unicode
//!   line ends are written as `\x{3b}` (the code point in hexadecimal). So are a backslash before `x{`, a `(` after a space
//!   in a name, and a `#` at the beginning, which would be read as something else. Nothing else is: paths of Windows stay as they are.
//! - With `thread_roots` the outermost frame is the thread. Time in which a thread had no Python frame is then that frame's own;
//!   without, it is in the header only.
//! - The first line holds the honest numbers: `#spprof:` and a JSON object that has no space in it. As no weight can be split
//!   off it, flame graph tools pass over it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

use profile::{Clock, FunctionId, Gil, NewThread, NodeId, Observation, Profile, Recording, Running, State};
use rustc_hash::FxHashMap;

use crate::error::ReadError;
use crate::header::{Header, View};
use crate::labels::ALL_THREADS;
use crate::reading::{TotalWeight, finish_without_header};
use crate::stacks::{EMPTY_STACK, StackTree};
use crate::{WriteOptions, clocks};

const HEADER: &str = "#spprof:";

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let clock = clocks(profile, options.clock)[0];
    let mut header = Header::new(profile, vec![View::all_threads(clock)]);
    header.lines = options.lines;
    header.thread_roots = options.thread_roots;
    // A space can only be inside a string there, where JSON has another way to write it.
    writeln!(out, "{HEADER}{}", serde_json::to_string(&header)?.replace(' ', "\\u0020"))?;

    let lines = Lines::new(profile, clock, &header);
    for node in lines.stacks.depth_first() {
        let weight_ns = lines.weights_ns[node as usize];
        if weight_ns > 0 {
            for (number, label) in lines.stacks.labels(node).into_iter().enumerate() {
                out.write_all(if number == 0 { b"" } else { b";" })?;
                out.write_all(lines.texts[label as usize].as_bytes())?;
            }
            writeln!(out, " {weight_ns}")?;
        }
    }
    Ok(())
}

/// The lines to write as a tree, so that a frame's text is held once.
struct Lines {
    /// What frames are called, sorted. A position here is a label in `stacks`.
    texts: Vec<String>,
    stacks: StackTree,
    /// By node of `stacks`.
    weights_ns: Vec<u64>,
}

impl Lines {
    fn new(profile: &Profile, clock: Clock, header: &Header) -> Lines {
        let tree = &profile.tree;
        let frame_of = |node| (tree.function(node), if header.lines { tree.line(node) } else { 0 });
        let mut text_of_frame: FxHashMap<(FunctionId, u32), String> = FxHashMap::default();
        for node in tree.ids().skip(1) {
            let (function, line) = frame_of(node);
            text_of_frame
                .entry((function, line))
                .or_insert_with(|| frame_text(profile, function, header.lines.then_some(line)));
        }
        let roots: Vec<String> = if header.thread_roots {
            header.thread_labels().iter().map(|label| escape(label, false)).collect()
        } else {
            Vec::new()
        };
        // A set: functions that differ only in what a text does not say are one frame here.
        let texts: BTreeSet<&String> = text_of_frame.values().chain(&roots).collect();
        let texts: Vec<String> = texts.into_iter().cloned().collect();
        let label_of_text = |text: &String| texts.binary_search(text).expect("every text is in the set") as u32;
        let label_of_frame: FxHashMap<_, _> =
            text_of_frame.iter().map(|(&frame, text)| (frame, label_of_text(text))).collect();

        let mut lines = Lines { texts: Vec::new(), stacks: StackTree::new(), weights_ns: vec![0] };
        let mut add = |root: Option<u32>, leaf: NodeId, weight_ns: u64| {
            if weight_ns > 0 {
                let frames: Vec<NodeId> = tree.ancestors(leaf).collect();
                let labels = frames.into_iter().rev().map(|node| label_of_frame[&frame_of(node)]);
                lines.add(root.into_iter().chain(labels), weight_ns);
            }
        };
        if header.thread_roots {
            for total in profile.stack_totals() {
                let root = label_of_text(&roots[total.thread.index()]);
                add(Some(root), total.leaf, total.weights.on(clock));
            }
        } else {
            for (leaf, weights) in tree.ids().zip(profile.weights_by_leaf()).skip(1) {
                add(None, leaf, weights.on(clock));
            }
        }
        lines.stacks.freeze();
        lines.texts = texts;
        lines
    }

    fn add(&mut self, labels: impl Iterator<Item = u32>, weight_ns: u64) {
        let stack = labels.fold(EMPTY_STACK, |stack, label| self.stacks.child(stack, label));
        self.weights_ns.resize(self.stacks.len(), 0);
        let weight = &mut self.weights_ns[stack as usize];
        *weight = weight.saturating_add(weight_ns);
    }
}

fn frame_text(profile: &Profile, function: FunctionId, line: Option<u32>) -> String {
    let function = profile.functions.get(function);
    let mut text = escape(profile.strings.get(function.name), true);
    let file = escape(profile.strings.get(function.file), false);
    match line {
        Some(line) => write!(text, " ({file}:{line})"),
        None if file.is_empty() => Ok(()),
        None => write!(text, " ({file})"),
    }
    .expect("a string takes any text");
    text
}

/// `text` as it may stand in a line. `is_name`: a file may follow it in parentheses.
fn escape(text: &str, is_name: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        let must = match char {
            ';' | '\u{2028}' | '\u{2029}' => true,
            '\\' => text[at + 1..].starts_with("x{"),
            '(' => is_name && text[..at].ends_with(' '),
            '#' => at == 0,
            _ => char.is_control(),
        };
        if must {
            write!(escaped, "\\x{{{:x}}}", u32::from(char)).expect("a string takes any text");
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// The inverse of [`escape`]; what is no escape stays as it is.
fn unescape(text: &str) -> Cow<'_, str> {
    const START: &str = "\\x{";
    if !text.contains(START) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(START) {
        plain.push_str(before);
        let escaped = after.split_once('}').and_then(|(digits, after)| {
            let char = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
            Some((char, after))
        });
        if let Some((char, after)) = escaped {
            plain.push(char);
            rest = after;
        } else {
            plain.push_str(START);
            rest = after;
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// A frame's function, file and line.
fn parse_frame(text: &str, lines: bool, escaped: bool) -> (Cow<'_, str>, Cow<'_, str>, u32) {
    let plain = |text| if escaped { unescape(text) } else { Cow::Borrowed(text) };
    // At the first " (": a name cannot have one, a file can.
    let Some((name, file)) = text.strip_suffix(')').and_then(|text| text.split_once(" (")) else {
        return (plain(text), Cow::Borrowed(""), 0);
    };
    let with_line = file.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
    let (file, line) = with_line.filter(|_| lines).unwrap_or((file, 0));
    (plain(name), plain(file), line)
}

pub(crate) fn read(content: &[u8]) -> Result<Profile, ReadError> {
    let mut lines = content.split(|&byte| byte == b'\n').zip(1..).peekable();
    let header = lines.next_if(|(line, _)| line.starts_with(HEADER.as_bytes()));
    let header: Option<Header> = match header {
        Some((line, _)) => Some(serde_json::from_slice(&line[HEADER.len()..]).map_err(|error| {
            ReadError::new(format!("line 1 begins with {HEADER} but what follows is not what spprof writes: {error}"))
        })?),
        None => None,
    };
    let mut reader = Reader::new(header);
    let mut total = TotalWeight::default();
    for (line, number) in lines {
        let located = |error: ReadError| ReadError::new(format!("line {number}: {error}"));
        if let Some((stack, weight_ns)) = parse_line(line).map_err(located)? {
            total.add(weight_ns).map_err(located)?;
            reader.enter(stack, weight_ns);
        }
    }
    Ok(reader.finish())
}

/// The stack and weight of a line; `None` for those without: empty ones and comments.
fn parse_line(line: &[u8]) -> Result<Option<(&str, u64)>, ReadError> {
    let line = std::str::from_utf8(line).map_err(|_| ReadError::new("it is not UTF-8 text"))?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() || line.starts_with("# ") {
        return Ok(None);
    }
    let (stack, weight) =
        line.rsplit_once([' ', '\t']).ok_or_else(|| ReadError::new("it must be a stack, a space and a weight"))?;
    let whole = weight.parse::<u64>().ok();
    // Some producers write fractions.
    let fraction = || weight.parse::<f64>().ok().filter(|value| (0.0..i64::MAX as f64).contains(value));
    let weight_ns = whole.or_else(|| fraction().map(|value| value.round() as u64)).ok_or_else(|| {
        let shown: String = weight.chars().take(40).collect();
        ReadError::new(format!("the weight {shown:?} is not a number from 0 to 2^63"))
    })?;
    Ok(Some((stack, weight_ns)))
}

struct Reader {
    recording: Recording,
    header: Option<Header>,
    clock: Clock,
    lines: bool,
    threads: FxHashMap<String, profile::ThreadId>,
}

impl Reader {
    fn new(header: Option<Header>) -> Reader {
        let mut reader = Reader {
            recording: Recording::without_limit(header.as_ref().map(Header::info).unwrap_or_default()),
            // What others count is most often samples taken at an interval of wall time.
            clock: header.as_ref().and_then(|header| header.views.first()).map_or(Clock::Wall, |view| view.clock),
            lines: header.as_ref().is_none_or(|header| header.lines),
            threads: FxHashMap::default(),
            header: None,
        };
        if let Some(header) = header.as_ref().filter(|header| header.thread_roots) {
            let labels = header.thread_labels();
            for (label, thread) in labels.into_iter().zip(header.threads()) {
                let id = reader.recording.add_thread(thread);
                reader.threads.insert(label, id);
            }
        }
        reader.header = header;
        reader
    }

    fn enter(&mut self, stack: &str, weight_ns: u64) {
        let (thread, stack) = match &self.header {
            Some(header) if header.thread_roots => match stack.split_once(';') {
                Some((thread, stack)) => (unescape(thread), Some(stack)),
                None => (unescape(stack), None),
            },
            _ => (Cow::Borrowed(ALL_THREADS), Some(stack)),
        };
        let thread = match self.threads.get(&*thread) {
            Some(&id) => id,
            None => {
                let name = thread.into_owned();
                let id = self.recording.add_thread(NewThread { name: name.clone(), ..NewThread::default() });
                self.threads.insert(name, id);
                id
            }
        };
        let mut leaf = NodeId::ROOT;
        for frame in stack.into_iter().flat_map(|stack| stack.split(';')) {
            let (name, file, line) = parse_frame(frame, self.lines, self.header.is_some());
            let function = self.recording.intern_function(&name, &file, 0, false);
            leaf = self.recording.child(leaf, function, line);
        }
        let (cpu_ns, wall_ns, gil) = match self.clock {
            Clock::Cpu => (weight_ns, 0, Gil::Unknown),
            Clock::Wall => (0, weight_ns, Gil::Unknown),
            Clock::Gil => (0, weight_ns, Gil::Holds),
        };
        let state = State::new(Running::Unknown, gil);
        // The format keeps no number of samples; at the rate that was asked for it was this many.
        let interval_ns = self.header.as_ref().map_or(0, Header::interval_ns);
        let count = weight_ns.checked_div(interval_ns).unwrap_or(1).max(1);
        self.recording.record_several(thread, Observation { leaf, wall_ns, cpu_ns, state }, count);
    }

    fn finish(self) -> Profile {
        let Some(header) = self.header else { return finish_without_header(self.recording) };
        let mut profile = self.recording.finish(header.end(), header.counters());
        profile.ending = header.ending();
        profile.counters = header.counters();
        if header.thread_roots {
            header.complete(&mut profile.threads);
        }
        profile
    }
}
