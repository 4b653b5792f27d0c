//! Files that are made to be looked at: Firefox Profiler, Chrome traces, callgrind, pstats, SVG.

use std::collections::HashMap;

use formats::{Format, WriteOptions, write};
use profile::{Clock, Gil, NodeId, Observation, Profile, Recording, Running, State};
use proptest::prelude::*;
use serde_json::Value;

use crate::generated::any_profile;
use crate::sample;

fn written(profile: &Profile, format: Format, options: &WriteOptions) -> Vec<u8> {
    let mut out = Vec::new();
    write(profile, format, options, &mut out).expect("a vector takes everything");
    out
}

fn text(profile: &Profile, format: Format, options: &WriteOptions) -> String {
    String::from_utf8(written(profile, format, options)).expect("it is a text")
}

fn json(profile: &Profile, format: Format) -> Value {
    serde_json::from_slice(&written(profile, format, &WriteOptions::default())).expect("it is JSON")
}

/// The same for every version of spprof, an element a line.
fn shown(text: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    text.replace(&format!("spprof {version}"), "spprof VERSION")
        .replace(&format!("\"version\":\"{version}\""), "\"version\":\"VERSION\"")
        .replace("},{", "},\n{")
}

/// A thread that computes, waits for the GIL and blocks, with a gap, a garbage collection and recursion.
fn eventful() -> Profile {
    let mut recording = Recording::new(sample::info(), 32 << 20);
    let main = sample::thread(&mut recording, "MainThread", 42);
    let f = sample::stack(&mut recording, &[("main", 1), ("f", 2)]);
    let ff = sample::stack(&mut recording, &[("main", 1), ("f", 3), ("f", 4)]);
    let waits = State::new(Running::Blocked, Gil::Waits);
    let record = |recording: &mut Recording, leaf, wall_ns, cpu_ns, state| {
        recording.record(main, Observation { leaf, wall_ns, cpu_ns, state });
    };
    record(&mut recording, f, 10_000_000, 10_000_000, sample::ON_CPU);
    record(&mut recording, ff, 10_000_000, 9_000_000, sample::ON_CPU.with_in_gc(true));
    record(&mut recording, f, 5_000_000, 1_000_000, waits);
    record(&mut recording, f, 7_000_000, 0, waits);
    recording.skip_to(main, 1_100_000_000);
    record(&mut recording, ff, 20_000_000, 20_000_000, sample::ON_CPU);
    record(&mut recording, NodeId::ROOT, 4_000_000, 3_000_000, sample::ON_CPU);
    sample::finish(recording)
}

#[test]
fn firefox() {
    insta::assert_snapshot!(shown(&text(&eventful(), Format::Firefox, &WriteOptions::default())));
}

#[test]
fn chrome() {
    insta::assert_snapshot!(shown(&text(&eventful(), Format::Chrome, &WriteOptions::default())));
}

#[test]
fn callgrind() {
    insta::assert_snapshot!(shown(&text(&eventful(), Format::Callgrind, &WriteOptions::default())));
}

#[test]
fn svg() {
    let whole = text(&eventful(), Format::Svg, &WriteOptions::default());
    let (before, rest) = whole.split_once("<script>").expect("it has one");
    let (_, after) = rest.split_once("</script>").expect("it ends");
    insta::assert_snapshot!(shown(&format!("{before}<script>…</script>{after}")));
}

#[test]
fn pstats() {
    let file = written(&eventful(), Format::Pstats, &WriteOptions::default());
    insta::assert_snapshot!(file.escape_ascii().to_string().replace("(\\x03", "\n(\\x03"));
}

#[test]
fn names_do_not_break_out_of_an_svg() {
    for name in sample::hard_names() {
        let svg = text(&sample::single(&name, &name, &name), Format::Svg, &WriteOptions::default());
        assert_eq!(svg.matches("<script>").count(), 1, "{name}");
        assert_eq!(svg.matches("</g>").count(), 2, "{name}");
        assert!(!svg.contains(|char: char| char.is_control() && char != '\n'), "{name}");
        // Every quote belongs to an attribute: there is an even number outside the script and the metadata.
        let boxes: String = svg.lines().filter(|line| line.starts_with("<g ")).collect();
        assert_eq!(boxes.matches('"').count() % 2, 0, "{name}");
    }
}

#[test]
fn nothing_sampled_is_a_file_all_the_same() {
    for format in Format::ALL {
        assert!(!written(&sample::empty(), format, &WriteOptions::default()).is_empty());
    }
}

#[test]
fn numbers_of_any_size_are_marshalled() {
    let mut recording = Recording::new(sample::info(), 32 << 20);
    let main = sample::thread(&mut recording, "MainThread", 42);
    let leaf = sample::stack(&mut recording, &[("f", 1)]);
    let observation = Observation { leaf, wall_ns: 1, cpu_ns: 1, state: sample::ON_CPU };
    recording.record_several(main, observation, (1 << 31) + 5);
    let file = written(&sample::finish(recording), Format::Pstats, &WriteOptions::default());
    // Digits of 15 bits: 5, 0, 2.
    let number = b"l\x03\0\0\0\x05\0\0\0\x02\0";
    assert_eq!(file.windows(number.len()).filter(|window| window == number).count(), 2);
}

