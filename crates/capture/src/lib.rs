//! What runs while profiling: ticks, the signal handler, the ring, the collector.
//!
//! ```text
//! tick ──► handler ──► ring ──► collector ──► profile::Recording
//! ```
//!
//! [`tick`] says when a thread is looked at, [`slots`] which thread a signal is for, [`handler`] takes the sample on the
//! thread itself, [`ring`] and [`record`] carry it, [`collector`] names and weighs it with [`symbols`], [`stacks`] and [`roster`].
//! [`session`] is the life of it all; [`fork`], [`fault`], [`sigprof`], [`termination`] and [`code_lifetime`] are the places
//! where the process is touched. [`reserve`] is the allocator of all of it.
//!
//! Left of the ring everything is async-signal-safe; right of it nothing takes the GIL.
#![deny(unsafe_op_in_unsafe_fn)]
// What only a signal handler calls, of what handler and collector share.
#![cfg_attr(windows, allow(dead_code))]

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
compile_error!("spprof's capture crate knows Linux, macOS and Windows; other systems have their place in platform/");

// On every system.
mod code_filter;
#[cfg(test)]
mod code_filter_tests;
mod code_lifetime;
mod collection;
mod collector;
mod examination;
mod gate;
mod host;
mod nap;
mod operation;
#[cfg(test)]
mod operation_tests;
mod pages;
mod platform;
mod record;
mod reserve;
mod retirement;
mod ring;
#[cfg(test)]
mod ring_tests;
mod roster;
mod safe_load;
mod session;
mod shared;
mod slots;
#[cfg(test)]
mod slots_tests;
mod stacks;
mod symbols;
mod sync;
mod tick;
mod turnstile;

// Where threads get signals.
#[cfg(feature = "bench")]
pub mod bench_hooks;
#[cfg(unix)]
mod cpu_context;
#[cfg(feature = "bench")]
mod cycle_histogram;
#[cfg(unix)]
mod disposition;
#[cfg(unix)]
mod fault;
#[cfg(all(test, unix))]
mod fault_tests;
#[cfg(unix)]
mod findings;
#[cfg(unix)]
mod fork;
#[cfg(unix)]
mod gil_wait;
#[cfg(unix)]
mod handler;
#[cfg(unix)]
mod handler_timing;
#[cfg(feature = "inject-faults")]
mod injection;
#[cfg(all(test, feature = "inject-faults"))]
mod injection_tests;
#[cfg(all(test, unix))]
mod nap_tests;
#[cfg(unix)]
mod outside;
#[cfg(unix)]
mod own_thread;
#[cfg(target_os = "linux")]
mod pthread;
#[cfg(unix)]
mod sigprof;
#[cfg(unix)]
mod takeover;
#[cfg(all(test, unix))]
mod takeover_tests;
#[cfg(unix)]
mod termination;

// Where they get none: the same names.
#[cfg(windows)]
#[path = "windows/absent.rs"]
mod absent;
#[cfg(any(windows, test))]
#[path = "windows/activity.rs"]
mod activity;
#[cfg(windows)]
#[path = "windows/fault.rs"]
mod fault;
#[cfg(windows)]
#[path = "windows/findings.rs"]
mod findings;
#[cfg(windows)]
#[path = "windows/gil_wait.rs"]
mod gil_wait;
#[cfg(windows)]
#[path = "windows/libraries.rs"]
mod libraries;
#[cfg(windows)]
#[path = "windows/outside.rs"]
mod outside;
#[cfg(windows)]
#[path = "windows/own_thread.rs"]
mod own_thread;
#[cfg(windows)]
#[path = "windows/stand_still.rs"]
mod stand_still;
#[cfg(windows)]
#[path = "windows/unwind.rs"]
mod unwind;
#[cfg(any(windows, test))]
#[path = "windows/wait_site.rs"]
mod wait_site;
#[cfg(windows)]
use absent::{fork, sigprof, termination};

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
#[cfg(windows)]
pub use gil_wait::{Learning, learn as learn_gil_wait};
pub use host::{Host, HostError};
#[cfg(feature = "inject-faults")]
pub use injection::injected;
pub use operation::{Operation, has_room};
pub use reserve::{Allocator, is_low};
pub use safe_load::LiveMemory;
pub use session::{
    OnTermination, Options, SessionError, Stats, is_active, name_thread, pause, resume, snapshot, start, stats, stop,
    thread_ended, thread_started, with_faults_caught,
};
