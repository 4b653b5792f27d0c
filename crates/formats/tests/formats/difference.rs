//! The page about two profiles.

use formats::write_difference;
use profile::{Clock, DifferenceOptions, NewThread, NodeId, Observation, Profile, Recording};

use crate::sample::{self, ON_CPU, hard_names};

fn profile(stacks: &[(&[&str], u64)]) -> Profile {
    let mut recording = Recording::without_limit(sample::info());
    let main = recording.add_thread(NewThread::default());
    for &(names, samples) in stacks {
        let leaf = names.iter().fold(NodeId::ROOT, |node, name| {
            let function = recording.intern_function(name, "/srv/app.py", 3, false);
            recording.child(node, function, 7)
        });
        let time_ns = samples * 10_000_000;
        recording.record_several(main, Observation { leaf, wall_ns: time_ns, cpu_ns: time_ns, state: ON_CPU }, samples);
    }
    sample::finish(recording)
}

fn page(before: &Profile, after: &Profile) -> String {
    let difference = before.difference(after, &DifferenceOptions::new(Clock::Cpu));
    let mut page = Vec::new();
    write_difference(before, after, &difference, &mut page).expect("a vector takes everything");
    String::from_utf8(page).expect("it is UTF-8")
}

/// Position, width, hue and first line of the tooltip of each call.
fn calls(page: &str) -> Vec<(f64, f64, f64, u32, String)> {
    let attribute = |rect: &str, name: &str| -> String {
        let (_, rest) = rect.split_once(&format!(" {name}=\"")).expect("it has it");
        rest.split('"').next().expect("it ends").to_owned()
    };
    let number = |rect: &str, name: &str| attribute(rect, name).parse().expect("it is a number");
    page.split("<g><rect")
        .skip(1)
        .map(|rect| {
            let fill = attribute(rect, "fill");
            let hue = fill.trim_start_matches("hsl(").split(' ').next().expect("it has a hue").parse();
            let title = rect.split("<title>").nth(1).expect("it has a title").lines().next().expect("it has a line");
            (
                number(rect, "x"),
                number(rect, "y"),
                number(rect, "width"),
                hue.expect("it is a number"),
                title.to_owned(),
            )
        })
        .collect()
}

#[test]
fn calls_lie_below_their_callers_as_wide_as_they_are_long() {
    let before = profile(&[(&["main", "f"], 5_000), (&["main", "g"], 4_000), (&["other"], 1_000)]);
    let after = profile(&[(&["main", "f"], 7_000), (&["main", "g"], 4_000), (&["other"], 1_000)]);
    let page = page(&before, &after);
    assert!(page.contains("<p>1 of 3 functions changed for certain.</p>"), "{page}");
    let shown = calls(&page);
    // Means: f 6,000, g 4,000, other 1,000 of 11,000; the scale is 1 within what chance leaves open.
    let expected = [
        (0.0, 0.0, 1090.91, 5, "main (/srv/app.py)"),
        (0.0, 18.0, 654.55, 5, "f (/srv/app.py)"),
        (654.55, 18.0, 436.36, 215, "g (/srv/app.py)"),
        (1090.91, 0.0, 109.09, 215, "other (/srv/app.py)"),
    ];
    for ((x, y, width, hue, title), expected) in shown.iter().zip(expected) {
        assert!((x - expected.0).abs() < 2.0 && (width - expected.2).abs() < 2.0, "{shown:?}");
        assert_eq!((*y, title.as_str()), (expected.1, expected.4));
        if title.starts_with("main") || title.starts_with('f') {
            assert_eq!(*hue, expected.3);
        }
    }
    assert_eq!(shown.len(), 4);
}

#[test]
fn what_is_new_and_what_is_gone_is_there() {
    let before = profile(&[(&["main", "gone"], 500), (&["main", "stays"], 4_000)]);
    let after = profile(&[(&["main", "new"], 500), (&["main", "stays"], 4_000)]);
    let page = page(&before, &after);
    let hues: Vec<(u32, String)> = calls(&page).into_iter().map(|(_, _, _, hue, title)| (hue, title)).collect();
    assert!(hues.contains(&(5, "new (/srv/app.py)".to_owned())), "{hues:?}");
    assert!(hues.contains(&(215, "gone (/srv/app.py)".to_owned())), "{hues:?}");
}

#[test]
fn no_name_gets_out_of_its_place() {
    for name in hard_names() {
        let one = profile(&[(&[&name], 100)]);
        let page = page(&one, &one);
        for tag in ["<script", "\u{202e}", "\u{0}"] {
            assert!(!page.contains(tag), "{name:?}");
        }
        assert_eq!(calls(&page).len(), 1);
        assert_eq!(page.matches("<title>").count(), 2, "{name:?}");
    }
}

#[test]
fn nothing_compared_with_nothing() {
    let nothing = profile(&[]);
    assert!(page(&nothing, &nothing).contains("No time was recorded in any function."));
}

#[test]
fn a_large_tree_is_a_small_page() {
    let names: Vec<String> = (0..3_000).map(|number| format!("f{number}")).collect();
    let deep: Vec<&str> = names.iter().map(String::as_str).collect();
    let wide: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let mut stacks: Vec<(&[&str], u64)> = wide.iter().map(|stack| (&stack[..], 1)).collect();
    stacks.push((&deep, 10_000));
    let one = profile(&stacks);
    let page = page(&one, &one);
    assert!(page.len() < 300_000, "{} bytes", page.len());
}
