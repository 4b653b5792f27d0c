//! CPython as memory: where its structures keep what, how a thread's Python frames are walked, what a code object says.
//!
//! Everything is read through [`Memory`], so the same code runs on live memory, on fake memory in tests and under a fuzzer,
//! and the crate needs no unsafe code. The modules [`layout`], [`frame_walk`] and [`threads`] run inside a signal handler:
//! they allocate nothing, cannot panic, and every loop in them has a bound. [`code_object`], [`text`] and [`line_table`] run
//! outside and may allocate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod code_object;
pub mod frame_walk;
#[cfg(test)]
mod frame_walk_tests;
pub mod identity;
pub mod layout;
pub mod line_table;
pub mod memory;
pub mod text;
pub mod threads;

pub use code_object::{CodeObject, ReadError, read_code};
pub use frame_walk::{RawFrame, TornReason, WalkEnd, count_frames, walk};
pub use identity::Identity;
pub use layout::{Layout, LayoutError};
pub use line_table::LineTable;
pub use memory::{Fault, Memory, WordOffsets};
pub use threads::{ThreadState, for_each_thread, is_listed, newest_threads};
