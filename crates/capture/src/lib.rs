//! What runs while profiling: ticks, the signal handler, the ring, the collector.
//!
//! ```text
//! tick ──► handler ──► ring ──► collector ──► profile::Recording
//! ```
//!
//! [`tick`] says when a thread is looked at, [`slots`] which thread a signal is for, [`handler`] takes the sample on the
//! thread itself, [`ring`] and [`record`] carry it, [`collector`] names and weighs it with [`symbols`] and [`roster`].
//! [`session`] is the life of it all; [`fork`], [`fault`], [`sigprof`], [`termination`] and [`code_lifetime`] are the places
//! where the process is touched.
//!
//! Left of the ring everything is async-signal-safe; right of it nothing takes the GIL.
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(not(target_os = "linux"))]
compile_error!("spprof's capture crate supports Linux only for now; other systems have their place in platform/");

#[cfg(feature = "bench")]
pub mod bench_hooks;
mod code_filter;
mod code_lifetime;
mod collector;
mod cpu_context;
#[cfg(feature = "bench")]
mod cycle_histogram;
mod disposition;
mod examination;
mod fault;
mod fork;
mod gate;
mod handler;
mod handler_timing;
mod host;
mod outside;
mod pages;
mod platform;
mod record;
mod ring;
#[cfg(test)]
mod ring_tests;
mod roster;
mod safe_load;
mod session;
mod shared;
mod sigprof;
mod slots;
mod symbols;
mod sync;
mod termination;
mod tick;

pub use examination::{Examination, examine_system};
pub use host::{Host, HostError};
pub use safe_load::LiveMemory;
pub use session::{
    OnTermination, Options, SessionError, Stats, is_active, name_thread, pause, resume, snapshot, start, stats, stop,
    thread_ended, thread_started,
};
