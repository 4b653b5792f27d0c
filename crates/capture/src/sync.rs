//! What the lock-free protocols are made of, in a module of its own so that `tests/ring_model.rs` and `tests/models` can put
//! loom's in their place.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::thread::yield_now;
