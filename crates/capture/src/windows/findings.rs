//! What Windows allows.

use crate::examination::Examination;
use crate::gil_wait;
use crate::platform;

/// Asks the system for what a session needs, and gives it back at once.
pub(crate) fn add_to(outcome: &mut Examination) {
    outcome
        .findings
        .push(("sampling", "each thread is suspended for a moment and looked at once an interval".to_owned()));
    let clocks = match platform::cycles_per_ms() {
        Some(rate) => format!("the CPU time of threads is counted in cycles, {rate} a millisecond"),
        None => "the CPU time of threads is told in steps of the system's clock tick, 10 to 16 ms".to_owned(),
    };
    outcome.findings.push(("clocks", clocks));
    let waits = if gil_wait::is_known() { "is told" } else { "is not told: such a thread is blocked" };
    outcome.findings.push(("GIL", format!("that a thread waits for it {waits}")));
    outcome.findings.push(("threads", format!("{} in this process", platform::own_threads().len())));
    if !platform::can_be_opened(platform::own_tid()) {
        outcome.problems.push(
            "The system does not let the threads of this process be opened, so none could be looked at.".to_owned(),
        );
    }
}
