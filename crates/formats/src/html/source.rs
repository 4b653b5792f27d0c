//! The source lines of the functions in a profile, as they are on disk when the report is written.
//!
//! A file that was changed after the recording began would show wrong lines under right numbers, so it is left out, and
//! the report says why. Only Python files are read: a profile from elsewhere may name any file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use profile::{Clock, FunctionId, Profile, StringId};
use rustc_hash::FxHashMap;
use serde::Serialize;

/// Text of all lines together; the functions with most time come first.
const MAX_TEXT_BYTES: usize = 512 << 10;

/// A file longer than that is no program that somebody reads.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// A longer line is cut.
const MAX_LINE_CHARS: usize = 300;

/// A longer function is shown around the lines that were seen only.
const MAX_FUNCTION_LINES: u32 = 400;

/// How many lines around one that was seen are shown then.
const CONTEXT_LINES: u32 = 4;

/// What could be read of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Read,
    /// Changed since the recording began.
    Changed,
    /// Not on this machine, or not readable.
    Missing,
    /// The profile does not say when it was recorded.
    NoTime,
}

/// A file in the report.
#[derive(Debug, Serialize)]
pub(crate) struct SourceFile<'a> {
    file: &'a str,
    status: Status,
    /// Stretches of lines: the number of the first, and their text.
    lines: Vec<(u32, String)>,
}

struct File {
    status: Status,
    text: Vec<String>,
    /// The lines that the report has.
    taken: BTreeSet<u32>,
}

/// The sources of a profile's functions.
pub(crate) struct Sources<'a> {
    profile: &'a Profile,
    /// The last line of each file that the profile knows of.
    last_lines: FxHashMap<StringId, u32>,
    files: FxHashMap<StringId, File>,
    /// First and last line of each function of which lines were taken.
    extents: FxHashMap<FunctionId, (u32, u32)>,
}

impl<'a> Sources<'a> {
    /// Reads what is there.
    pub(crate) fn read(profile: &'a Profile, clock: Clock) -> Sources<'a> {
        let mut lines_seen: FxHashMap<FunctionId, Vec<u32>> = FxHashMap::default();
        let mut last_lines: FxHashMap<StringId, u32> = FxHashMap::default();
        for node in profile.tree.ids().skip(1) {
            let (id, line) = (profile.tree.function(node), profile.tree.line(node));
            let function = profile.functions.get(id);
            lines_seen.entry(id).or_default().extend(Some(line).filter(|&line| line > 0));
            let last = last_lines.entry(function.file).or_default();
            *last = line.max(function.first_line).max(*last);
        }
        let mut sources = Sources { profile, last_lines, files: FxHashMap::default(), extents: FxHashMap::default() };
        let mut room_bytes = MAX_TEXT_BYTES;
        for total in profile.function_totals(clock) {
            let mut seen = lines_seen.remove(&total.function).unwrap_or_default();
            seen.sort_unstable();
            seen.dedup();
            sources.take(total.function, &seen, &mut room_bytes);
        }
        sources
    }

    fn take(&mut self, id: FunctionId, seen: &[u32], room_bytes: &mut usize) {
        let function = self.profile.functions.get(id);
        let name = self.profile.strings.get(function.file);
        if name.is_empty() || name.starts_with('<') || function.is_native {
            return;
        }
        let file = self.files.entry(function.file).or_insert_with(|| {
            let file = File::read(Path::new(name), self.profile.info.start.unix_ns);
            // The same name, but not the same program.
            let is_other = file.status == Status::Read && self.last_lines[&function.file] as usize > file.text.len();
            if is_other { File::without_text(Status::Changed) } else { file }
        });
        if file.status != Status::Read {
            return;
        }
        // Where the profile does not tell lines, the function is shown all the same.
        let known = (function.first_line > 0).then_some(function.first_line);
        let Some(first_seen) = seen.first().copied().or(known) else { return };
        let last_seen = seen.last().copied().unwrap_or(first_seen);
        let first = if function.first_line > 0 { function.first_line.min(first_seen) } else { first_seen };
        let is_module = self.profile.strings.get(function.name) == "<module>";
        let end = if is_module { file.text.len() as u32 } else { last_line(&file.text, first) };
        let last = end.max(last_seen);
        let is_long = last - first > MAX_FUNCTION_LINES;
        let near = |line: u32| {
            let after = seen.partition_point(|&seen| seen + CONTEXT_LINES < line);
            line == first || seen.get(after).is_some_and(|&seen| seen <= line + CONTEXT_LINES)
        };
        let wanted: Vec<u32> =
            (first..=last).filter(|line| !file.taken.contains(line) && (!is_long || near(*line))).collect();
        let bytes: usize = wanted.iter().map(|&line| file.text[line as usize - 1].len() + 1).sum();
        if bytes > *room_bytes {
            return;
        }
        *room_bytes -= bytes;
        file.taken.extend(wanted);
        self.extents.insert(id, (first, last));
    }

    /// First and last line of a function in the report; zeros if it has none.
    pub(crate) fn lines(&self, function: FunctionId) -> (u32, u32) {
        self.extents.get(&function).copied().unwrap_or_default()
    }

    /// Every file that functions are of, by name.
    pub(crate) fn files(&self) -> Vec<SourceFile<'a>> {
        let files = self.files.iter().map(|(&name, file)| SourceFile {
            file: self.profile.strings.get(name),
            status: file.status,
            lines: file.stretches(),
        });
        let mut files: Vec<_> = files.collect();
        files.sort_by_key(|file| file.file);
        files
    }
}

