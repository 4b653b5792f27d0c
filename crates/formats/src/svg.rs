//! A flame graph as one SVG picture: stacks of boxes as wide as their share of the time, the callers below.
//!
//! It is a picture that any browser and most viewers of pictures show; in a browser a click on a box shows it wide, and a
//! search says the share of what was found. Boxes that are narrower than a tenth of a pixel are left out. Colours say whose
//! code it is. The honest numbers stand in a line of text, and as JSON in the element `metadata`.

use std::fmt::Write as _;
use std::io;

use profile::{Clock, FunctionId, Origin, Profile};

use crate::frames::Frames;
use crate::header::{Header, View};
use crate::stacks::EMPTY_STACK;
use crate::{WriteOptions, clocks};

const WIDTH: f64 = 1200.0;
const BOX_HEIGHT: f64 = 17.0;
const MARGIN: f64 = 10.0;
/// Above the boxes: title, numbers, colours.
const HEAD_HEIGHT: f64 = 76.0;
/// Below them: what the pointer is on.
const FOOT_HEIGHT: f64 = 28.0;
/// Narrower boxes are left out.
const MIN_WIDTH: f64 = 0.1;
/// Of a letter, on average, of the font that is used.
const LETTER_WIDTH: f64 = 6.6;

const STYLE: &str = "text{font:11px Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1c1c1c}\
    #title{font-size:15px;font-weight:bold}\
    g.f{cursor:pointer}g.f:hover rect{stroke:#1c1c1c;stroke-width:.7}\
    g.found rect{fill:#c026d3}g.found text{fill:#fff}\
    #search{cursor:pointer;text-decoration:underline}";

/// Positions are in the attributes `x` and `width`, in `data-x` and `data-w` as they were at first.
const SCRIPT: &str = r##"
'use strict';
const boxes = Array.from(document.querySelectorAll('g.f'));
const info = document.getElementById('info');
const search = document.getElementById('search');
const width = WIDTH, margin = MARGIN, letter = LETTER;
const title = (box) => box.querySelector('title').textContent;
const name = (box) => box.dataset.n;
const number = (box, key) => Number(box.dataset[key]);
function place(box, x, w) {
  const [rect, text] = [box.querySelector('rect'), box.querySelector('text')];
  rect.setAttribute('x', x);
  rect.setAttribute('width', Math.max(w - 0.4, 0.1));
  text.setAttribute('x', x + 3);
  const room = Math.floor((w - 6) / letter);
  const letters = Array.from(name(box));
  text.textContent = room < 3 ? '' : letters.length <= room ? letters.join('') : letters.slice(0, room - 1).join('') + '…';
}
function zoom(to) {
  const [x, w] = [number(to, 'x'), number(to, 'w')];
  const level = number(to, 'd');
  for (const box of boxes) {
    const [bx, bw, depth] = [number(box, 'x'), number(box, 'w'), number(box, 'd')];
    const isBelow = depth <= level && bx <= x + 1e-6 && bx + bw >= x + w - 1e-6;
    const isInside = depth > level && bx >= x - 1e-6 && bx + bw <= x + w + 1e-6;
    box.style.display = isBelow || isInside ? '' : 'none';
    if (isBelow) place(box, margin, width - 2 * margin);
    if (isInside) place(box, margin + (bx - x) / w * (width - 2 * margin), bw / w * (width - 2 * margin));
  }
}
function find(pattern) {
  let spans = [];
  for (const box of boxes) {
    const isFound = pattern !== null && number(box, 'd') > 0 && pattern.test(name(box));
    box.classList.toggle('found', isFound);
    if (isFound) spans.push([number(box, 'x'), number(box, 'x') + number(box, 'w')]);
  }
  spans.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  let [sum, end] = [0, 0];
  for (const [from, to] of spans) {
    if (to > end) { sum += to - Math.max(from, end); end = to; }
  }
  search.textContent = pattern === null ? 'Search' : 'Found: ' + (100 * sum / (width - 2 * margin)).toFixed(1) + ' % (click to clear)';
}
let isSearching = false;
search.addEventListener('click', () => {
  if (isSearching) { isSearching = false; find(null); return; }
  const text = prompt('Functions whose name matches (a regular expression):');
  if (!text) return;
  let pattern;
  try { pattern = new RegExp(text, 'i'); } catch (error) { search.textContent = 'Search: ' + error.message; return; }
  isSearching = true;
  find(pattern);
});
for (const box of boxes) {
  box.addEventListener('click', () => zoom(box));
  box.addEventListener('mouseenter', () => { info.textContent = title(box).replace(/\n/g, ' · '); });
  box.addEventListener('mouseleave', () => { info.textContent = ''; });
}
for (const box of boxes) place(box, margin + number(box, 'x'), number(box, 'w'));
"##;

