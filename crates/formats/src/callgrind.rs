//! Callgrind's profile format, version 1: costs by line, and calls with what was spent inside them. For `callgrind_annotate`,
//! KCachegrind and QCachegrind.
//!
//! Events are nanoseconds on each clock, and samples. What the format calls a number of calls is a number of samples: a
//! sampling profiler counts no calls. The inclusive costs of a function's calls add up to its own, for recursive functions too
//! (see `calls.rs`); so that this holds for the outermost ones, a function `<all threads>` calls them. There are no stacks,
//! threads, states or times.

use std::io;

use profile::{Clock, Profile, StringId};

use crate::calls::{Calls, Sums};
use crate::header::{Header, VERSION, View};
use crate::{WriteOptions, clocks};

/// Callgrind's name for what has none.
const NO_NAME: &str = "???";

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let clocks = clocks(profile, options.clock);
    let header = Header::new(profile, clocks.iter().map(|&clock| View::all_threads(clock)).collect());
    let calls = Calls::new(profile, false);

    writeln!(out, "# callgrind format")?;
    writeln!(out, "version: 1")?;
    writeln!(out, "creator: spprof {VERSION}")?;
    writeln!(out, "pid: {}", profile.info.pid)?;
    writeln!(out, "cmd: {}", one_line(&profile.info.argv.join(" ")))?;
    writeln!(out, "desc: Numbers: {}", header.summary())?;
    writeln!(out, "desc: Note: what is called a number of calls is a number of samples")?;
    writeln!(out, "positions: line")?;
    for &clock in &clocks {
        writeln!(out, "event: {0} : {0} time (ns)", event(clock))?;
    }
    let events: Vec<&str> = clocks.iter().map(|&clock| event(clock)).collect();
    writeln!(out, "events: {} Samples", events.join(" "))?;
    let mut totals = Sums::default();
    calls.own.values().for_each(|&own| totals.add(own));
    writeln!(out, "summary: {}", costs(&totals, &clocks))?;

    let mut names =
        Names { profile, files: vec![false; profile.strings.len()], functions: vec![false; calls.callables.len()] };
    let mut edges = calls.edges.iter().peekable();
    let mut before = None;
    for (&(number, line), own) in &calls.own {
        if before != Some(number) {
            before = Some(number);
            writeln!(out)?;
            names.write(out, ["fl", "fn"], &calls, number)?;
        }
        writeln!(out, "{line} {}", costs(own, &clocks))?;
        while let Some((edge, sums)) = edges.next_if(|(edge, _)| (edge.caller, edge.line) == (number, line)) {
            names.write(out, ["cfi", "cfn"], &calls, edge.callee)?;
            writeln!(out, "calls={} {}", sums.any.samples, calls.callables[edge.callee].first_line)?;
            writeln!(out, "{line} {}", costs(&sums.outermost, &clocks))?;
        }
    }
    if !calls.roots.is_empty() {
        let (file, function) = (profile.strings.len() + 1, calls.callables.len() + 1);
        writeln!(out, "\nfl=({file}) {NO_NAME}\nfn=({function}) <all threads>")?;
    }
    for (&callee, sums) in &calls.roots {
        names.write(out, ["cfi", "cfn"], &calls, callee)?;
        writeln!(out, "calls={} {}", sums.samples, calls.callables[callee].first_line)?;
        writeln!(out, "0 {}", costs(sums, &clocks))?;
    }
    writeln!(out)?;
    writeln!(out, "totals: {}", costs(&totals, &clocks))
}

/// The event of a clock; a word of letters.
fn event(clock: Clock) -> &'static str {
    clock.label()
}

fn costs(sums: &Sums, clocks: &[Clock]) -> String {
    let mut text = String::new();
    for &clock in clocks {
        text.push_str(&format!("{} ", sums.on(clock)));
    }
    text + &sums.samples.to_string()
}

/// Names are written in full once, behind a number, and by that number from then on.
struct Names<'a> {
    profile: &'a Profile,
    files: Vec<bool>,
    functions: Vec<bool>,
}

impl Names<'_> {
    /// Writes the lines that name a function's file and the function.
    fn write(&mut self, out: &mut impl io::Write, keys: [&str; 2], calls: &Calls, number: usize) -> io::Result<()> {
        let callable = &calls.callables[number];
        let text = |id: StringId| match one_line(self.profile.strings.get(id)) {
            text if text.is_empty() => NO_NAME.to_owned(),
            text => text,
        };
        let file = callable.file.index();
        for (key, number, is_known, id) in [
            (keys[0], file, &mut self.files[file], callable.file),
            (keys[1], number, &mut self.functions[number], callable.name),
        ] {
            // Numbers begin at 1 by custom.
            write!(out, "{key}=({})", number + 1)?;
            if !std::mem::replace(is_known, true) {
                write!(out, " {}", text(id))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// The text without what would end its line.
fn one_line(text: &str) -> String {
    let escaped = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    text.trim().chars().map(escaped).collect()
}
