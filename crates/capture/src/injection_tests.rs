//! The real handler on a thread whose frames it finds wrong at a set rate: it comes back from each, and counts it.
//!
//! `SPPROF_WALKS` says how many ticks, `SPPROF_WALKS_SEED` which wrong values; ten million were run once.

use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::build::{self, Build};
use crate::code_filter::CodeFilter;
use crate::collection::Collection;
use crate::host::Host;
use crate::image::{CODE_TYPE, Image, Link, RUNTIME, THREAD};
use crate::nap::Nap;
use crate::pages::Pages;
use crate::ring::Ring;
use crate::safe_load::LiveMemory;
use crate::shared::{HandlerCounts, Shared, get};
use crate::slots::{MAX_THREADS, TickValue};
use crate::symbols::Symbols;
use crate::tick::Ticks;
use crate::{fault, gate, injection, platform, record, sigprof};

/// Loads of which one is tampered with.
const ONE_OF: u64 = 100;
/// Python frames of the thread.
const FRAMES: usize = 20;
/// Ticks between two looks at the ring.
const BATCH: u64 = 500;

/// An image's words at their own addresses, in memory of this process.
struct Mapped {
    start: u64,
    length: usize,
}

impl Mapped {
    fn of(image: &Image<'_>) -> Self {
        const PAGE: u64 = 4096;
        let start = image.words.keys().next().expect("there are words") & !(PAGE - 1);
        let end = (image.words.keys().next_back().expect("there are words") + 8).next_multiple_of(PAGE);
        let length = (end - start) as usize;
        // SAFETY: new memory, at an address where there is none: the flag refuses it otherwise.
        let mapped = unsafe {
            libc::mmap(
                start as *mut c_void,
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        assert_eq!(mapped as u64, start, "the place is free");
        for (address, word) in &image.words {
            // SAFETY: an aligned word of the mapping made above.
            unsafe { (*address as *mut u64).write(*word) };
        }
        Self { start, length }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: our own mapping; what pointed into it are addresses that are looked at by loads that may fault.
        unsafe { libc::munmap(self.start as *mut c_void, self.length) };
    }
}

fn image(build: &Build) -> Image<'_> {
    let mut image = Image::new(build);
    let code: Vec<u64> = (0..5).map(|number| image.put_plain_code(&format!("function_{number}"))).collect();
    let mut chain: Vec<Link> = (0..FRAMES).map(|at| Link::Python { code: code[at % 5], offset: 4 }).collect();
    if build.has_shims() {
        chain.insert(7, Link::Shim);
        chain.push(Link::Shim);
    }
    image.put_chain(&chain);
    // The thread is this one, as the interpreter has it.
    let layout = build.layout();
    // SAFETY: returns the calling thread's handle.
    let own = unsafe { libc::pthread_self() } as u64;
    image.put_word(THREAD + u64::from(layout.thread_state.thread_id), own);
    image
}

fn shared(host: Host) -> Shared {
    Shared {
        ticks: Ticks { origin_ns: platform::monotonic_ns(), interval_ns: 1_000_000 },
        session: 77,
        max_depth_frames: 64,
        ring: Ring::new(Pages::zeroed(1 << 17).expect("memory")),
        slots: Pages::zeroed(MAX_THREADS).expect("memory"),
        filter: CodeFilter::new(),
        symbols: Mutex::new(Symbols::new(host.layout, String::new(), 1 << 20)),
        slots_without_timer: AtomicUsize::new(0),
        is_paused: AtomicBool::new(false),
        collection: Collection::default(),
        counts: HandlerCounts::default(),
        nap: Nap::default(),
        newest_threads: AtomicU64::new(0),
        threads_read_ns: AtomicU64::new(0),
        fixed_bytes: 0,
        host,
    }
}

static IS_DETACHED: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn this_thread_state() -> *mut c_void {
    ASKED.fetch_add(1, Ordering::Relaxed);
    THREAD as *mut c_void
}

unsafe extern "C" fn unchecked_thread_state() -> *mut c_void {
    if IS_DETACHED.load(Ordering::Relaxed) { ptr::null_mut() } else { THREAD as *mut c_void }
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts are what it is run for")]
fn wrong_values_in_walks_do_no_harm_and_are_counted() {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let ticks = asked("SPPROF_WALKS").unwrap_or(100_000);
    injection::begin_at(asked("SPPROF_WALKS_SEED").unwrap_or(0) << 40);
    let builds = build::all();
    let of_each = ticks.div_ceil(builds.len() as u64);
    // Rust's own threads have an alternate stack of 8 KiB. Two of the kernel's frames fit, and beside them the handler as it is
    // shipped, but not one that is not optimised.
    // SAFETY: a whole `stack_t`; nobody runs on that stack now.
    unsafe {
        let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        assert_eq!(libc::sigaltstack(&raw const none, ptr::null_mut()), 0);
    }
    fault::install().expect("a handler");
    sigprof::install().expect("a handler");
    let (mut walks, mut torn, mut whole, mut named, mut unnamed) = (0, 0, 0, 0, 0);
    let before = injection::injected();
    for build in &builds {
        let image = image(build);
        let mapped = Mapped::of(&image);
        let host = Host::of_test(build.layout(), RUNTIME, CODE_TYPE, this_thread_state, unchecked_thread_state);
        let shared = shared(host);
        let slot = &shared.slots.as_ref()[9];
        let generation = slot.occupy(platform::own_tid(), 1, 0);
        let value = TickValue { session: shared.session, slot: 9, generation }.to_bits();
        gate::open(&shared);
        injection::tamper_with_one_of(ONE_OF);
        let mut sent = 0;
        while sent < of_each {
            IS_DETACHED.store(sent / BATCH % 2 == 1, Ordering::Relaxed);
            for _ in 0..BATCH.min(of_each - sent) {
                assert!(platform::send_tick(platform::own_tid(), value), "the signal is delivered before this returns");
                sent += 1;
            }
            let mut symbols = shared.symbols.lock().expect("nobody panics");
            while let Some(record) = record::front(&shared.ring) {
                let frames = record.header.frames;
                assert!(usize::from(frames) <= shared.max_depth_frames);
                assert!(record.length_words >= record::length_words(u64::from(frames)));
                let is_whole = record.header.generation == generation;
                assert!(is_whole || record.header.generation == record::NOBODY);
                whole += u64::from(is_whole && usize::from(frames) == FRAMES);
                for index in 0..frames {
                    let frame = record::frame(&shared.ring, &record, index);
                    match symbols.resolve(&LiveMemory, frame.code_address, record.position) {
                        Some(_) => named += 1,
                        None => unnamed += 1,
                    }
                }
                shared.ring.release(record.position, record.length_words);
            }
        }
        injection::tamper_with_one_of(0);
        gate::close();
        let counts = &shared.counts;
        let lost = get(&counts.ring_full) + get(&counts.stale) + get(&counts.paused) + get(&counts.put_off);
        let counted = get(&counts.samples) + get(&counts.torn) + lost;
        assert_eq!(counted, of_each, "{}: every tick is counted", build.name);
        assert_eq!(lost, 0, "{}", build.name);
        assert!(get(&counts.torn) > of_each / 20, "{}: {} of {of_each} torn", build.name, get(&counts.torn));
        assert!(get(&counts.samples) > of_each / 20, "{}: {} of {of_each} whole", build.name, get(&counts.samples));
        walks += of_each;
        torn += get(&counts.torn);
        drop(mapped);
    }
    sigprof::uninstall();
    fault::uninstall();
    let after = injection::injected();
    let (tampered, faults) = (after.0 - before.0, after.1 - before.1);
    assert!(whole > 0 && named > 0 && tampered > walks / 10 && faults > walks / 100);
    assert!(ASKED.load(Ordering::Relaxed) > 0);
    eprintln!(
        "{walks} ticks on {} builds: {tampered} loads tampered with, {faults} faults recovered from, {torn} stacks torn, \
         {whole} whole; {named} frames named, {unnamed} not",
        builds.len()
    );
}
