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

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("spprof's capture crate knows Linux and macOS; other systems have their place in platform/");

#[cfg(feature = "bench")]
pub mod bench_hooks;
mod code_filter;
#[cfg(test)]
mod code_filter_tests;
mod code_lifetime;
mod collection;
mod collector;
mod cpu_context;
#[cfg(feature = "bench")]
mod cycle_histogram;
mod disposition;
mod examination;
mod fault;
#[cfg(test)]
mod fault_tests;
mod fork;
mod gate;
mod handler;
mod handler_timing;
mod host;
#[cfg(feature = "inject-faults")]
mod injection;
#[cfg(all(test, feature = "inject-faults"))]
mod injection_tests;
mod nap;
#[cfg(test)]
mod nap_tests;
mod outside;
mod pages;
mod platform;
mod record;
mod retirement;
mod ring;
#[cfg(test)]
mod ring_tests;
mod roster;
mod safe_load;
mod session;
mod shared;
mod sigprof;
mod slots;
#[cfg(test)]
mod slots_tests;
mod symbols;
mod sync;
mod takeover;
#[cfg(test)]
mod takeover_tests;
mod termination;
mod tick;
mod turnstile;

// Fake memory, for the tests of the handler on wrong values.
#[cfg(all(test, feature = "inject-faults"))]
#[allow(dead_code)]
#[path = "../../interpreter/tests/builds/build.rs"]
mod build;
#[cfg(all(test, feature = "inject-faults"))]
#[allow(dead_code)]
#[path = "../../interpreter/tests/builds/image.rs"]
mod image;

pub use collection::{collection_began, collection_ended};
pub use examination::{Examination, examine_system, system_name};
pub use host::{Host, HostError};
#[cfg(feature = "inject-faults")]
pub use injection::injected;
pub use safe_load::LiveMemory;
pub use session::{
    OnTermination, Options, SessionError, Stats, is_active, name_thread, pause, resume, snapshot, start, stats, stop,
    thread_ended, thread_started, with_faults_caught,
};
