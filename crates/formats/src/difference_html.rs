//! What differs between two profiles as an HTML page: the functions that changed, and a flame graph in two colours.
//!
//! The page is static: no script, nothing from elsewhere, a tooltip for each call. A call is as wide as the mean of its times in both
//! profiles, so what is gone and what is new are both there. It is red if it took longer in the second profile and blue if less
//! long, strongly where its function changed for certain, and pale otherwise.

use std::collections::HashSet;
use std::io::{self, Write};

use profile::{BothTrees, CallInBoth, Difference, Profile};

/// Width of the graph in its own units; a viewer scales it.
const WIDTH: f64 = 1200.0;
const ROW_HEIGHT: f64 = 18.0;
/// Narrower calls are left out, which bounds the size of the page.
const MIN_WIDTH: f64 = 0.6;
const MAX_ROWS: usize = 500;
/// What a character of the labels takes.
const CHARACTER_WIDTH: f64 = 6.7;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:14px system-ui,sans-serif;margin:1.5em}\
table{border-collapse:collapse;margin:1em 0}\
td,th{padding:.15em .8em;text-align:right}\
td:last-child,th:last-child{text-align:left;font-family:ui-monospace,monospace}\
tr.certain{font-weight:600}\
svg{width:100%;height:auto;font:11px ui-monospace,monospace}\
rect{stroke:Canvas;stroke-width:.5}\
text{fill:#111;pointer-events:none}\
g:hover>rect{stroke:CanvasText}";

/// Writes the page for what [`Profile::difference`] found in two profiles.
///
/// # Errors
/// Those of `out`. What was written until then stays there.
pub fn write_difference(
    before: &Profile,
    after: &Profile,
    difference: &Difference,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let clock = difference.clock.label();
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Two profiles compared</title><style>{STYLE}</style>\n\
         <h1>Two profiles compared</h1>\n<p>{clock} time of all functions: {} before, {} after. Times after are divided by {:.4}, \
         to be compared.</p>\n",
        seconds(difference.before_ns as f64),
        seconds(difference.after_ns as f64),
        difference.scale
    )?;
    table(before, after, difference, &mut out)?;
    graph(before, after, difference, &mut out)?;
    writeln!(out, "</html>")?;
    out.flush()
}

fn table(before: &Profile, after: &Profile, difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    let certain = difference.changes().count();
    writeln!(out, "<p>{certain} of {} functions changed for certain.</p>", difference.functions.len())?;
    write!(
        out,
        "<table><tr><th>own before<th>own after<th>change<th>95 % from<th>to<th>confidence<th>total before<th>total after<th>function"
    )?;
    for function in &difference.functions {
        let (_, name, file, line) = before.describe_difference(after, function);
        let class = if function.is_certain { " class=certain" } else { "" };
        let after_ns = |ns: u64| seconds(ns as f64 / difference.scale);
        write!(
            out,
            "\n<tr{class}><td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.1} %<td>{}<td>{}<td>",
            seconds(function.own_before_ns as f64),
            after_ns(function.own_after_ns),
            percent(function.ratio),
            percent(function.ratio_low),
            percent(function.ratio_high),
            // Rounded up it would claim more than can be known.
            (function.confidence * 1000.0).floor() / 10.0,
            seconds(function.total_before_ns as f64),
            after_ns(function.total_after_ns),
        )?;
        escape(name, out)?;
        write!(out, " <small>")?;
        escape(file, out)?;
        if line > 0 {
            write!(out, ":{line}")?;
        }
        write!(out, "</small>")?;
    }
    writeln!(out, "\n</table>")
}

