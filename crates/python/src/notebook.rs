//! A profile as a cell of a notebook shows it.

use std::io::{self, Write};

use formats::Format;
use profile::Profile;

use crate::memory::Text;
use crate::save;

/// HTML for a cell: the HTML format's page in a frame that may run its own script and touch nothing else.
///
/// # Errors
/// None that memory does not have.
pub(crate) fn html(profile: &Profile) -> io::Result<Text> {
    let mut html = Text::default();
    html.write_all(b"<iframe sandbox=\"allow-scripts\" style=\"width:100%;height:40em;border:0\" srcdoc=\"")?;
    formats::write(profile, Format::Html, &save::defaults(), &mut InQuotes(&mut html))?;
    html.write_all(b"\"></iframe>")?;
    Ok(html)
}

/// Text of an attribute in double quotes.
struct InQuotes<'a>(&'a mut Text);

impl Write for InQuotes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'&' | b'"')) {
            match part.split_last() {
                Some((b'&', before)) => [before, b"&amp;"].iter().try_for_each(|part| self.0.write_all(part))?,
                Some((b'"', before)) => [before, b"&quot;"].iter().try_for_each(|part| self.0.write_all(part))?,
                _ => self.0.write_all(part)?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