/// The column `name` of a table, and that it is as long as the table says.
fn column<'a>(table: &'a Value, name: &str) -> &'a Vec<Value> {
    let column = table[name].as_array().unwrap_or_else(|| panic!("{name} is a list"));
    assert_eq!(table["length"].as_u64(), Some(column.len() as u64), "{name}");
    column
}

/// Checks what the Firefox Profiler relies on in a thread, and returns its weight in ms by stack of names.
fn check_firefox_thread(thread: &Value, categories: usize) -> HashMap<Vec<String>, f64> {
    let strings = thread["stringArray"].as_array().expect("a list");
    let is_index = |value: &Value, length: usize| value.as_u64().is_some_and(|index| (index as usize) < length);
    let (frames, functions, stacks) = (&thread["frameTable"], &thread["funcTable"], &thread["stackTable"]);
    for name in ["address", "inlineDepth", "subcategory", "nativeSymbol", "innerWindowID", "line", "column"] {
        column(frames, name);
    }
    let functions_of_frames = column(frames, "func");
    let names = column(functions, "name");
    for name in ["isJS", "relevantForJS", "resource", "fileName", "lineNumber", "columnNumber"] {
        column(functions, name);
    }
    assert!(column(frames, "category").iter().all(|category| is_index(category, categories)));
    assert!(functions_of_frames.iter().all(|function| is_index(function, names.len())));
    assert!(names.iter().all(|name| is_index(name, strings.len())));
    let (prefixes, frame_of) = (column(stacks, "prefix"), column(stacks, "frame"));
    assert!(frame_of.iter().all(|frame| is_index(frame, functions_of_frames.len())));
    // A prefix comes before what it is a prefix of.
    assert!(prefixes.iter().enumerate().all(|(number, prefix)| prefix.is_null() || is_index(prefix, number)));

    let samples = &thread["samples"];
    let times = column(samples, "time");
    assert!(times.is_sorted_by_key(|time| time.as_f64().expect("a number")));
    let markers = &thread["markers"];
    for name in ["category", "data", "name", "phase", "startTime", "endTime"] {
        column(markers, name);
    }
    column(samples, "threadCPUDelta");
    let mut weights = HashMap::new();
    for (stack, weight) in column(samples, "stack").iter().zip(column(samples, "weight")) {
        let mut stack_names = Vec::new();
        let mut next = stack;
        while let Some(stack) = next.as_u64().map(|stack| stack as usize) {
            let function = functions_of_frames[frame_of[stack].as_u64().expect("checked") as usize].as_u64();
            let name = names[function.expect("checked") as usize].as_u64().expect("checked");
            stack_names.push(strings[name as usize].as_str().expect("a text").to_owned());
            next = &prefixes[stack];
        }
        stack_names.reverse();
        *weights.entry(stack_names).or_insert(0.0) += weight.as_f64().expect("a number");
    }
    weights
}

/// Whether two sums of milliseconds are the same but for rounding.
fn is_close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs()) + 1e-9
}

fn names_of(profile: &Profile, leaf: NodeId) -> Vec<String> {
    let name = |(function, _)| profile.strings.get(profile.functions.get(function).name).to_owned();
    profile.tree.frames(leaf).map(name).collect()
}

