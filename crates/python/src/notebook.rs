//! A profile as a cell of a notebook shows it.

use std::io;

use formats::Format;
use profile::Profile;

use crate::save;

/// HTML for a cell: the HTML format's page in a frame that may run its own script and touch nothing else.
///
/// # Errors
/// None that memory does not have.
pub(crate) fn html(profile: &Profile) -> io::Result<String> {
    let mut page = Vec::new();
    formats::write(profile, Format::Html, &save::defaults(), &mut page)?;
    let page = String::from_utf8_lossy(&page);
    let mut html = String::with_capacity(page.len() + page.len() / 8);
    html.push_str("<iframe sandbox=\"allow-scripts\" style=\"width:100%;height:40em;border:0\" srcdoc=\"");
    escape(&page, &mut html);
    html.push_str("\"></iframe>");
    Ok(html)
}

/// Text for an attribute in double quotes.
fn escape(text: &str, html: &mut String) {
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '"' => html.push_str("&quot;"),
            char => html.push(char),
        }
    }
}
