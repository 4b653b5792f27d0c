//! Speedscope files.

use formats::{Format, WriteOptions, read, write};
use profile::{Clock, Profile, Weights};
use serde_json::Value;

use crate::sample::{self, profile};

fn written(profile: &Profile, options: &WriteOptions) -> String {
    let mut out = Vec::new();
    write(profile, Format::Speedscope, options, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn json(profile: &Profile, options: &WriteOptions) -> Value {
    serde_json::from_str(&written(profile, options)).expect("it is JSON")
}

/// Readable, and the same for every version of spprof.
fn shown(text: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let text = text.replace(&format!("spprof@{version}"), "spprof@VERSION");
    text.replace(&format!("\"version\":\"{version}\""), "\"version\":\"VERSION\"")
        .replace("},{", "},\n{")
        .replace("\":[", "\":\n[")
}

fn profile_names(file: &Value) -> Vec<&str> {
    file["profiles"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|profile| profile["name"].as_str().expect("a name"))
        .collect()
}

#[test]
fn both_clocks() {
    let options = WriteOptions { name: "app.py".to_owned(), ..WriteOptions::default() };
    insta::assert_snapshot!(shown(&written(&profile(), &options)));
}

#[test]
fn lines_of_one_clock() {
    let options = WriteOptions { clock: Some(Clock::Cpu), lines: true, ..WriteOptions::default() };
    insta::assert_snapshot!(shown(&written(&profile(), &options)));
}

/// A thread that was looked at, then not from 5 to 105 ns, and again.
fn with_gap() -> Profile {
    let mut recording = profile::Recording::new(sample::info(), 32 << 20);
    let main = sample::thread(&mut recording, "MainThread", 42);
    let f = sample::stack(&mut recording, &[("f", 1)]);
    sample::record(&mut recording, main, f, 3, 3);
    sample::record(&mut recording, main, profile::NodeId::ROOT, 2, 1);
    recording.skip_to(main, 1_000_000_105);
    sample::record(&mut recording, main, profile::NodeId::ROOT, 4, 1);
    sample::record(&mut recording, main, f, 5, 5);
    sample::finish(recording)
}

#[test]
fn a_gap_is_an_empty_stack_on_the_wall_and_in_no_sum() {
    let file = json(&with_gap(), &WriteOptions::default());
    let entries = |number: usize| {
        let profile = &file["profiles"][number];
        (profile["name"].as_str().expect("a name"), profile["samples"].to_string(), profile["weights"].to_string())
    };
    let expected = |name: &'static str, samples: &str, weights: &str| (name, samples.to_owned(), weights.to_owned());
    assert_eq!(entries(0), expected("All threads · CPU", "[[0]]", "[8]"));
    assert_eq!(entries(1), expected("MainThread · CPU", "[[0],[],[0]]", "[3,2,5]"));
    assert_eq!(entries(2), expected("All threads · wall", "[[0]]", "[8]"));
    assert_eq!(entries(3), expected("MainThread · wall", "[[0],[],[],[],[0]]", "[3,2,100,4,5]"));
    assert_eq!(file["profiles"][3]["endValue"], 114);
    assert_eq!(file["spprof"]["threads"][0]["gaps"], serde_json::json!([2]));
    assert_eq!(file["spprof"]["without_python_wall_ns"], 6);

    let back = read(file.to_string().as_bytes(), None).expect("it is valid");
    assert_eq!(back.weights(), Weights { cpu_ns: 10, wall_ns: 14, gil_ns: 14, samples: 4 });
    let times: Vec<_> = back.threads[0].timeline.iter().map(|sample| sample.timestamp_ns - 1_000_000_000).collect();
    assert_eq!(times, [3, 5, 109, 114]);
}

#[test]
fn a_gap_that_is_none_is_refused() {
    for gap in [0, 99, u64::MAX] {
        let mut file = json(&with_gap(), &WriteOptions::default());
        file["spprof"]["threads"][0]["gaps"] = serde_json::json!([gap]);
        let expected = format!("nobody looked at entry {gap} of profile 3, but that is no empty stack");
        assert!(error(&file.to_string()).ends_with(&expected), "{}", error(&file.to_string()));
    }
}

#[test]
fn no_samples() {
    let file = json(&sample::empty(), &WriteOptions::default());
    assert_eq!(profile_names(&file), ["All threads · CPU"]);
    assert_eq!(file["profiles"][0]["samples"], serde_json::json!([]));
    assert_eq!(file["profiles"][0]["weights"], serde_json::json!([]));
    assert_eq!(file["profiles"][0]["endValue"], 0);
    assert_eq!(file["shared"]["frames"], serde_json::json!([]));
    assert_eq!(file["spprof"]["dropped"], 1);
    let back = read(written(&sample::empty(), &WriteOptions::default()).as_bytes(), None).expect("it is valid");
    assert_eq!(back.weights(), Weights::default());
    assert_eq!(back.info, sample::info());
}

#[test]
fn main_comes_first_then_the_busiest() {
    let file = json(&profile(), &WriteOptions::default());
    let expected = [
        "All threads · CPU",
        "MainThread · CPU",
        "worker (44) · CPU",
        "worker (43) · CPU",
        "All threads · wall",
        "MainThread · wall",
        "idle · wall",
        "worker (44) · wall",
        "worker (43) · wall",
        "All threads · GIL",
        "MainThread · GIL",
        "idle · GIL",
        "worker (44) · GIL",
        "worker (43) · GIL",
    ];
    assert_eq!(profile_names(&file), expected);
}

/// What the viewer's importer insists on, and what we promise beyond.
#[test]
fn the_parts_fit_together() {
    for lines in [false, true] {
        let file = json(&profile(), &WriteOptions { lines, ..WriteOptions::default() });
        let frames = file["shared"]["frames"].as_array().expect("a list").len() as u64;
        for profile in file["profiles"].as_array().expect("a list") {
            let samples = profile["samples"].as_array().expect("a list");
            let weights = profile["weights"].as_array().expect("a list");
            assert_eq!(samples.len(), weights.len());
            let sum: u64 = weights.iter().map(|weight| weight.as_u64().expect("whole nanoseconds")).sum();
            assert_eq!(profile["endValue"].as_u64(), Some(sum));
            for frame in samples.iter().flat_map(|stack| stack.as_array().expect("a list")) {
                assert!(frame.as_u64().expect("a frame number") < frames);
            }
            assert!(samples.windows(2).all(|pair| pair[0] != pair[1]), "equal neighbours are one entry");
        }
    }
}

#[test]
fn hard_names_survive() {
    for name in sample::hard_names() {
        let original = sample::single(&name, &format!("/srv/{name}.py"), &name);
        let text = written(&original, &WriteOptions { name: name.clone(), ..WriteOptions::default() });
        let file: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(file["name"].as_str().unwrap_or_default(), name);
        let back = read(text.as_bytes(), None).expect("it is valid");
        let function = back.functions.get(back.functions.ids().next().expect("there is one"));
        assert_eq!(back.strings.get(function.name), name);
        assert_eq!(back.strings.get(function.file), format!("/srv/{name}.py"));
        assert_eq!(back.threads[0].name, name);
    }
}

fn error(text: &str) -> String {
    read(text.as_bytes(), Some(Format::Speedscope)).expect_err("it is not valid").to_string()
}

/// By thread: name, and each stack with its wall time.
fn foreign(text: &str) -> Vec<(String, Vec<(String, u64)>)> {
    let profile = read(text.as_bytes(), None).expect("it is valid");
    let stack = |leaf| {
        let frame = |(function, line)| {
            let function = profile.functions.get(function);
            format!("{}@{}:{line}", profile.strings.get(function.name), profile.strings.get(function.file))
        };
        profile.tree.frames(leaf).map(frame).collect::<Vec<_>>().join(";")
    };
    let samples =
        |thread: &profile::Thread| thread.timeline.iter().map(|sample| (stack(sample.leaf), sample.wall_ns)).collect();
    profile.threads.iter().map(|thread| (thread.name.clone(), samples(thread))).collect()
}

#[test]
fn sampled_profiles_of_others() {
    let text = r#"{
        "profiles": [
            {"weights": [0.5, 1, 1e-9], "samples": [[0, 1], [], [1]], "unit": "seconds", "type": "sampled",
             "name": "Thread 1", "startValue": 0.0, "endValue": 1.5, "more": {"deep": [[[]]]}},
            {"type": "sampled", "name": "MainThread", "unit": "none", "startValue": 0, "endValue": 3,
             "samples": [[0]], "weights": [3]}
        ],
        "shared": {"frames": [{"name": "main", "file": "m.py", "line": 3, "col": 1}, {"name": "f", "line": null}]},
        "$schema": "https://www.speedscope.app/file-format-schema.json"
    }"#;
    let stacks = |stacks: &[(&str, u64)]| stacks.iter().map(|&(stack, ns)| (stack.to_owned(), ns)).collect::<Vec<_>>();
    let expected = [
        ("Thread 1".to_owned(), stacks(&[("main@m.py:3;f@:0", 500_000_000), ("", 1_000_000_000), ("f@:0", 1)])),
        ("MainThread".to_owned(), stacks(&[("main@m.py:3", 3)])),
    ];
    assert_eq!(foreign(text), expected);
    let profile = read(text.as_bytes(), None).expect("it is valid");
    assert_eq!(profile.duration_ns(), 1_500_000_001);
    assert_eq!((profile.threads[0].is_main, profile.threads[1].is_main), (false, true));
    assert_eq!(profile.counters, profile::Counters { samples: 4, ..profile::Counters::default() });
}

#[test]
fn evented_profiles_of_others() {
    let text = r#"{
        "shared": {"frames": [{"name": "a"}, {"name": "b"}]},
        "profiles": [{"type": "evented", "name": "t", "unit": "microseconds", "startValue": 5, "endValue": 20, "events": [
            {"type": "O", "frame": 0, "at": 6},
            {"type": "O", "frame": 1, "at": 8.5},
            {"type": "C", "frame": 1, "at": 9},
            {"type": "O", "frame": 1, "at": 9},
            {"type": "C", "frame": 1, "at": 12},
            {"type": "C", "frame": 0, "at": 15},
            {"type": "O", "frame": 1, "at": 16}
        ]}]
    }"#;
    let expected = [
        ("", 1_000),
        ("a@:0", 2_500),
        ("a@:0;b@:0", 500),
        ("a@:0;b@:0", 3_000),
        ("a@:0", 3_000),
        ("", 1_000),
        ("b@:0", 4_000),
    ]
    .map(|(stack, ns)| (stack.to_owned(), ns));
    assert_eq!(foreign(text), [("t".to_owned(), expected.to_vec())]);
}

