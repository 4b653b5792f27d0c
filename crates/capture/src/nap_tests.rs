//! Tests of [`crate::nap`] with threads that really sleep.

use std::time::Duration;

use crate::nap::Nap;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_waking_before_the_sleep_is_not_lost() {
    let nap = Nap::default();
    let seen = nap.wakings();
    nap.wake();
    nap.sleep(seen, LONG);
}

#[test]
fn a_waking_ends_the_sleep() {
    let nap = Nap::default();
    let seen = nap.wakings();
    std::thread::scope(|scope| {
        scope.spawn(|| nap.sleep(seen, LONG));
        nap.wake();
    });
}

#[test]
fn a_thread_that_parks_itself_wakes_once_and_only_if_asked_to() {
    let nap = Nap::default();
    nap.note_parking();
    assert_eq!(nap.wakings(), 0);
    nap.end_with_parking(true);
    nap.note_parking();
    nap.note_parking();
    assert_eq!(nap.wakings(), 1);
    nap.end_with_parking(true);
    nap.end_with_parking(false);
    nap.note_parking();
    assert_eq!(nap.wakings(), 1);
}

#[test]
fn who_needs_the_collector_wakes_it_once_and_only_if_asked_to() {
    let nap = Nap::default();
    nap.note_need();
    assert_eq!(nap.wakings(), 0);
    nap.end_with_need();
    nap.note_parking();
    nap.note_need();
    nap.note_need();
    assert_eq!(nap.wakings(), 1);
}
