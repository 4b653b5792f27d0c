//! Whether there is memory to go on with.
//!
//! Rust ends the process when memory is refused to code that does not ask. What works on profiles asks here in between, where it
//! may give up, and whoever provides the memory answers: nobody, in a program that leaves the matter to the system.

use std::sync::OnceLock;

static ANSWER: OnceLock<fn(usize) -> bool> = OnceLock::new();

/// Has questions answered by `answer`, for the life of the process; the first one stays.
pub fn set_answer(answer: fn(usize) -> bool) {
    let _ = ANSWER.set(answer);
}

/// Whether the calling thread may go on with something that may need `bytes` at once. If not, it must give up what it does.
#[must_use]
pub fn is_there(bytes: usize) -> bool {
    ANSWER.get().is_none_or(|answer| answer(bytes))
}
