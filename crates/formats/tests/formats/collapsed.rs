//! Collapsed stacks.

use formats::{Format, WriteOptions, read, write};
use profile::{Clock, Profile, Recording, Weights};

use crate::sample::{self, profile};

fn written(profile: &Profile, options: &WriteOptions) -> String {
    let mut out = Vec::new();
    write(profile, Format::Collapsed, options, &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("it is UTF-8")
}

/// Without the header.
fn stacks(profile: &Profile, options: &WriteOptions) -> String {
    let text = written(profile, options);
    let (header, stacks) = text.split_once('\n').expect("there is a header");
    assert!(header.starts_with("#spprof:{") && !header.contains([' ', '\t']), "{header}");
    stacks.to_owned()
}

#[test]
fn header() {
    let text = written(&profile(), &WriteOptions::default());
    let header = text.lines().next().expect("there is a header");
    insta::assert_snapshot!(header.replace(env!("CARGO_PKG_VERSION"), "VERSION").replace(",\"", ",\n\""));
}

#[test]
fn cpu_time_by_default() {
    insta::assert_snapshot!(stacks(&profile(), &WriteOptions::default()), @r"
    <module> (/srv/app.py);Handler.get (/srv/app.py) 8
    <module> (/srv/app.py);serve (/srv/app.py) 26
    <module> (/srv/app.py);serve (/srv/app.py);memcpy (/usr/lib/libc.so.6) 7
    job.<locals>.<lambda> (/srv/app.py) 50
    ");
}

#[test]
fn lines_and_threads() {
    let options = WriteOptions { clock: Some(Clock::Wall), lines: true, thread_roots: true, ..WriteOptions::default() };
    insta::assert_snapshot!(stacks(&profile(), &options), @r"
    MainThread 8
    MainThread;<module> (/srv/app.py:90);Handler.get (/srv/app.py:20) 12
    MainThread;<module> (/srv/app.py:90);serve (/srv/app.py:11) 20
    MainThread;<module> (/srv/app.py:90);serve (/srv/app.py:11);memcpy (/usr/lib/libc.so.6:0) 11
    MainThread;<module> (/srv/app.py:90);serve (/srv/app.py:12) 10
    idle;wait (/srv/app.py:60) 61
    worker (43);job.<locals>.<lambda> (/srv/app.py:50) 20
    worker (44);job.<locals>.<lambda> (/srv/app.py:50) 30
    ");
}

#[test]
fn wall_time_where_no_cpu_time_was_recorded() {
    let only_wall = read(b"a;b 3\na 4\n", None).expect("it is valid");
    assert_eq!(stacks(&only_wall, &WriteOptions::default()), "a 4\na;b 3\n");
    assert_eq!(stacks(&only_wall, &WriteOptions { clock: Some(Clock::Cpu), ..WriteOptions::default() }), "");
    assert_eq!(stacks(&sample::empty(), &WriteOptions::default()), "");
}

#[test]
fn functions_that_a_line_cannot_tell_apart_share_it() {
    let mut recording = profile::Recording::new(sample::info(), 32 << 20);
    let main = sample::thread(&mut recording, "MainThread", 1);
    for first_line in [1, 2, 3] {
        let lambda = recording.intern_function("<lambda>", "a.py", first_line, false);
        let leaf = recording.child(profile::NodeId::ROOT, lambda, first_line);
        sample::record(&mut recording, main, leaf, 10, 10);
    }
    assert_eq!(stacks(&sample::finish(recording), &WriteOptions::default()), "<lambda> (a.py) 30\n");
}

#[test]
fn hard_names_survive_and_break_no_line() {
    for lines in [false, true] {
        for name in sample::hard_names() {
            let options = WriteOptions { lines, thread_roots: true, ..WriteOptions::default() };
            let file = format!("/srv/{name}.py:7");
            let text = written(&sample::single(&name, &file, &name), &options);
            assert_eq!(text.matches('\n').count(), 2, "{text}");
            let line = text.lines().nth(1).expect("a stack");
            assert_eq!(line.matches(';').count(), 1, "{text}");
            assert!(!line.contains(|char: char| char.is_control() || "\u{2028}\u{2029}".contains(char)), "{text}");

            let back = read(text.as_bytes(), None).expect("it is valid");
            let function = back.functions.get(back.functions.ids().next().expect("there is one"));
            assert_eq!((back.strings.get(function.name), back.strings.get(function.file)), (&*name, &*file), "{text}");
            assert_eq!(back.threads.len(), 1);
            assert_eq!(back.threads[0].name, name);
            assert_eq!(back.weights(), Weights { cpu_ns: 10, wall_ns: 0, gil_ns: 0, samples: 1 });
        }
    }
}

#[test]
fn ordinary_paths_of_windows_stay_as_they_are() {
    let windows = sample::single("f", r"C:\users\x\app.py", "MainThread");
    assert_eq!(stacks(&windows, &WriteOptions::default()), "f (C:\\users\\x\\app.py) 10\n");
}

/// Stacks and wall times of a file.
fn foreign(text: &str) -> Vec<(String, u64)> {
    let profile = read(text.as_bytes(), Some(Format::Collapsed)).expect("it is valid");
    assert!(profile.threads.iter().all(|thread| thread.name == "All threads"));
    let samples = profile.threads.iter().flat_map(|thread| &thread.timeline);
    let frame = |(function, line)| {
        let function = profile.functions.get(function);
        format!("{}@{}:{line}", profile.strings.get(function.name), profile.strings.get(function.file))
    };
    samples
        .map(|sample| (profile.tree.frames(sample.leaf).map(frame).collect::<Vec<_>>().join(";"), sample.wall_ns))
        .collect()
}

#[test]
fn files_of_others() {
    let text = "# a comment\n\
                main (app.py:3);<genexpr> (lib/a b.py:12);read (file (1).py) 7\r\n\
                \n\
                java/lang/Thread.run;void f(int) [clone .cold];[kernel] 12\n\
                py:f:3\t4\n\
                a\\x{3b}b 2.6\n";
    let expected = [
        ("main@app.py:3;<genexpr>@lib/a b.py:12;read@file (1).py:0", 7),
        ("java/lang/Thread.run@:0;void f(int) [clone .cold]@:0;[kernel]@:0", 12),
        ("py:f:3@:0", 4),
        (r"a\x{3b}b@:0", 3),
    ]
    .map(|(stack, weight)| (stack.to_owned(), weight));
    assert_eq!(foreign(text), expected);
    assert_eq!(foreign(""), []);
}

#[test]
fn errors_say_what_and_in_which_line() {
    let cases: [(&[u8], &str); 7] = [
        (b"a 1\nb", "line 2: it must be a stack, a space and a weight"),
        (b"a 1\n\nb x", "line 3: the weight \"x\" is not a number from 0 to 2^63"),
        (b"a -1", "line 1: the weight \"-1\" is not a number from 0 to 2^63"),
        (b"a nan", "line 1: the weight \"nan\" is not a number from 0 to 2^63"),
        (b"a 1\n\xff 2", "line 2: it is not UTF-8 text"),
        (b"a 18446744073709551615\na 1", "line 2: the weights up to here add up to more than 584 years"),
        (
            b"#spprof:{x}\na 1",
            "line 1 begins with #spprof: but what follows is not what spprof writes: key must be a string at line 1 column 2",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text, Some(Format::Collapsed)).expect_err("it is not valid").to_string(), expected);
    }
}

#[test]
fn a_line_counts_for_the_samples_that_its_weight_comes_to() {
    let mut recording = Recording::new(sample::info(), 32 << 20);
    let main = sample::thread(&mut recording, "MainThread", 1);
    let leaf = sample::stack(&mut recording, &[("main", 1)]);
    (0..3).for_each(|_| sample::record(&mut recording, main, leaf, 10_000_000, 9_900_000));
    let other = sample::stack(&mut recording, &[("short", 1)]);
    sample::record(&mut recording, main, other, 10, 10);
    let text =
        written(&sample::finish(recording), &WriteOptions { clock: Some(Clock::Wall), ..WriteOptions::default() });
    let back = read(text.as_bytes(), None).unwrap();
    let counts: Vec<u64> = back.threads[0].timeline.iter().map(|sample| sample.count).collect();
    assert_eq!(counts, [3, 1]);
}