impl File {
    fn without_text(status: Status) -> File {
        File { status, text: Vec::new(), taken: BTreeSet::new() }
    }

    fn read(path: &Path, start_unix_ns: u64) -> File {
        if start_unix_ns == 0 {
            return File::without_text(Status::NoTime);
        }
        let is_python = path.extension().is_some_and(|ending| ending == "py" || ending == "pyw");
        let metadata = fs::metadata(path).ok().filter(|metadata| metadata.is_file());
        let Some(metadata) = metadata.filter(|metadata| is_python && metadata.len() <= MAX_FILE_BYTES) else {
            return File::without_text(Status::Missing);
        };
        let recorded = UNIX_EPOCH + Duration::from_nanos(start_unix_ns);
        // Where the system keeps no such time, nothing says that the file is the one that ran.
        if metadata.modified().map_or(true, |modified| modified > recorded) {
            return File::without_text(Status::Changed);
        }
        let Ok(bytes) = fs::read(path) else { return File::without_text(Status::Missing) };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.lines().map(|line| line.chars().take(MAX_LINE_CHARS).collect()).collect();
        File { status: Status::Read, text, taken: BTreeSet::new() }
    }

    fn stretches(&self) -> Vec<(u32, String)> {
        let mut stretches: Vec<(u32, String)> = Vec::new();
        let mut next = 0;
        for &line in &self.taken {
            let text = &self.text[line as usize - 1];
            match stretches.last_mut() {
                Some((_, stretch)) if line == next => {
                    stretch.push('\n');
                    stretch.push_str(text);
                }
                _ => stretches.push((line, text.clone())),
            }
            next = line + 1;
        }
        stretches
    }
}

/// The last line of the block that begins at line `first`, as its indentation tells: decorators, the `def`, its body. That
/// line itself if no block begins there, as with a lambda.
fn last_line(text: &[String], first: u32) -> u32 {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let is_head = |line: &str| ["def ", "async def ", "class "].iter().any(|word| line.trim_start().starts_with(word));
    let goes_on = |line: &str, depth: usize| {
        // A closing bracket stands at the depth of what it closes, and a comment anywhere.
        indentation(line) > depth || line.trim().is_empty() || line.trim_start().starts_with([')', ']', '#'])
    };
    let mut lines = (first..).zip(text.iter().skip(first as usize - 1)).peekable();
    let Some(depth) = lines.peek().map(|(_, line)| indentation(line)) else { return first };
    let is_decorator = |line: &str| indentation(line) == depth && line.trim_start().starts_with('@');
    let mut last = first;
    if lines.peek().is_some_and(|(_, line)| is_decorator(line)) {
        while lines.next_if(|(_, line)| is_decorator(line) || goes_on(line, depth)).is_some() {}
    }
    let Some((head, _)) = lines.next().filter(|(_, line)| is_head(line)) else { return first };
    last = last.max(head);
    while let Some((number, line)) = lines.next_if(|(_, line)| goes_on(line, depth)) {
        let is_outer_comment = line.trim_start().starts_with('#') && indentation(line) <= depth;
        if !line.trim().is_empty() && !is_outer_comment {
            last = number;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let text = "\
import os

@cache
@wraps(
    f,
)
def first(
    a,
):
    # body
    if a:

        return 1

# about the second

def second(): return 2
third = lambda: 3
class Fourth:
    async def fifth(self):
        pass

    @property
    def sixth(self):
        return 6
    x = 7
last = 8";
        let text: Vec<String> = text.lines().map(str::to_owned).collect();
        let last_of = |start: &str| {
            let first =
                text.iter().position(|line| line.trim_start().starts_with(start)).expect("it is there") as u32 + 1;
            text[last_line(&text, first) as usize - 1].trim()
        };
        let cases = [
            ("import", "import os"),
            ("@cache", "return 1"),
            ("def first", "return 1"),
            ("def second", "def second(): return 2"),
            ("third", "third = lambda: 3"),
            ("class Fourth", "x = 7"),
            ("async def fifth", "pass"),
            ("@property", "return 6"),
            ("last", "last = 8"),
        ];
        for (start, expected) in cases {
            assert_eq!(last_of(start), expected, "of {start}");
        }
        assert_eq!(last_line(&text, 1000), 1000);
    }
}
