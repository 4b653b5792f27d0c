//! The report: one HTML file to look at, which needs no network and no server.
//!
//! It is a page of our own (`assets/`: style, script, no framework) and the data it draws ([`payload`]): deflated, then
//! base64, since that is what every browser can unpack by itself. Nothing of the profile stands in the page as text but
//! its title, which is escaped, so no name can break out of it; and a policy in the page forbids every request.
//!
//! Sums over the whole recording are exact. The order of time is kept in a column a thread, coarsened where it would
//! make the file large ([`timeline`]); the page says so.

mod base64;
mod columns;
mod payload;
mod source;
mod timeline;

use std::io;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use profile::Profile;

use crate::error::ReadError;
use crate::{WriteOptions, clocks};
use base64::Base64Writer;

const STYLE: &str = include_str!("assets/report.css");

/// One script: each file sees what those before it define.
const SCRIPT: &str = concat!(
    include_str!("assets/text.js"),
    include_str!("assets/data.js"),
    include_str!("assets/model.js"),
    include_str!("assets/theme.js"),
    include_str!("assets/flame.js"),
    include_str!("assets/threads.js"),
    include_str!("assets/tables.js"),
    include_str!("assets/report.js"),
);

const BODY: &str = include_str!("assets/report.html");

/// Only what is in the page itself may be used.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let title = title(profile, &options.name);
    let clocks = clocks(profile, options.clock);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"spprof {}\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n",
        crate::header::VERSION,
        escape(&title),
    )?;
    write!(out, "<body>\n{BODY}<script id=\"data\" type=\"text/plain\">")?;
    // 6: the higher levels take twice as long for one percent.
    let mut packed = ZlibEncoder::new(Base64Writer::new(&mut *out), Compression::new(6));
    payload::write(profile, &title, &clocks, &mut packed)?;
    packed.finish()?.finish()?;
    write!(out, "</script>\n<script>\n\"use strict\";\n{{\n{SCRIPT}}}\n</script>\n</body>\n</html>\n")
}

/// What the page is called: the name asked for, else the program.
fn title(profile: &Profile, name: &str) -> String {
    const MAX_CHARS: usize = 200;
    let program = || match profile.info.argv.first() {
        Some(program) => program.rsplit(['/', '\\']).next().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    let title = if name.is_empty() { program() } else { name.to_owned() };
    title.chars().filter(|char| !char.is_control()).take(MAX_CHARS).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The content begins as an HTML page does.
pub(crate) fn is_page(content: &[u8]) -> bool {
    let start = content.trim_ascii_start();
    ["<!doctype html", "<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes())))
}

pub(crate) fn cannot_be_read() -> ReadError {
    ReadError::new("a file of the format html is to be looked at: it cannot be read")
}