fn graph(before: &Profile, after: &Profile, difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    let BothTrees { functions_of, calls } = before.both_trees(after, difference.clock);
    let mean_ns =
        |call: &CallInBoth| f64::midpoint(call.total_before_ns as f64, call.total_after_ns as f64 / difference.scale);
    let is_outermost = |(number, call): &(usize, &CallInBoth)| call.caller == *number;
    let whole_ns: f64 = calls.iter().enumerate().filter(is_outermost).map(|(_, call)| mean_ns(call)).sum();
    if whole_ns <= 0.0 {
        return writeln!(out, "<p>No time was recorded in any function.</p>");
    }
    let certain: HashSet<(&str, &str)> = difference
        .changes()
        .map(|function| {
            let (_, name, file, _) = before.describe_difference(after, function);
            (name, file)
        })
        .collect();

    // Where each call begins, and where the next one that it calls will. Callers come before those that they call.
    let mut places: Vec<(f64, usize)> = Vec::with_capacity(calls.len());
    let mut next: Vec<f64> = Vec::with_capacity(calls.len());
    let mut next_outermost = 0.0;
    for (number, call) in calls.iter().enumerate() {
        let width = mean_ns(call) / whole_ns * WIDTH;
        let (begin, row) = if call.caller == number {
            (&mut next_outermost, 0)
        } else {
            (&mut next[call.caller], places[call.caller].1 + 1)
        };
        places.push((*begin, row));
        *begin += width;
        let begin_of_called = places[number].0;
        next.push(begin_of_called);
    }
    let shown = |call: &CallInBoth, row: usize| mean_ns(call) / whole_ns * WIDTH >= MIN_WIDTH && row < MAX_ROWS;
    let rows =
        calls.iter().zip(&places).filter(|(call, (_, row))| shown(call, *row)).map(|(_, (_, row))| row + 1).max();
    let height = rows.unwrap_or(1) as f64 * ROW_HEIGHT;
    writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Flame graph of the difference\">")?;
    for (call, &(x, row)) in calls.iter().zip(&places).filter(|(call, (_, row))| shown(call, *row)) {
        let function = functions_of.functions.get(call.function);
        let name = functions_of.strings.get(function.name);
        let file = functions_of.strings.get(function.file);
        let width = mean_ns(call) / whole_ns * WIDTH;
        let y = row as f64 * ROW_HEIGHT;
        let colour = colour(call, difference.scale, certain.contains(&(name, file)));
        write!(
            out,
            "<g><rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{ROW_HEIGHT}\" fill=\"{colour}\"/><title>"
        )?;
        escape(name, out)?;
        write!(out, " (")?;
        escape(file, out)?;
        let (total_after, own_after) =
            (call.total_after_ns as f64 / difference.scale, call.own_after_ns as f64 / difference.scale);
        write!(
            out,
            ")\ntotal {} before, {} after ({})\nown {} before, {} after ({})</title>",
            seconds(call.total_before_ns as f64),
            seconds(total_after),
            percent(total_after / call.total_before_ns as f64),
            seconds(call.own_before_ns as f64),
            seconds(own_after),
            percent(own_after / call.own_before_ns as f64),
        )?;
        let characters = (width / CHARACTER_WIDTH) as usize;
        if characters > 3 {
            write!(out, "<text x=\"{:.2}\" y=\"{}\">", x + 3.0, y + ROW_HEIGHT - 5.0)?;
            escape(&name.chars().take(characters - 1).collect::<String>(), out)?;
            write!(out, "</text>")?;
        }
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")
}

/// Red for longer, blue for less long, the stronger the larger the change of its own time is beside it; pale where it is not
/// certain.
fn colour(call: &CallInBoth, scale: f64, is_certain: bool) -> String {
    let [before, after] = if is_certain {
        [call.own_before_ns as f64, call.own_after_ns as f64 / scale]
    } else {
        [call.total_before_ns as f64, call.total_after_ns as f64 / scale]
    };
    let larger = before.max(after);
    let change = if larger > 0.0 { (after - before) / larger } else { 0.0 };
    // 100 % lightness is white; a change of a half is as strong as it gets.
    let strength = (change.abs() * 2.0).min(1.0) * if is_certain { 1.0 } else { 0.2 };
    let base = if is_certain && change != 0.0 { 0.35 } else { 0.0 };
    let lightness = 92.0 - 40.0 * (base + (1.0 - base) * strength);
    let hue = if change > 0.0 { 5 } else { 215 };
    format!("hsl({hue} 85% {lightness:.0}%)")
}

fn seconds(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.1} µs", ns / 1e3),
    }
}

fn percent(ratio: f64) -> String {
    if ratio.is_finite() { format!("{:+.1} %", 100.0 * (ratio - 1.0)) } else { "–".to_owned() }
}

/// Text that is only text, whatever it is, between tags.
fn escape(text: &str, out: &mut impl Write) -> io::Result<()> {
    for char in text.chars() {
        match char {
            '&' => write!(out, "&amp;")?,
            '<' => write!(out, "&lt;")?,
            '>' => write!(out, "&gt;")?,
            // Control characters are no part of HTML, and those that turn text around would turn what follows as well.
            char if char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                write!(out, "\\u{:04x}", u32::from(char))?;
            }
            char => write!(out, "{char}")?,
        }
    }
    Ok(())
}
