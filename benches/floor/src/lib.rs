//! What every sampling by signals costs at least: ticks with a handler that only counts, by each of the ways in which a
//! thread can be ticked. C functions for `ctypes`; one session at a time, for the thread that begins it.

#[path = "../../../crates/capture/src/cycle_histogram.rs"]
#[allow(dead_code)]
mod cycle_histogram;

use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;

use cycle_histogram::{BUCKETS, CycleHistogram, cycles};

/// A periodic timer on the thread's own CPU clock.
const CPU_CLOCK: i32 = 0;
/// A periodic timer on CLOCK_MONOTONIC.
const PERIODIC: i32 = 1;
/// A one-shot timer on CLOCK_MONOTONIC that the handler sets again, to a random place in the next interval.
const ONE_SHOT: i32 = 2;
/// A thread that sleeps to absolute deadlines and sends the signal.
const SENDER: i32 = 3;

/// The CPU clock of a thread, without its id (Linux `include/linux/posix-timers_types.h`).
const PER_THREAD_CPU_CLOCK: i32 = 4 | 2;
/// An `si_code` that one thread may send to another: a negative one (Linux `kernel/signal.c`, `do_rt_tgsigqueueinfo`).
const SENT_CODE: i32 = libc::SI_QUEUE;

static SIGNALS: AtomicU64 = AtomicU64::new(0);
static OVERRUNS: AtomicU64 = AtomicU64::new(0);
static DURATIONS: CycleHistogram = CycleHistogram::new();
/// The one-shot timer, or -1.
static ONE_SHOT_TIMER: AtomicI32 = AtomicI32::new(-1);
static ORIGIN_NS: AtomicU64 = AtomicU64::new(0);
static INTERVAL_NS: AtomicU64 = AtomicU64::new(0);
static SHOULD_STOP: AtomicBool = AtomicBool::new(false);
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

struct Session {
    timer: Option<i32>,
    sender: Option<JoinHandle<()>>,
    before: libc::sigaction,
}

fn session() -> MutexGuard<'static, Option<Session>> {
    SESSION.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// The deadline after `now_ns`: a random place in the next interval (SplitMix64's finaliser of the interval's number).
fn next_deadline_ns(now_ns: u64) -> u64 {
    let (origin_ns, interval_ns) = (ORIGIN_NS.load(Ordering::Relaxed), INTERVAL_NS.load(Ordering::Relaxed).max(1));
    let cell = (now_ns - origin_ns) / interval_ns + 1;
    let mut draw = cell.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    draw = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    origin_ns + cell * interval_ns + (((draw >> 32) * interval_ns) >> 32)
}

fn set_timer(timer: i32, flags: i32, first_ns: u64, interval_ns: u64) -> bool {
    let setting = libc::itimerspec { it_interval: timespec(interval_ns), it_value: timespec(first_ns) };
    let none = null_mut::<libc::itimerspec>();
    // SAFETY: `setting` is valid for the call; a timer that is gone is an error, not undefined.
    unsafe { libc::syscall(libc::SYS_timer_settime, timer, flags, &raw const setting, none) == 0 }
}

extern "C" fn on_signal(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let began = cycles();
    SIGNALS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel passes a valid siginfo_t; of a timer's signal the sixth int is the overrun (siginfo.h).
    let (code, overrun) = unsafe { ((*info).si_code, *info.cast::<i32>().add(5)) };
    if code == libc::SI_TIMER && overrun > 0 {
        OVERRUNS.fetch_add(overrun as u64, Ordering::Relaxed);
    }
    let timer = ONE_SHOT_TIMER.load(Ordering::Relaxed);
    if timer >= 0 {
        set_timer(timer, libc::TIMER_ABSTIME, next_deadline_ns(now_ns()), 0);
    }
    DURATIONS.record(cycles().wrapping_sub(began));
}

