//! What is said of what a format cannot hold.

use formats::{Fact, Format, WriteOptions, losses, read, write};
use profile::{Clock, Profile};
use proptest::prelude::*;

use crate::generated::any_profile;
use crate::sample;

fn of(format: Format, options: &WriteOptions) -> Vec<String> {
    losses(&sample::profile(), format, options)
}

#[test]
fn a_sentence_for_each_thing() {
    let default = WriteOptions::default();
    assert!(of(Format::Spprof, &default).is_empty());
    assert_eq!(
        of(Format::Pprof, &default),
        ["pprof does not hold when a sample was taken: what has the same stack is added up"]
    );
    assert!(of(Format::Firefox, &default).is_empty());
    let collapsed = of(Format::Collapsed, &default);
    let expected = [
        "collapsed does not hold when a sample was taken: what has the same stack is added up",
        "collapsed adds all threads up unless --threads keeps them apart",
        "collapsed does not hold what a thread was doing: on CPU, blocked or waiting for the GIL is left out",
        "collapsed puts the lines of a function together unless --lines tells them apart",
        "collapsed holds functions only: the time of threads in no Python function is left out",
    ];
    assert_eq!(
        collapsed.iter().filter(|loss| !loss.contains("one clock")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    let clock = collapsed.iter().find(|loss| loss.contains("one clock")).expect("there are several");
    assert!(clock.starts_with("collapsed holds one clock: CPU time is written, "), "{clock}");
    assert!(clock.contains("wall") && clock.ends_with(" time is left out; choose with --clock"), "{clock}");
    assert!(of(Format::Pstats, &default).contains(&"pstats holds callers and callees, no whole stacks".to_owned()));
}

#[test]
fn what_was_asked_for_is_no_loss() {
    let options = WriteOptions { clock: Some(Clock::Wall), lines: true, thread_roots: true, ..WriteOptions::default() };
    assert_eq!(
        of(Format::Collapsed, &options),
        [
            "collapsed does not hold when a sample was taken: what has the same stack is added up",
            "collapsed does not hold what a thread was doing: on CPU, blocked or waiting for the GIL is left out",
        ]
    );
}

#[test]
fn a_profile_of_little_loses_little() {
    assert!(losses(&sample::empty(), Format::Collapsed, &WriteOptions::default()).is_empty());
    let mut file = Vec::new();
    write(&sample::empty(), Format::Pstats, &WriteOptions::default(), &mut file).expect("a vector takes everything");
    let flat = read(b"f 5\n", None).expect("it is valid");
    for format in Format::ALL {
        assert!(losses(&flat, format, &WriteOptions::default()).is_empty(), "{}", format.name());
    }
}

/// What of a profile a reader has, of the facts that a file of `format` could say.
fn kept(profile: &Profile, back: &Profile, fact: Fact) -> bool {
    let weights = (profile.weights(), back.weights());
    match fact {
        Fact::Clocks => Clock::ALL.into_iter().all(|clock| weights.0.on(clock) == weights.1.on(clock)),
        Fact::Threads => {
            let names =
                |profile: &Profile| profile.threads.iter().map(|thread| thread.name.clone()).collect::<Vec<_>>();
            names(profile) == names(back)
        }
        Fact::WithoutPython => {
            let wall_ns = |profile: &Profile| profile.weights_without_python().wall_ns;
            wall_ns(profile) == wall_ns(back)
        }
        Fact::Numbers => profile.counters == back.counters && profile.info == back.info,
        // Shown by the tests of each format.
        Fact::Stacks | Fact::Times | Fact::States | Fact::Lines => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_a_format_holds_is_read_back(profile in any_profile()) {
        for format in Format::ALL.into_iter().filter(|format| format.can_read()) {
            let mut file = Vec::new();
            write(&profile, format, &WriteOptions::default(), &mut file).expect("a vector takes everything");
            let back = read(&file, None).expect("it is valid");
            for &fact in format.holds() {
                prop_assert!(kept(&profile, &back, fact), "{} {fact:?}", format.name());
            }
        }
    }
}
