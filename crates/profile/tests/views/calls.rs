//! The call tree as it is shown.

use profile::{Clock, FoldOptions, Profile};

use crate::support::{name, profile};

const ALL: FoldOptions = FoldOptions { min_share: 0.0, max_calls: usize::MAX, lines: false };

/// `level marker name own/total (folded calls, their sum)`, in samples; the marker says whether it is beside others.
fn shown(profile: &Profile, options: &FoldOptions) -> Vec<String> {
    let calls = profile.folded_calls(Clock::Cpu, options);
    calls
        .iter()
        .map(|call| {
            let marker = match (call.has_siblings, call.is_last) {
                (false, _) => ' ',
                (true, false) => '+',
                (true, true) => '-',
            };
            format!(
                "{}{marker}{}:{} {}/{} ({}, {})",
                call.level,
                name(profile, call.function),
                call.line,
                call.own.samples,
                call.total.samples,
                call.folded_calls,
                call.folded.samples
            )
        })
        .collect()
}

#[test]
fn a_chain_stays_on_one_level_and_siblings_go_one_down() {
    let profile = profile(&[
        ("main:1 run:2 f:3 h:4", 30),
        ("main:1 run:2 f:9 h:5", 10), // other lines of the same functions
        ("main:1 run:2 g:3", 20),
        ("main:1 run:2 g:3 h:4", 5),
        ("main:1 run:2", 1),
    ]);
    let expected = [
        "0 main:0 0/66 (0, 0)",
        "0 run:0 1/66 (0, 0)",
        "1+f:0 0/40 (0, 0)",
        "1 h:0 40/40 (0, 0)",
        "1-g:0 20/25 (0, 0)",
        "1 h:0 5/5 (0, 0)",
    ];
    assert_eq!(shown(&profile, &ALL), expected);
}

#[test]
fn several_outermost_calls_are_siblings() {
    let profile = profile(&[("a", 1), ("b c", 3), ("b d", 2)]);
    let expected = ["1+b:0 0/5 (0, 0)", "2+c:0 3/3 (0, 0)", "2-d:0 2/2 (0, 0)", "1-a:0 1/1 (0, 0)"];
    assert_eq!(shown(&profile, &ALL), expected);
}

#[test]
fn what_is_small_is_folded_and_counted() {
    let profile = profile(&[("main a", 95), ("main b x", 2), ("main c", 2), ("main d", 1)]);
    let options = FoldOptions { min_share: 0.021, ..ALL };
    assert_eq!(shown(&profile, &options), ["0 main:0 0/100 (3, 5)", "0 a:0 95/95 (0, 0)"]);
    let options = FoldOptions { min_share: 0.02, ..ALL };
    let expected =
        ["0 main:0 0/100 (1, 1)", "1+a:0 95/95 (0, 0)", "1+b:0 0/2 (0, 0)", "1 x:0 2/2 (0, 0)", "1-c:0 2/2 (0, 0)"];
    assert_eq!(shown(&profile, &options), expected);
    let options = FoldOptions { max_calls: 3, ..ALL };
    let expected = ["0 main:0 0/100 (2, 3)", "1+a:0 95/95 (0, 0)", "1-b:0 0/2 (1, 2)"];
    assert_eq!(shown(&profile, &options), expected);
}

#[test]
fn a_function_that_calls_itself_is_one_call() {
    let profile = profile(&[("main f f f", 3), ("main f", 1), ("main f f g f", 2)]);
    let expected = ["0 main:0 0/6 (0, 0)", "0 f:0 4/6 (0, 0)", "0 g:0 0/2 (0, 0)", "0 f:0 2/2 (0, 0)"];
    assert_eq!(shown(&profile, &ALL), expected);
}

#[test]
fn lines_told_apart() {
    let profile = profile(&[("main:1 f:3", 3), ("main:1 f:4", 2), ("main:2 f:3", 1)]);
    let options = FoldOptions { lines: true, ..ALL };
    let expected =
        ["1+main:1 0/5 (0, 0)", "2+f:3 3/3 (0, 0)", "2-f:4 2/2 (0, 0)", "1-main:2 0/1 (0, 0)", "1 f:3 1/1 (0, 0)"];
    assert_eq!(shown(&profile, &options), expected);
}

#[test]
fn a_stack_of_a_hundred_thousand_functions_takes_no_recursion() {
    let stack: Vec<String> = (0..100_000).map(|number| format!("f{number}")).collect();
    let profile = profile(&[(&stack.join(" "), 2)]);
    let calls = profile.folded_calls(Clock::Cpu, &ALL);
    assert_eq!(calls.len(), 100_000);
    assert!(calls.iter().all(|call| call.level == 0 && call.total.samples == 2));
}