fn create_timer(way: i32, tid: i32) -> Option<i32> {
    // SAFETY: all-zero is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { zeroed() };
    event.sigev_signo = libc::SIGPROF;
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_notify_thread_id = tid;
    let clock = if way == CPU_CLOCK { (!tid << 3) | PER_THREAD_CPU_CLOCK } else { libc::CLOCK_MONOTONIC };
    let mut timer = 0i32;
    // SAFETY: both pointers are valid for the call; the kernel's timer_t is an int.
    let result = unsafe { libc::syscall(libc::SYS_timer_create, clock, &raw mut event, &raw mut timer) };
    (result == 0).then_some(timer)
}

fn send(pid: i32, tid: i32) -> bool {
    let mut info = [0i32; 32];
    (info[0], info[2]) = (libc::SIGPROF, SENT_CODE);
    // SAFETY: the kernel copies the 128 bytes of a siginfo_t.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, libc::SIGPROF, info.as_ptr()) == 0 }
}

fn send_until_stopped(pid: i32, tid: i32, interval_ns: u64) {
    let mut deadline_ns = now_ns() + interval_ns;
    while !SHOULD_STOP.load(Ordering::Relaxed) {
        let deadline = timespec(deadline_ns);
        // SAFETY: `deadline` is valid for the call; no remainder is asked for with an absolute time.
        unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const deadline, null_mut()) };
        send(pid, tid);
        deadline_ns += interval_ns;
    }
}

fn own_tid() -> i32 {
    // SAFETY: a plain system call.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

fn install() -> libc::sigaction {
    // SAFETY: all-zero is a valid `sigaction`, filled in below or by the kernel.
    let (mut action, mut before): (libc::sigaction, libc::sigaction) = unsafe { (zeroed(), zeroed()) };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler is async-signal-safe and both structures are valid for the call.
    unsafe { libc::sigaction(libc::SIGPROF, &raw const action, &raw mut before) };
    before
}

fn put_back(before: &libc::sigaction) {
    // SAFETY: SIG_IGN first discards what is pending; `before` is what the kernel gave us.
    unsafe {
        libc::signal(libc::SIGPROF, libc::SIG_IGN);
        libc::sigaction(libc::SIGPROF, before, null_mut());
    }
}

/// Begins to tick the calling thread every `interval_ns` in one of the four ways; whether that could be done.
#[unsafe(no_mangle)]
pub extern "C" fn floor_start(way: i32, interval_ns: u64) -> bool {
    let mut session = session();
    if session.is_some() || interval_ns == 0 || !(CPU_CLOCK..=SENDER).contains(&way) {
        return false;
    }
    SIGNALS.store(0, Ordering::Relaxed);
    OVERRUNS.store(0, Ordering::Relaxed);
    ORIGIN_NS.store(now_ns(), Ordering::Relaxed);
    INTERVAL_NS.store(interval_ns, Ordering::Relaxed);
    SHOULD_STOP.store(false, Ordering::Relaxed);
    // SAFETY: a plain system call.
    let (pid, tid) = (unsafe { libc::getpid() }, own_tid());
    let before = install();
    if way == SENDER {
        let Ok(sender) = std::thread::Builder::new().spawn(move || send_until_stopped(pid, tid, interval_ns)) else {
            put_back(&before);
            return false;
        };
        *session = Some(Session { timer: None, sender: Some(sender), before });
        return true;
    }
    let Some(timer) = create_timer(way, tid) else {
        put_back(&before);
        return false;
    };
    if way == ONE_SHOT {
        ONE_SHOT_TIMER.store(timer, Ordering::Relaxed);
    }
    let is_set = match way {
        ONE_SHOT => set_timer(timer, libc::TIMER_ABSTIME, next_deadline_ns(now_ns()), 0),
        CPU_CLOCK | PERIODIC => set_timer(timer, 0, interval_ns, interval_ns),
        _ => false,
    };
    *session = Some(Session { timer: Some(timer), sender: None, before });
    is_set
}

/// What came since `floor_start`.
#[repr(C)]
pub struct Counts {
    /// Signals handled.
    pub signals: u64,
    /// Ticks that the kernel joined to another one's signal.
    pub overruns: u64,
}

/// What came so far.
#[unsafe(no_mangle)]
pub extern "C" fn floor_counts() -> Counts {
    Counts { signals: SIGNALS.load(Ordering::Relaxed), overruns: OVERRUNS.load(Ordering::Relaxed) }
}

/// Ends the ticks and puts SIGPROF's disposition back.
#[unsafe(no_mangle)]
pub extern "C" fn floor_stop() {
    let Some(session) = session().take() else { return };
    ONE_SHOT_TIMER.store(-1, Ordering::Relaxed);
    SHOULD_STOP.store(true, Ordering::Relaxed);
    if let Some(timer) = session.timer {
        // SAFETY: a plain system call with an integer.
        unsafe { libc::syscall(libc::SYS_timer_delete, timer) };
    }
    if let Some(sender) = session.sender {
        // It cannot have panicked with anything to act on.
        let _ = sender.join();
    }
    put_back(&session.before);
}

/// Time that one signal of the calling thread to itself takes, ns: the system call, the delivery and the return. The least
/// that the kernel can take for a signal, without the timer's interrupt.
#[unsafe(no_mangle)]
pub extern "C" fn floor_signal_ns(count: u64) -> f64 {
    let session = session();
    if session.is_some() {
        return f64::NAN;
    }
    // SAFETY: a plain system call.
    let (pid, tid) = (unsafe { libc::getpid() }, own_tid());
    let before = install();
    let began_ns = now_ns();
    for _ in 0..count {
        send(pid, tid);
    }
    let took_ns = now_ns() - began_ns;
    put_back(&before);
    took_ns as f64 / count as f64
}

/// The processor's counter.
#[unsafe(no_mangle)]
pub extern "C" fn floor_cycles() -> u64 {
    cycles()
}

/// Number of buckets of a histogram.
#[unsafe(no_mangle)]
pub extern "C" fn floor_buckets() -> usize {
    BUCKETS
}

/// Moves the empty handler's durations, in cycles, into `out` and returns the longest.
///
/// # Safety
/// `out` must have room for `floor_buckets()` counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn floor_handler_durations(out: *mut u64) -> u64 {
    // SAFETY: promised by the caller.
    DURATIONS.take(unsafe { std::slice::from_raw_parts_mut(out, BUCKETS) })
}

