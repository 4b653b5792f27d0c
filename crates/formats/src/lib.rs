//! Profile files: one module a format, each with its writer and its reader.
//!
//! Writers stream: however many samples there are, none is copied. Readers take files of any producer, never panic, and
//! need memory in proportion to the file.
//!
//! Every file carries the honest numbers of its profile ([`profile::Counters`] and what was asked), in a place the format's
//! other readers pass over, so that reading a file of ours restores them.
#![forbid(unsafe_code)]

mod callgrind;
mod calls;
mod chrome;
mod collapsed;
mod cost;
mod difference_html;
mod error;
mod firefox;
mod frames;
mod header;
mod holds;
mod html;
mod labels;
mod pprof;
mod pstats;
mod reading;
mod runs;
mod sequence;
mod speedscope;
mod spprof;
mod stacks;
mod states;
mod svg;

use std::io;
use std::path::Path;

use profile::{Clock, Profile};

pub use difference_html::write_difference;
pub use error::ReadError;
pub use holds::{Fact, losses};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON of the speedscope viewer: threads, both clocks, the order of time.
    Speedscope,
    /// Collapsed (folded) stacks, a line each, as flame graph tools take them: one clock, no time.
    Collapsed,
    /// Our own binary format, which keeps everything.
    Spprof,
    /// Google's pprof, packed with gzip: all clocks side by side, threads and states as labels, no order of time.
    Pprof,
    /// The Firefox Profiler's processed profile: threads over time, CPU track, categories, markers.
    Firefox,
    /// A flame graph as an SVG picture: one clock, no threads, no time.
    Svg,
    /// The statistics of cProfile: one clock, functions and their callers.
    Pstats,
    /// Callgrind's format: all clocks side by side, functions, lines and calls.
    Callgrind,
    /// Chrome's trace events: what each thread was in, over time.
    Chrome,
    /// A report to look at: one HTML file that holds everything it shows. Written only.
    Html,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 10] = [
        Format::Speedscope,
        Format::Collapsed,
        Format::Spprof,
        Format::Pprof,
        Format::Firefox,
        Format::Svg,
        Format::Pstats,
        Format::Callgrind,
        Format::Chrome,
        Format::Html,
    ];

    /// Its name, which [`Self::from_name`] knows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Speedscope => "speedscope",
            Format::Collapsed => "collapsed",
            Format::Spprof => "spprof",
            Format::Pprof => "pprof",
            Format::Firefox => "firefox",
            Format::Svg => "svg",
            Format::Pstats => "pstats",
            Format::Callgrind => "callgrind",
            Format::Chrome => "chrome",
            Format::Html => "html",
        }
    }

    /// Endings of file names that mean it, the usual one first.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::Speedscope => &[".speedscope.json", ".json"],
            Format::Collapsed => &[".collapsed", ".folded", ".txt"],
            Format::Spprof => &[".spprof"],
            Format::Pprof => &[".pb.gz", ".pprof"],
            Format::Firefox => &[".firefox.json"],
            Format::Svg => &[".svg"],
            Format::Pstats => &[".pstats", ".prof"],
            Format::Callgrind => &[".callgrind"],
            Format::Chrome => &[".trace.json"],
            Format::Html => &[".html", ".htm"],
        }
    }

    /// Whether [`read`] takes it. Other formats leave out what a profile is made of.
    #[must_use]
    pub const fn can_read(self) -> bool {
        matches!(self, Format::Speedscope | Format::Collapsed | Format::Spprof | Format::Pprof)
    }

    /// What opens such a file, as the end of a sentence.
    #[must_use]
    pub const fn opened_by(self) -> &'static str {
        match self {
            Format::Speedscope => "open it at https://www.speedscope.app",
            Format::Collapsed => "flame graph tools take it",
            Format::Spprof => "look at it with `spprof report`, or turn it into another format with `spprof convert`",
            Format::Pprof => "open it with `go tool pprof -http=:`",
            Format::Firefox => "open it at https://profiler.firefox.com",
            Format::Svg | Format::Html => "open it in a browser",
            Format::Pstats => "open it with snakeviz or `python -m pstats`",
            Format::Callgrind => "open it with KCachegrind or callgrind_annotate",
            Format::Chrome => "open it at https://ui.perfetto.dev",
        }
    }

    /// The format of that name, upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The format a file's name asks for, upper or lower case; `None` if its ending says nothing.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        // What valgrind itself calls such files.
        if name.starts_with("callgrind.out") {
            return Some(Format::Callgrind);
        }
        // The longest: `.json` alone means less than `.trace.json`.
        let length = |format: &Format| {
            format.extensions().iter().filter(|ending| name.ends_with(**ending)).map(|ending| ending.len()).max()
        };
        Format::ALL.into_iter().filter(|format| length(format).is_some()).max_by_key(length)
    }

    /// The format of a file's content.
    #[must_use]
    pub fn sniff(content: &[u8]) -> Format {
        if content.starts_with(&spprof::MAGIC) {
            return Format::Spprof;
        }
        // Unpacked, pprof begins with a field 1 that begins with a field 1: a sample type and its name.
        if content.starts_with(&GZIP_MAGIC) || matches!(content, [0x0a, _, 0x08, ..]) {
            return Format::Pprof;
        }
        match without_byte_order_mark(content).trim_ascii_start().first() {
            Some(b'{') => Format::Speedscope,
            Some(b'<') if html::is_page(without_byte_order_mark(content)) => Format::Html,
            _ => Format::Collapsed,
        }
    }
}

