//! The atomics of the ring, in a module of their own so that `tests/ring_model.rs` can put loom's in their place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
