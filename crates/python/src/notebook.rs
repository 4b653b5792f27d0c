//! A profile as a cell of a notebook shows it.

use std::fmt::Write as _;
use std::io;

use formats::Format;
use profile::{Clock, Profile};

use crate::save;

/// Functions in the table that stands in for the page.
const TABLE_ROWS: usize = 20;

/// HTML for a cell: the HTML format's page in a frame that may run its own script and touch nothing else; a table of functions where
/// there is no such format.
///
/// # Errors
/// None that memory does not have.
pub(crate) fn html(profile: &Profile) -> io::Result<String> {
    let Some(format) = Format::from_name("html") else { return Ok(table(profile)) };
    let mut page = Vec::new();
    formats::write(profile, format, &save::defaults(), &mut page)?;
    let page = String::from_utf8_lossy(&page);
    let mut html = String::with_capacity(page.len() + page.len() / 8);
    html.push_str("<iframe sandbox=\"allow-scripts\" style=\"width:100%;height:40em;border:0\" srcdoc=\"");
    escape(&page, &mut html);
    html.push_str("\"></iframe>");
    Ok(html)
}

fn table(profile: &Profile) -> String {
    let weights = profile.weights();
    let clock = if weights.cpu_ns > 0 { Clock::Cpu } else { Clock::Wall };
    let whole_ns = weights.on(clock).max(1) as f64;
    let mut html = format!("<table><tr><th>self {0}</th><th>total {0}</th><th>function</th></tr>", clock.label());
    for total in profile.function_totals(clock).iter().take(TABLE_ROWS) {
        let function = profile.functions.get(total.function);
        let [own, all] = [total.own, total.total].map(|weights| 100.0 * weights.on(clock) as f64 / whole_ns);
        write!(html, "<tr><td>{own:.1} %</td><td>{all:.1} %</td><td>").expect("a string takes any text");
        escape(profile.strings.get(function.name), &mut html);
        html.push_str(" (");
        escape(profile.strings.get(function.file), &mut html);
        html.push_str(")</td></tr>");
    }
    html.push_str("</table>");
    html
}

/// Text for between tags and for an attribute in double quotes.
fn escape(text: &str, html: &mut String) {
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            char => html.push(char),
        }
    }
}