/// Sooner than anything else that the processor may wait for.
const SOON_NS: u64 = 50_000;

/// What a handler does beside counting, one at a time: time of one call, ns, over `count` calls.
///
/// 0: `clock_gettime` of CLOCK_MONOTONIC, 1: of the thread's CPU clock, 2: `timer_settime` to a moment 1 ms ahead, again and
/// again, of which the hardware is not told: it has an earlier one; 3: a system call that does nothing; 4: `timer_settime`
/// after the timer has fired, to a moment so soon that the hardware is told, which in a virtual machine may mean to leave it.
#[unsafe(no_mangle)]
pub extern "C" fn floor_part_ns(part: i32, count: u64) -> f64 {
    let session = session();
    if session.is_some() {
        return f64::NAN;
    }
    let timer = if matches!(part, 2 | 4) { create_timer(ONE_SHOT, own_tid()) } else { None };
    let before = install();
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let began_ns = now_ns();
    let mut beside_ns = 0;
    for _ in 0..count {
        match part {
            0 => {
                now_ns();
            }
            4 => {
                // The hardware waits for the one of the last round until it has fired.
                let before_ns = now_ns();
                while now_ns() < before_ns + 2 * SOON_NS {}
                let set_ns = now_ns();
                beside_ns += set_ns - before_ns;
                set_timer(timer.unwrap_or(-1), libc::TIMER_ABSTIME, set_ns + SOON_NS, 0);
            }
            // SAFETY: `time` is a valid place to write to.
            1 => unsafe {
                libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
            },
            2 => {
                set_timer(timer.unwrap_or(-1), libc::TIMER_ABSTIME, now_ns() + 1_000_000, 0);
            }
            // SAFETY: a plain system call; libc's own function may answer from memory.
            _ => unsafe {
                libc::syscall(libc::SYS_getppid);
            },
        }
    }
    let took_ns = now_ns() - began_ns - beside_ns;
    if let Some(timer) = timer {
        // SAFETY: a plain system call with an integer.
        unsafe { libc::syscall(libc::SYS_timer_delete, timer) };
    }
    put_back(&before);
    took_ns as f64 / count as f64
}
