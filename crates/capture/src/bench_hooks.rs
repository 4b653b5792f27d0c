//! What the benchmarks ask of a running session, as C functions for `ctypes`; only with the feature `bench`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cycle_histogram::{self, BUCKETS};
use crate::gate;
use crate::handler_timing::{DURATIONS, IS_BARE_WALKED};
use crate::platform::{self, Doing, TaskFiles, Tid};
use crate::safe_load::LiveMemory;
use crate::slots::{MAX_THREADS, Slot};
use crate::symbols::Symbols;

/// The processor's counter, to find its rate by.
#[unsafe(no_mangle)]
pub extern "C" fn spprof_bench_cycles() -> u64 {
    cycle_histogram::cycles()
}

/// Number of buckets of a histogram.
#[unsafe(no_mangle)]
pub extern "C" fn spprof_bench_buckets() -> usize {
    BUCKETS
}

/// Moves the durations of a part of the handler (the number of a `handler_timing::Part`), in cycles, into `out` (one count a
/// bucket) and returns the longest; 0 for a part that there is not.
///
/// # Safety
/// `out` must have room for `spprof_bench_buckets()` counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spprof_bench_handler_durations(part: usize, out: *mut u64) -> u64 {
    let Some(durations) = DURATIONS.get(part) else { return 0 };
    // SAFETY: promised by the caller.
    durations.take(unsafe { std::slice::from_raw_parts_mut(out, BUCKETS) })
}

/// Whether every second call of the handler measures the floor of a walk and nothing else. Only for programs that neither call
/// nor return while they are measured.
#[unsafe(no_mangle)]
pub extern "C" fn spprof_bench_walk_bare(on: bool) {
    IS_BARE_WALKED.store(on, Ordering::Relaxed);
}

/// The floor of watching parked threads: a thread that does nothing but read the CPU clocks of `count` threads once an interval,
/// ask the system what those are doing that have moved, and read their clocks again.
/// Returns the CPU time that `rounds` intervals of it took the caller, ns.
///
/// # Safety
/// `tids` must name `count` threads of this process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spprof_bench_watch_threads(
    tids: *const u32,
    count: usize,
    rounds: u64,
    interval_ns: u64,
) -> u64 {
    // SAFETY: promised by the caller.
    let tids = unsafe { std::slice::from_raw_parts(tids, count) };
    let mut threads: Vec<_> = tids.iter().map(|tid| (*tid as Tid, None)).collect();
    let mut files = TaskFiles::kept();
    let before_ns = platform::own_cpu_ns();
    let mut found = 0;
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_nanos(interval_ns));
        for (tid, seen_ns) in &mut threads {
            let cpu_ns = platform::thread_cpu_ns(*tid);
            if *seen_ns != cpu_ns {
                found += u32::from(files.doing(*tid) != Doing::Runs);
                *seen_ns = platform::thread_cpu_ns(*tid);
            }
        }
    }
    std::hint::black_box(found);
    platform::own_cpu_ns() - before_ns
}

/// What a look-up of code objects took.
#[repr(C)]
pub struct Resolved {
    /// All code objects once, read from memory for the first time, ns.
    pub cold_ns: u64,
    /// All of them again, `rounds` times, name and line of each, ns.
    pub warm_ns: u64,
    /// Heap that the symbols held at most, bytes.
    pub most_bytes: u64,
    /// Lines that were found, so that no work is left out.
    pub lines: u64,
}

/// Resolves `count` code objects by the layout of the running session into symbols of its own, whose living part may take
/// what a session of `memory_limit_bytes` grants. All zero without a session.
///
/// # Safety
/// `codes` must name `count` living code objects and `offsets` an instruction of each; the caller holds the GIL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spprof_bench_resolve(
    codes: *const u64,
    offsets: *const i32,
    count: usize,
    rounds: u64,
    memory_limit_bytes: usize,
) -> Resolved {
    let mut result = Resolved { cold_ns: 0, warm_ns: 0, most_bytes: 0, lines: 0 };
    let Some(shared) = gate::enter() else { return result };
    // SAFETY: promised by the caller.
    let (codes, offsets) =
        unsafe { (std::slice::from_raw_parts(codes, count), std::slice::from_raw_parts(offsets, count)) };
    let share_bytes = Symbols::share_bytes(memory_limit_bytes);
    let mut symbols = Symbols::new(shared.host.layout, String::new(), share_bytes);
    let began_ns = platform::monotonic_ns();
    for code in codes {
        let _ = symbols.resolve(&LiveMemory, *code, 0);
    }
    let cold_ns = platform::monotonic_ns();
    for _ in 0..rounds {
        for (code, offset) in codes.iter().zip(offsets) {
            let line = symbols.resolve(&LiveMemory, *code, 0).and_then(|symbol| symbol.code.lines.line(*offset));
            result.lines += u64::from(line.is_some());
        }
    }
    result.warm_ns = platform::monotonic_ns() - cold_ns;
    result.cold_ns = cold_ns - began_ns;
    // Outside of the timing: the sum over the dead is not what is measured.
    let mut watched = Symbols::new(shared.host.layout, String::new(), share_bytes);
    for (number, code) in codes.iter().enumerate() {
        let _ = watched.resolve(&LiveMemory, *code, 0);
        if number % 64 == 0 || number + 1 == count {
            result.most_bytes = result.most_bytes.max(watched.memory_bytes() as u64);
        }
    }
    result
}

/// What the running session holds, bytes.
#[repr(C)]
pub struct Held {
    /// The ring.
    pub ring_bytes: u64,
    /// The table of thread slots.
    pub slots_bytes: u64,
    /// Names and lines.
    pub symbols_bytes: u64,
}

/// What the running session holds; all zero without one.
#[unsafe(no_mangle)]
pub extern "C" fn spprof_bench_held() -> Held {
    let Some(shared) = gate::enter() else { return Held { ring_bytes: 0, slots_bytes: 0, symbols_bytes: 0 } };
    let slots_bytes = (MAX_THREADS * size_of::<Slot>()) as u64;
    let symbols = shared.symbols.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let ring_bytes = shared.ring.capacity_words() * size_of::<AtomicU64>() as u64;
    Held { ring_bytes, slots_bytes, symbols_bytes: symbols.memory_bytes() as u64 }
}