#[test]
fn events_at_dates_keep_their_microseconds() {
    let text = r#"{"shared": {"frames": [{"name": "a"}]}, "profiles": [{"type": "evented", "name": "t", "unit": "seconds",
        "startValue": 1700000000.000001, "endValue": 1700000000.000009, "events": [
            {"type": "O", "frame": 0, "at": 1700000000.000001}, {"type": "C", "frame": 0, "at": 1700000000.000009}]}]}"#;
    let weight_ns = foreign(text)[0].1[0].1;
    assert!(weight_ns.abs_diff(8_000) < 500, "{weight_ns}");
}

/// A file with one profile that has these fields.
fn with_profile(fields: &str) -> String {
    format!(
        r#"{{"shared": {{"frames": [{{"name": "f"}}]}}, "profiles": [{{"name": "p", "unit": "seconds", {fields}}}]}}"#
    )
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        ("", "not a speedscope file: EOF while parsing a value at line 1 column 0"),
        ("{}", r#"not a speedscope file: it has no "shared" object with a list of "frames""#),
        (r#"{"shared": {"frames": []}}"#, r#"not a speedscope file: it has no list of "profiles""#),
        (
            r#"{"shared": []}"#,
            "not a speedscope file: invalid length 0, expected an object with a list of \"frames\" at line 1 column 13",
        ),
        ("[1]", "not a speedscope file: invalid type: sequence, expected a speedscope object at line 1 column 0"),
        ("{}\n x", "not a speedscope file: trailing characters at line 2 column 2"),
        (&with_profile(r#""samples": [[0]], "weights": [1, 2]"#), r#"profile 0 ("p"): it has 1 samples but 2 weights"#),
        (
            &with_profile(r#""samples": [[7]], "weights": [1]"#),
            "a stack names frame 7, but the file lists 1 frames from 0",
        ),
        (
            &with_profile(r#""samples": [[0]], "weights": [-1]"#),
            r#"profile 0 ("p"): weight 0 is -1: it must be from 0 to 292 years"#,
        ),
        (
            &with_profile(r#""samples": [[0], [0], [0]], "weights": [9e9, 9e9, 9e9]"#),
            r#"profile 0 ("p"): the weights up to here add up to more than 584 years"#,
        ),
        (
            &with_profile(r#""type": "sampled""#),
            r#"profile 0 ("p"): it must have either "samples" and "weights" or "events""#,
        ),
        (
            r#"{"profiles": [{"unit": "a\n\u001b[2J"}]}"#,
            "not a speedscope file: unknown variant `a\\u{a}\\u{1b}[2J`, expected one of `none`, `nanoseconds`, \
             `microseconds`, `milliseconds`, `seconds`, `bytes` at line 1 column 37",
        ),
        (&with_profile(r#""unit": "bytes", "events": []"#), r#"profile 0 ("p"): its weights are bytes, not time"#),
        (
            &with_profile(r#""events": [{"type": "C", "at": 1, "frame": 0}]"#),
            r#"profile 0 ("p"): event 0 closes a frame that is not the innermost open one"#,
        ),
        (
            &with_profile(r#""events": [{"type": "O", "at": 2, "frame": 0}, {"type": "C", "at": 1, "frame": 0}]"#),
            r#"profile 0 ("p"): event 1 is earlier than the one before it"#,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn a_file_of_ours_that_was_changed_is_refused() {
    let text = written(&profile(), &WriteOptions::default());
    let mut file: Value = serde_json::from_str(&text).expect("it is JSON");
    file["profiles"].as_array_mut().expect("a list").pop();
    assert!(error(&file.to_string()).contains("describes 14 profiles, but there are 13"));
    let mut file: Value = serde_json::from_str(&text).expect("it is JSON");
    file["spprof"]["views"][1]["thread"] = 77.into();
    assert!(error(&file.to_string()).contains("profile 1 is of thread 77, but it lists 4 threads"));
}

#[test]
fn a_compressed_file_is_named_as_such() {
    let error = read(&[0x1f, 0x8b, 8, 0], Some(Format::Speedscope)).expect_err("it is gzip");
    assert_eq!(error.to_string(), "the file is compressed with gzip: unpack it first (gunzip)");
}