pub(crate) fn write(profile: &Profile, options: &WriteOptions, out: &mut impl io::Write) -> io::Result<()> {
    let clock = clocks(profile, options.clock)[0];
    let mut header = Header::new(profile, vec![View::all_threads(clock)]);
    header.lines = options.lines;
    let graph = Graph::new(profile, options, clock);

    let height = HEAD_HEIGHT + (graph.deepest + 1) as f64 * BOX_HEIGHT + FOOT_HEIGHT;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">"#
    )?;
    let name = if options.name.is_empty() { profile.info.argv.join(" ") } else { options.name.clone() };
    let title = match name.as_str() {
        "" => format!("{} time", clock.label()),
        name => format!("{} time of {name}", clock.label()),
    };
    writeln!(out, "<title>{}</title>", escape(&title))?;
    writeln!(out, "<metadata>{}</metadata>", escape(&serde_json::to_string(&header)?))?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(out, r##"<rect width="100%" height="100%" fill="#fff"/>"##)?;
    writeln!(out, r#"<text id="title" x="{MARGIN}" y="22">{}</text>"#, escape(&cut(&title, WIDTH - 160.0)))?;
    writeln!(out, r#"<text id="search" x="{}" y="22" text-anchor="end">Search</text>"#, WIDTH - MARGIN)?;
    writeln!(out, r#"<text x="{MARGIN}" y="42">{}</text>"#, escape(&header.summary()))?;
    let mut x = MARGIN;
    for origin in Origin::ALL {
        let label = origin.label();
        writeln!(out, r#"<rect x="{x:.1}" y="52" width="11" height="11" fill="{}"/>"#, colour(origin))?;
        writeln!(out, r#"<text x="{:.1}" y="62">{label}</text>"#, x + 16.0)?;
        x += 40.0 + label.len() as f64 * LETTER_WIDTH;
    }
    graph.write(out, height - FOOT_HEIGHT)?;
    writeln!(out, r#"<text id="info" x="{MARGIN}" y="{}"></text>"#, height - 9.0)?;
    let script = SCRIPT.replacen("WIDTH", &WIDTH.to_string(), 1).replacen("MARGIN", &MARGIN.to_string(), 1);
    writeln!(out, "<script><![CDATA[{}]]></script>", script.replacen("LETTER", &LETTER_WIDTH.to_string(), 1))?;
    writeln!(out, "</svg>")
}

struct Graph<'a> {
    profile: &'a Profile,
    clock: Clock,
    lines: bool,
    frames: Frames,
    /// With all that they called; by stack.
    total_ns: Vec<u64>,
    /// What is shown, in depth-first order.
    boxes: Vec<Placed>,
    deepest: usize,
}

/// A stack's place.
struct Placed {
    stack: u32,
    x: f64,
    width: f64,
    depth: usize,
}

impl<'a> Graph<'a> {
    fn new(profile: &'a Profile, options: &WriteOptions, clock: Clock) -> Graph<'a> {
        let frames = Frames::new(profile, options.lines);
        let stacks = &frames.stacks;
        let mut total_ns = vec![0u64; stacks.len()];
        for (leaf, weights) in profile.weights_by_leaf().iter().enumerate() {
            let total = &mut total_ns[frames.stack_of_leaf[leaf] as usize];
            *total = total.saturating_add(weights.on(clock));
        }
        // What has no Python frame is in the header only.
        total_ns[EMPTY_STACK as usize] = 0;
        for stack in (1..stacks.len()).rev() {
            let parent = stacks.parent(stack as u32) as usize;
            total_ns[parent] = total_ns[parent].saturating_add(total_ns[stack]);
        }
        let mut graph = Graph { profile, clock, lines: options.lines, frames, total_ns, boxes: Vec::new(), deepest: 0 };
        graph.place();
        graph
    }

    /// Puts each stack beside its siblings, in the order of the call tree.
    fn place(&mut self) {
        let stacks = &self.frames.stacks;
        let scale = (WIDTH - 2.0 * MARGIN) / self.total_ns[EMPTY_STACK as usize].max(1) as f64;
        // Where the next child of each begins, and how deep it is.
        let mut next_x = vec![0.0; stacks.len()];
        let mut depth = vec![0u32; stacks.len()];
        for stack in [EMPTY_STACK].into_iter().chain(stacks.depth_first()) {
            let parent = stacks.parent(stack) as usize;
            let width = self.total_ns[stack as usize] as f64 * scale;
            let x = next_x[parent];
            if stack != EMPTY_STACK {
                next_x[parent] += width;
                depth[stack as usize] = depth[parent] + 1;
            }
            next_x[stack as usize] = x;
            if width >= MIN_WIDTH || stack == EMPTY_STACK {
                let depth = depth[stack as usize] as usize;
                self.deepest = self.deepest.max(depth);
                self.boxes.push(Placed { stack, x, width, depth });
            }
        }
    }

    fn write(&self, out: &mut impl io::Write, bottom: f64) -> io::Result<()> {
        let whole_ns = self.total_ns[EMPTY_STACK as usize];
        for &Placed { stack, x, width, depth } in &self.boxes {
            let total_ns = self.total_ns[stack as usize];
            let percent = 100.0 * total_ns as f64 / whole_ns.max(1) as f64;
            let (name, place, fill) = if stack == EMPTY_STACK {
                ("all".to_owned(), String::new(), "#d4d4d4")
            } else {
                self.describe(self.frames.frames[self.frames.stacks.label(stack) as usize])
            };
            let y = bottom - (depth + 1) as f64 * BOX_HEIGHT;
            let shown_width = if stack == EMPTY_STACK { WIDTH - 2.0 * MARGIN } else { width };
            let ms = total_ns as f64 / 1e6;
            let left = MARGIN + x;
            writeln!(
                out,
                r#"<g class="f" data-n="{0}" data-x="{x:.3}" data-w="{shown_width:.3}" data-d="{depth}"><title>{0}{1}
{ms:.3} ms of {2} time, {percent:.2} %</title><rect x="{left:.2}" y="{y}" width="{3:.2}" height="{4}" rx="1" fill="{fill}"/><text x="{5:.2}" y="{6}">{7}</text></g>"#,
                escape(&name),
                escape(&place),
                self.clock.label(),
                (shown_width - 0.4).max(0.1),
                BOX_HEIGHT - 1.0,
                left + 3.0,
                y + 12.0,
                escape(&cut(&name, shown_width)),
            )?;
        }
        Ok(())
    }

    /// Name, place and colour of a frame.
    fn describe(&self, (id, line): (FunctionId, u32)) -> (String, String, &'static str) {
        let function = self.profile.functions.get(id);
        let (name, file) = (self.profile.strings.get(function.name), self.profile.strings.get(function.file));
        let name = if self.lines && line > 0 { format!("{name}:{line}") } else { name.to_owned() };
        let place = match (file, function.first_line) {
            ("", _) => String::new(),
            (file, 0) => format!(" ({file})"),
            (file, first_line) => format!(" ({file}:{first_line})"),
        };
        (name, place, colour(self.profile.origin(id)))
    }
}

fn colour(origin: Origin) -> &'static str {
    match origin {
        Origin::Own => "#f59e4b",
        Origin::Library => "#7db8e8",
        Origin::StandardLibrary => "#86cf9a",
        Origin::Native => "#c3b1e1",
        Origin::Gc => "#e5737a",
    }
}

/// As much of the text as has room.
fn cut(text: &str, width: f64) -> String {
    let room = ((width - 6.0) / LETTER_WIDTH).floor();
    if room < 3.0 {
        return String::new();
    }
    let room = room as usize;
    if text.chars().nth(room).is_none() {
        return text.to_owned();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}

/// The text as it may stand in XML, in an attribute too. What XML has no way to write is shown as Python would.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => write!(escaped, "\\u{:04x}", u32::from(char)).expect("a string takes any text"),
            _ if char.is_control() => {
                write!(escaped, "\\x{:02x}", u32::from(char)).expect("a string takes any text");
            }
            _ => escaped.push(char),
        }
    }
    escaped
}
