//! Profile files: one module a format, each with its writer and its reader.
//!
//! Writers stream: however many samples there are, none is copied. Readers take files of any producer, never panic, and
//! need memory in proportion to the file.
//!
//! Every file carries the honest numbers of its profile ([`profile::Counters`] and what was asked), in a place the format's
//! other readers pass over, so that reading a file of ours restores them.
#![forbid(unsafe_code)]

mod collapsed;
mod difference_html;
mod error;
mod header;
mod html;
mod labels;
mod reading;
mod runs;
mod speedscope;
mod stacks;

use std::io;
use std::path::Path;

use profile::{Clock, Profile};

pub use difference_html::write_difference;
pub use error::ReadError;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON of the speedscope viewer: threads, both clocks, the order of time.
    Speedscope,
    /// Collapsed (folded) stacks, a line each, as flame graph tools take them: one clock, no time.
    Collapsed,
    /// A report to look at: one HTML file that holds everything it shows. Written only.
    Html,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Speedscope, Format::Collapsed, Format::Html];

    /// Its name, which [`Self::from_name`] knows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Format::Speedscope => "speedscope",
            Format::Collapsed => "collapsed",
            Format::Html => "html",
        }
    }

    /// Endings of file names that mean it, the usual one first.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::Speedscope => &[".speedscope.json", ".json"],
            Format::Collapsed => &[".collapsed", ".folded", ".txt"],
            Format::Html => &[".html", ".htm"],
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
        Format::ALL.into_iter().find(|format| format.extensions().iter().any(|ending| name.ends_with(ending)))
    }

    /// The format of a file's content.
    #[must_use]
    pub fn sniff(content: &[u8]) -> Format {
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
        Format::Html => html::write(profile, options, &mut out)?,
    }
    io::Write::flush(&mut out)
}

/// Reads a profile from a file's content; `None` finds the format out by itself.
///
/// # Errors
/// If the content is not of that format: says what is wrong and where.
pub fn read(content: &[u8], format: Option<Format>) -> Result<Profile, ReadError> {
    let content = without_byte_order_mark(content);
    if content.starts_with(&[0x1f, 0x8b]) {
        return Err(ReadError::new("the file is compressed with gzip: unpack it first (gunzip)"));
    }
    match format.unwrap_or_else(|| Format::sniff(content)) {
        Format::Speedscope => speedscope::read(content),
        Format::Collapsed => collapsed::read(content),
        Format::Html => Err(html::cannot_be_read()),
    }
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
