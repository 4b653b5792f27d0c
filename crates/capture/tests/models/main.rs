//! Every interleaving of the lock-free protocols beside the ring's, by loom: the source files themselves, with loom's atomics
//! in place of std's. `tests/ring_model.rs` has those of the ring alone.
//!
//! What a handler and the collector do with them, which is spread over files that need a whole process, is written out here
//! in the same order. That the models can fail was seen: each says which changes of the code it caught.

#![expect(dead_code, reason = "the models use the part that is lock-free")]

mod code_death;
mod gate;
mod parking;
mod stop;
mod threads;

#[path = "../../src/code_filter.rs"]
mod code_filter;
#[path = "../../src/nap.rs"]
mod nap;
#[path = "../../src/retirement.rs"]
mod retirement;
#[path = "../../src/ring.rs"]
mod ring;
#[path = "../../src/slots.rs"]
mod slots;
#[path = "../../src/symbols.rs"]
mod symbols;
#[path = "../../src/tick.rs"]
mod tick;
#[path = "../../src/turnstile.rs"]
mod turnstile;

mod sync {
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    pub(crate) use loom::thread::yield_now;
}

/// The names of `platform` that the protocols know.
mod platform {
    use std::time::Duration;

    use crate::sync::AtomicU32;

    pub(crate) type Tid = i32;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct TimerId(pub(crate) i32);

    /// No model sleeps: what counts is who has to be woken.
    pub(crate) fn wait_while_equal(_word: &AtomicU32, _value: u32, _time: Duration) {
        unreachable!("a model does not sleep");
    }

    pub(crate) fn wake_waiter(_word: &AtomicU32) {}
}

/// Words of zeros.
fn words(number: usize) -> Vec<sync::AtomicU64> {
    (0..number).map(|_| sync::AtomicU64::new(0)).collect()
}

/// Explores a model with so many preemptions at most: more of them have found nothing that fewer do not.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