/// What `callgrind_annotate` makes of a file: by function number, the inclusive cost on the first event, which it takes from
/// the calls of the function; and the totals.
fn callgrind_inclusive(file: &str) -> (HashMap<String, u64>, u64) {
    let (mut inclusive, mut total): (HashMap<String, u64>, u64) = (HashMap::new(), 0);
    let mut callee = None;
    for line in file.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = Some(name.split(')').next().expect("a split has one").to_owned());
        } else if line.starts_with(|char: char| char.is_ascii_digit()) {
            let cost: u64 = line.split(' ').nth(1).expect("a cost").parse().expect("a number");
            match callee.take() {
                Some(callee) => *inclusive.entry(callee).or_default() += cost,
                None => total += cost,
            }
        }
    }
    (inclusive, total)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn firefox_has_every_stack_with_its_wall_time(profile in any_profile()) {
        let file = json(&profile, Format::Firefox);
        let categories = file["meta"]["categories"].as_array().expect("a list").len();
        let mut expected: HashMap<Vec<String>, f64> = HashMap::new();
        let mut got: HashMap<Vec<String>, f64> = HashMap::new();
        for thread in file["threads"].as_array().expect("a list") {
            for (stack, ms) in check_firefox_thread(thread, categories) {
                *got.entry(stack).or_default() += ms;
            }
        }
        for sample in profile.threads.iter().flat_map(|thread| &thread.timeline) {
            *expected.entry(names_of(&profile, sample.leaf)).or_default() += sample.wall_ns as f64 / 1e6;
        }
        for (stack, ms) in expected {
            prop_assert!(is_close(got.remove(&stack).unwrap_or(0.0), ms), "{stack:?}");
        }
        prop_assert!(got.values().all(|&ms| ms == 0.0), "only gaps are left");
    }

    #[test]
    fn chrome_events_are_balanced_and_last_as_long_as_the_samples(profile in any_profile()) {
        let file = json(&profile, Format::Chrome);
        let mut open: HashMap<u64, Vec<(String, f64)>> = HashMap::new();
        let mut last: HashMap<u64, f64> = HashMap::new();
        let mut outermost_us = 0.0;
        for event in file["traceEvents"].as_array().expect("a list") {
            let tid = event["tid"].as_u64().expect("a number");
            prop_assert!((1..1 << 31).contains(&tid));
            let ts = event["ts"].as_f64().expect("a number");
            let stack = open.entry(tid).or_default();
            match event["ph"].as_str().expect("a text") {
                "M" => continue,
                "B" => stack.push((event["name"].as_str().expect("a text").to_owned(), ts)),
                _ => {
                    let (_, began) = stack.pop().expect("what ends has begun");
                    outermost_us += if stack.is_empty() { ts - began } else { 0.0 };
                }
            }
            let last = last.entry(tid).or_insert(ts);
            prop_assert!(*last <= ts, "time goes on");
            *last = ts;
        }
        prop_assert!(open.values().all(Vec::is_empty), "what begins ends");
        let threads = profile.threads.iter().filter(|thread| !thread.is_folded());
        let samples = threads.flat_map(|thread| &thread.timeline).filter(|sample| sample.leaf != NodeId::ROOT);
        let expected_us: f64 = samples.map(|sample| sample.wall_ns as f64 / 1e3).sum();
        // Positions have 53 bits, lengths are their differences.
        prop_assert!((outermost_us - expected_us).abs() <= 1e-6 * expected_us + 1.0, "{outermost_us} {expected_us}");
    }

    #[test]
    fn callgrind_adds_up(profile in any_profile()) {
        let clock = Clock::Wall;
        let file = text(&profile, Format::Callgrind, &WriteOptions { clock: Some(clock), ..WriteOptions::default() });
        let (inclusive, total) = callgrind_inclusive(&file);
        let with_python = profile.weights().on(clock) - profile.weights_without_python().on(clock);
        prop_assert_eq!(total, with_python);
        let samples = profile.weights().samples - profile.weights_without_python().samples;
        let totals = format!("totals: {total} {samples}\n");
        prop_assert!(file.ends_with(&totals));
        // Functions of one name and file are one there, so their sums are between the largest and the sum of all.
        let mut of_name: HashMap<_, (u64, u64)> = HashMap::new();
        for function in profile.function_totals(clock) {
            let key = profile.functions.get(function.function);
            let sums = of_name.entry((key.name, key.file)).or_default();
            *sums = (sums.0.max(function.total.on(clock)), sums.1 + function.total.on(clock));
        }
        let mut bounds: Vec<_> = of_name.into_values().collect();
        let mut got: Vec<u64> = inclusive.into_values().collect();
        got.sort_unstable();
        bounds.sort_unstable();
        prop_assert_eq!(got.len(), bounds.len());
        prop_assert!(got.iter().all(|&cost| cost <= total), "nothing counts twice");
        if bounds.iter().all(|(most, sum)| most == sum) {
            prop_assert_eq!(got, bounds.into_iter().map(|(most, _)| most).collect::<Vec<_>>());
        }
    }

    #[test]
    fn svg_boxes_lie_within_their_parents(profile in any_profile(), lines in any::<bool>()) {
        let svg = text(&profile, Format::Svg, &WriteOptions { lines, clock: Some(Clock::Wall), ..WriteOptions::default() });
        let number = |line: &str, key: &str| -> f64 {
            let rest = line.split(&format!(" data-{key}=\"")).nth(1).expect("it has the attribute");
            rest.split('"').next().expect("a split has one").parse().expect("a number")
        };
        let mut open: Vec<(f64, f64)> = Vec::new();
        let mut boxes = 0;
        for line in svg.lines().filter(|line| line.starts_with("<g class=\"f\"")) {
            let (x, width, depth) = (number(line, "x"), number(line, "w"), number(line, "d") as usize);
            open.truncate(depth);
            prop_assert_eq!(open.len(), depth, "a parent comes first");
            if let Some(&(from, to)) = open.last() {
                prop_assert!(from - 0.002 <= x && x + width <= to + 0.003, "{} {} in {} {}", x, x + width, from, to);
            }
            open.push((x, x + width));
            boxes += 1;
        }
        prop_assert!(boxes >= 1);
    }
}
