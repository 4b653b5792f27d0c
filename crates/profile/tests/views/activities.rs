//! Where the time of the threads goes.

use profile::{Activity, Profile, State};

use crate::support::{BLOCKED, BLOCKED_WITH_GIL, Builder, ON_CPU, WAITS_FOR_GIL, name};

/// Activity, time, the innermost place and the innermost place of own code with the time there.
fn shown(profile: &Profile) -> Vec<(Activity, u64, Option<String>)> {
    let place = |(function, line)| format!("{}:{line}", name(profile, function));
    let all = profile.activities();
    all.iter()
        .map(|total| {
            let most = total.most.map(|(place_of, time_ns)| {
                let own = place_of.own.map_or_else(|| "-".to_owned(), place);
                format!("{} from {own} {time_ns}", place((place_of.function, place_of.line)))
            });
            (total.activity, total.time_ns, most)
        })
        .collect()
}

#[test]
fn every_state_has_its_activity() {
    let mut builder = Builder::new();
    let (main, worker) = (builder.thread("MainThread", 1), builder.thread("worker", 2));
    builder.record(main, "main:1", 10, 10, ON_CPU);
    builder.record(main, "main:2", 15, 9, ON_CPU); // did not get the processor for 6
    builder.record(main, "main:3 lib.get:7", 100, 1, BLOCKED); // used it for a moment in between
    builder.record(main, "main:3 lib.get:8", 10, 0, BLOCKED);
    builder.record(main, "main:4 lib.get:8", 50, 0, BLOCKED);
    builder.record(worker, "lib.sync:9", 30, 0, BLOCKED_WITH_GIL);
    builder.record(worker, "main:5", 20, 0, WAITS_FOR_GIL);
    builder.record(worker, "", 3, 0, WAITS_FOR_GIL);
    let expected = [
        (Activity::Computing, 20, None),
        (Activity::WaitingForProcessor, 6, None),
        (Activity::WaitingForGil, 23, Some("main:5 from main:5 20".to_owned())),
        (Activity::BlockedHoldingGil, 30, Some("lib.sync:9 from - 30".to_owned())),
        (Activity::Blocked, 159, Some("lib.get:7 from main:3 99".to_owned())),
    ];
    assert_eq!(shown(&builder.finish()), expected);
}

#[test]
fn without_states_what_was_not_computed_was_waited() {
    let mut builder = Builder::new();
    let main = builder.thread("MainThread", 1);
    builder.record(main, "main:1", 12, 10, State::UNKNOWN);
    builder.record(main, "main:2 lib.get:7", 100, 0, State::UNKNOWN);
    let expected =
        [(Activity::Computing, 10, None), (Activity::Waiting, 102, Some("lib.get:7 from main:2 100".to_owned()))];
    assert_eq!(shown(&builder.finish()), expected);
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(shown(&Builder::new().finish()), []);
}