/// What to write.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The clock, or `None` for all: formats that hold one then take CPU time, or wall time if no CPU time was recorded.
    pub clock: Option<Clock>,
    /// Tell the lines of a function apart: a frame for each, where otherwise there is one a function.
    pub lines: bool,
    /// Collapsed stacks: begin each with its thread.
    pub thread_roots: bool,
    /// Title of the profile.
    pub name: String,
}

/// Writes a profile.
///
/// # Errors
/// Those of `out`. What was written until then stays there.
pub fn write(profile: &Profile, format: Format, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    match format {
        Format::Speedscope => speedscope::write(profile, options, &mut out)?,
        Format::Collapsed => collapsed::write(profile, options, &mut out)?,
        Format::Spprof => spprof::write(profile, &mut out)?,
        Format::Pprof => pprof::write(profile, options, &mut out)?,
        Format::Firefox => firefox::write(profile, options, &mut out)?,
        Format::Svg => svg::write(profile, options, &mut out)?,
        Format::Pstats => pstats::write(profile, options, &mut out)?,
        Format::Callgrind => callgrind::write(profile, options, &mut out)?,
        Format::Chrome => chrome::write(profile, options, &mut out)?,
        Format::Html => html::write(profile, options, &mut out)?,
    }
    io::Write::flush(&mut out)
}

/// Heap bytes that [`write`] needs at once at most, the file itself aside.
#[must_use]
pub fn write_bytes(profile: &Profile, format: Format) -> usize {
    /// What packs, and what is kept between two writes.
    const FIXED_BYTES: usize = 1 << 20;
    let size = profile.size();
    let grows = match format {
        Format::Spprof => size.times(64, 64, 0, 256, 1),
        // A part of a track's columns for each sample.
        Format::Firefox | Format::Chrome | Format::Html => size.times(512, 1024, 224, 2048, 16),
        _ => size.times(512, 1024, 64, 1024, 16),
    };
    grows.saturating_add(FIXED_BYTES)
}

/// Heap bytes that [`write_difference`] needs at once at most.
#[must_use]
pub fn write_difference_bytes(before: &Profile, after: &Profile) -> usize {
    // Both call trees are put into one.
    let bytes = |profile: &Profile| profile.view_bytes().saturating_add(profile.copy_bytes());
    bytes(before).saturating_add(bytes(after))
}

/// Heap bytes that [`read`] needs beside those that it asks for as it goes on ([`profile::room`]).
#[must_use]
pub fn read_bytes(content: &[u8]) -> usize {
    match Format::sniff(content) {
        // What is built from them is counted.
        Format::Spprof | Format::Pprof => 4 << 20,
        // A text of numbers and short names takes several times its length, and tables that double hold their old half meanwhile.
        _ => content.len().saturating_mul(16),
    }
}

/// A profile that was read, and what is to be known about it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The profile.
    pub profile: Profile,
    /// A sentence for each thing that is not as it should be, or that was left out: a file that was cut short, values that
    /// are no times. Empty for most files.
    pub remarks: Vec<String>,
}

/// Reads a profile from a file's content; `None` finds the format out by itself.
///
/// # Errors
/// If the content is not of that format, or nobody reads that format: says what is wrong and where.
pub fn read(content: &[u8], format: Option<Format>) -> Result<Profile, ReadError> {
    read_with_remarks(content, format).map(|reading| reading.profile)
}

/// As [`read`], with what is to be known about the profile.
///
/// # Errors
/// As [`read`].
pub fn read_with_remarks(content: &[u8], format: Option<Format>) -> Result<Reading, ReadError> {
    let without_remarks = |profile| Reading { profile, remarks: Vec::new() };
    let text = without_byte_order_mark(content);
    if format.is_none() && is_packed_text(content) {
        return Err(ReadError::new("the file is JSON compressed with gzip: unpack it first (gunzip)"));
    }
    match format.unwrap_or_else(|| Format::sniff(content)) {
        Format::Spprof => spprof::read(content),
        Format::Pprof => pprof::read(content),
        _ if content.starts_with(&GZIP_MAGIC) => {
            Err(ReadError::new("the file is compressed with gzip: unpack it first (gunzip)"))
        }
        Format::Speedscope => speedscope::read(text).map(without_remarks),
        Format::Collapsed => collapsed::read(text).map(without_remarks),
        Format::Html => Err(html::cannot_be_read()),
        format => {
            Err(ReadError::new(format!("a file of the format {} is to be looked at: it cannot be read", format.name())))
        }
    }
}

/// How a file that was packed with gzip begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether there is JSON in a file that was packed with gzip, rather than a pprof profile.
fn is_packed_text(content: &[u8]) -> bool {
    let mut beginning = [0; 1];
    content.starts_with(&GZIP_MAGIC)
        && io::Read::read_exact(&mut flate2::read::GzDecoder::new(content), &mut beginning).is_ok()
        && beginning == [b'{']
}

fn without_byte_order_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content)
}

/// The clocks to write, of those asked for: without the ones on which nothing was recorded, but always one.
fn clocks(profile: &Profile, asked: Option<Clock>) -> Vec<Clock> {
    if let Some(clock) = asked {
        return vec![clock];
    }
    let weights = profile.weights();
    let mut clocks: Vec<Clock> = Clock::ALL.into_iter().filter(|&clock| weights.on(clock) > 0).collect();
    if clocks.is_empty() {
        clocks.push(Clock::ALL[0]);
    }
    clocks
}
