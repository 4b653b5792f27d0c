//! The system calls of macOS that the profiler needs, by the same names as those of Linux.
//!
//! There is no timer that signals one thread, so every thread gets its ticks from the collector, as a thread does on Linux
//! that the system has refused a timer. setitimer(ITIMER_PROF) is no way around it: its signal goes to the process, that is to
//! whichever thread the kernel picks, and it is the program's own to use.
//!
//! A thread is known by the number that `pthread_threadid_np` gives, which is its native id in Python too. What the kernel is
//! asked about a thread is asked by its port, which is looked up once and kept until the thread is gone.
//!
//! Functions marked *handler-safe* make a system call or read memory that the system shares with every process.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use mach2::mach_port::mach_port_deallocate;
use mach2::port::mach_port_t;
use mach2::task::task_threads;
use mach2::traps::mach_task_self;
use mach2::vm::mach_vm_deallocate;

use super::mach_answers;
use super::posix::{clock_ns, pid};

/// The system's id of a thread.
pub(crate) type Tid = i64;

/// Success of a call of the kernel (XNU `osfmk/mach/kern_return.h`).
const KERN_SUCCESS: libc::kern_return_t = 0;
/// A wait that was as long as was asked for.
const KERN_OPERATION_TIMED_OUT: libc::kern_return_t = 49;
/// A wait that a signal has ended.
const KERN_ABORTED: libc::kern_return_t = 14;

/// `SI_USER` (`sys/signal.h`): somebody sent the signal.
const SENT: libc::c_int = 0x1_0001;

/// `struct mach_timespec` (XNU `osfmk/mach/clock_types.h`).
#[repr(C)]
struct MachTimespec {
    seconds: u32,
    ns: i32,
}

// XNU `osfmk/mach/semaphore.h`, `task.defs` and `thread_act.defs`. mach2 0.6 has the first three with a pointer in place of the port.
unsafe extern "C" {
    fn semaphore_create(
        task: mach_port_t,
        semaphore: *mut mach_port_t,
        policy: libc::c_int,
        value: libc::c_int,
    ) -> libc::kern_return_t;
    fn semaphore_signal(semaphore: mach_port_t) -> libc::kern_return_t;
    fn semaphore_timedwait(semaphore: mach_port_t, time: MachTimespec) -> libc::kern_return_t;
    fn thread_get_state(
        thread: mach_port_t,
        flavor: libc::c_int,
        state: *mut u32,
        words: *mut u32,
    ) -> libc::kern_return_t;
}

/// What no system of this kind can do, for `spprof doctor`.
pub(crate) const LACKS: Option<&str> = Some(
    "macOS gives CPU time in microseconds and signals without a value: a SIGPROF of the program's own may be taken for a tick; \
     spprof has never been run on it",
);

/// Monotonic time in ns, the clock of `time.monotonic()`; handler-safe.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_UPTIME_RAW).unwrap_or(0)
}

/// CPU time of thread `tid` of this process in ns, which the system gives in whole microseconds, or `None` when there is no
/// such thread any more.
pub(crate) fn thread_cpu_ns(tid: Tid) -> Option<u64> {
    let info = basic_info(tid)?;
    let pair = |time: libc::time_value_t| (time.seconds, time.microseconds);
    Some(mach_answers::cpu_ns(pair(info.user_time), pair(info.system_time)))
}

/// The calling thread's id; handler-safe.
pub(crate) fn own_tid() -> Tid {
    let mut id = 0;
    // SAFETY: 0 is the calling thread; `id` is a valid place to write to.
    unsafe { libc::pthread_threadid_np(0, &raw mut id) };
    Tid::try_from(id).unwrap_or(0)
}

/// The id of the thread that the process began with: the first in the kernel's list. 0 where there is no list.
pub(crate) fn main_tid() -> Tid {
    let threads = all_threads();
    let first = threads.first().and_then(|port| id_of(*port));
    threads.iter().for_each(|port| give_back(*port));
    first.unwrap_or(0)
}

/// The id of the thread whose `pthread_t` is `pthread`: the library looks whether there is such a thread before it reads it.
pub(crate) fn tid_of_pthread(pthread: u64) -> Option<Tid> {
    let mut id = 0;
    // SAFETY: a handle of no thread is an error, not undefined.
    let result = unsafe { libc::pthread_threadid_np(pthread as libc::pthread_t, &raw mut id) };
    Tid::try_from(id).ok().filter(|id| result == 0 && *id > 0)
}

/// The threads of this process by id, as the ports that the kernel knows them by.
struct Ports {
    /// The process whose ports these are: a fork's child has none of them.
    pid: i32,
    of: HashMap<Tid, mach_port_t>,
}

static PORTS: Mutex<Option<Ports>> = Mutex::new(None);

fn ports() -> MutexGuard<'static, Option<Ports>> {
    PORTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Every thread of the process with a right to its port, which the caller has to give back.
fn all_threads() -> Vec<mach_port_t> {
    let mut list = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the kernel gives an array in memory of its own, and how long it is.
    if unsafe { task_threads(mach_task_self(), &raw mut list, &raw mut count) } != KERN_SUCCESS {
        return Vec::new();
    }
    // SAFETY: `count` ports, which are plain numbers.
    let threads = unsafe { std::slice::from_raw_parts(list, count as usize) }.to_vec();
    let size_bytes = u64::from(count) * size_of::<mach_port_t>() as u64;
    // SAFETY: the array is ours to give back, and nobody has it any more.
    unsafe { mach_vm_deallocate(mach_task_self(), list as u64, size_bytes) };
    threads
}

fn give_back(port: mach_port_t) {
    // SAFETY: a plain call; a port that is not ours is an error.
    unsafe { mach_port_deallocate(mach_task_self(), port) };
}

/// Asks the kernel about a thread.
fn info<T>(port: mach_port_t, flavor: libc::c_int) -> Option<T> {
    let mut answer = std::mem::MaybeUninit::<T>::zeroed();
    let mut words = (size_of::<T>() / size_of::<libc::integer_t>()) as libc::mach_msg_type_number_t;
    // SAFETY: the answer has room for `words` integers, and any value of them is valid in the kernel's plain structures.
    unsafe {
        let result =
            libc::thread_info(port, flavor as libc::thread_flavor_t, answer.as_mut_ptr().cast(), &raw mut words);
        (result == KERN_SUCCESS).then(|| answer.assume_init())
    }
}

fn id_of(port: mach_port_t) -> Option<Tid> {
    let identity: libc::thread_identifier_info = info(port, libc::THREAD_IDENTIFIER_INFO)?;
    Tid::try_from(identity.thread_id).ok()
}

/// What `ask` says of thread `tid`. A port of a thread that is gone says nothing, and is given back.
fn with_port<T>(tid: Tid, ask: impl Fn(mach_port_t) -> Option<T>) -> Option<T> {
    let mut guard = ports();
    let own_pid = pid();
    let known = guard.get_or_insert_with(|| Ports { pid: own_pid, of: HashMap::new() });
    if known.pid != own_pid {
        known.pid = own_pid;
        known.of.clear();
    }
    if let Some(port) = known.of.get(&tid) {
        let answer = ask(*port);
        if answer.is_none() {
            give_back(*port);
            known.of.remove(&tid);
        }
        return answer;
    }
    let mut found = None;
    for port in all_threads() {
        if id_of(port) == Some(tid) && found.is_none() {
            found = Some(port);
        } else {
            give_back(port);
        }
    }
    let port = found?;
    let answer = ask(port);
    if answer.is_some() {
        known.of.insert(tid, port);
    } else {
        give_back(port);
    }
    answer
}

fn basic_info(tid: Tid) -> Option<libc::thread_basic_info> {
    with_port(tid, |port| info(port, libc::THREAD_BASIC_INFO))
}

/// A timer for one thread, which this system does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(pub(crate) i32);

/// Refuses: the collector sends the ticks.
///
/// # Errors
/// `InvalidInput` where there is no thread `tid`, else `Unsupported`.
pub(crate) fn create_timer(tid: Tid, _value: u64) -> io::Result<TimerId> {
    Err(match thread_cpu_ns(tid) {
        None => io::ErrorKind::InvalidInput.into(),
        Some(_) => io::Error::new(io::ErrorKind::Unsupported, "macOS has none that signals one thread"),
    })
}

/// There is none.
pub(crate) fn arm_timer(_timer: TimerId, _deadline_ns: u64) -> bool {
    false
}

/// There is none.
pub(crate) fn delete_timer(_timer: TimerId) {}

/// Sends SIGPROF to thread `tid`; the system has no place for a value.
pub(crate) fn send_tick(tid: Tid, _value: u64) -> bool {
    with_port(tid, |port| {
        // SAFETY: plain calls; a port of no thread gives 0, and a thread that is gone is an error (libpthread looks for it).
        unsafe {
            let pthread = libc::pthread_from_mach_thread_np(port);
            (pthread != 0 && libc::pthread_kill(pthread, libc::SIGPROF) == 0).then_some(())
        }
    })
    .is_some()
}

/// The semaphore of [`wait_while_equal`] in the lower half, in the upper the process whose it is: a fork's child has no port
/// of its parent's.
static SEMAPHORE: AtomicU64 = AtomicU64::new(0);

fn semaphore() -> Option<mach_port_t> {
    let packed = SEMAPHORE.load(Ordering::SeqCst);
    (packed >> 32 == pid() as u64).then_some(packed as mach_port_t)
}

/// Sleeps while `word` is `value`, for `time` at most. One thread at a time.
pub(crate) fn wait_while_equal(word: &AtomicU32, value: u32, time: Duration) {
    let semaphore = semaphore().or_else(|| {
        let mut made = 0;
        // SAFETY: `made` is a valid place to write to; the policy is first in, first out.
        let result = unsafe { semaphore_create(mach_task_self(), &raw mut made, 0, 0) };
        (result == KERN_SUCCESS).then(|| {
            SEMAPHORE.store((pid() as u64) << 32 | u64::from(made), Ordering::SeqCst);
            made
        })
    });
    // Looked at after the semaphore is known to those who wake: what they do later counts in it.
    if word.load(Ordering::SeqCst) != value {
        return;
    }
    let Some(semaphore) = semaphore else { return std::thread::sleep(time.min(Duration::from_millis(1))) };
    let (seconds, ns) = mach_answers::seconds_and_ns(time);
    // SAFETY: a plain call; a semaphore that is not there is an error.
    let result = unsafe { semaphore_timedwait(semaphore, MachTimespec { seconds, ns }) };
    if !matches!(result, KERN_SUCCESS | KERN_OPERATION_TIMED_OUT | KERN_ABORTED) {
        // It is gone; the next sleep makes another.
        SEMAPHORE.store(0, Ordering::SeqCst);
    }
}

/// Wakes the thread that sleeps in [`wait_while_equal`], or is about to. Handler-safe: a call of the kernel.
pub(crate) fn wake_waiter(_word: &AtomicU32) {
    if let Some(semaphore) = semaphore() {
        // SAFETY: as above.
        unsafe { semaphore_signal(semaphore) };
    }
}

/// What the system says a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It runs, or would if it had a processor.
    Runs,
    /// It is blocked; where it waits for a mutex or a condition variable, on the one at that address.
    Blocked { futex_address: Option<u64> },
    /// The system does not say.
    Unknown,
}

/// Who asks what threads are doing: there is no file to keep open.
#[derive(Debug, Default)]
pub(crate) struct TaskFiles {}

impl TaskFiles {
    pub(crate) fn kept() -> Self {
        Self {}
    }

    /// Asks the system what thread `tid` of this process is doing.
    pub(crate) fn doing(&mut self, tid: Tid) -> Doing {
        with_port(tid, |port| {
            let info: libc::thread_basic_info = info(port, libc::THREAD_BASIC_INFO)?;
            Some(mach_answers::doing(info.run_state, call_of(port)))
        })
        .unwrap_or(Doing::Unknown)
    }

    pub(crate) fn close_unused(&mut self) {}

    pub(crate) fn close_all(&mut self) {}
}

/// The number and the first argument of the system call that a blocked thread is in, as it left them in its registers:
/// `ARM_THREAD_STATE64` (XNU `osfmk/mach/arm/thread_status.h`).
#[cfg(target_arch = "aarch64")]
fn call_of(port: mach_port_t) -> Option<(u64, u64)> {
    let state: libc::__darwin_arm_thread_state64 = registers(port, 6)?;
    Some((state.__x[16], state.__x[0]))
}

/// The same: `x86_THREAD_STATE64` (XNU `osfmk/mach/i386/thread_status.h`).
#[cfg(target_arch = "x86_64")]
fn call_of(port: mach_port_t) -> Option<(u64, u64)> {
    let state: libc::__darwin_x86_thread_state64 = registers(port, 4)?;
    Some((state.__rax, state.__rdi))
}

fn registers<T>(port: mach_port_t, flavor: libc::c_int) -> Option<T> {
    let mut state = std::mem::MaybeUninit::<T>::zeroed();
    let mut words = (size_of::<T>() / size_of::<u32>()) as u32;
    // SAFETY: the state has room for `words` words, and any value of them is valid.
    unsafe {
        let result = thread_get_state(port, flavor, state.as_mut_ptr().cast(), &raw mut words);
        (result == KERN_SUCCESS).then(|| state.assume_init())
    }
}

/// The name that thread `tid` has in the system, if it has one.
pub(crate) fn thread_comm(tid: Tid) -> Option<String> {
    let info: libc::thread_extended_info = with_port(tid, |port| info(port, libc::THREAD_EXTENDED_INFO))?;
    let bytes: Vec<u8> = info.pth_name.iter().map(|unit| *unit as u8).take_while(|byte| *byte != 0).collect();
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// A thread has no table of descriptors of its own here. The collector opens no file.
pub(crate) fn leave_descriptors() -> bool {
    false
}

/// The system has nothing of the kind.
pub(crate) fn prefer_short_slices() {}

/// How many threads the process has.
///
/// # Errors
/// None; the system tells a process of its own threads.
pub(crate) fn thread_count() -> io::Result<usize> {
    let threads = all_threads();
    threads.iter().for_each(|port| give_back(*port));
    Ok(threads.len())
}

/// Whether all threads of the process have exited but the calling one.
pub(crate) fn is_last_thread() -> bool {
    matches!(thread_count(), Ok(1))
}

/// What a signal says of where it comes from.
pub(crate) enum Sender {
    /// Never: no signal has a value here.
    #[expect(dead_code, reason = "Linux has it")]
    Carries(u64),
    /// It may be ours.
    Unsaid,
    /// Never.
    #[expect(dead_code, reason = "Linux has it")]
    Somebody,
}

/// Reads what a signal says of itself, which is nothing that tells ours from those of others. Handler-safe.
///
/// # Safety
/// `info` must be what an SA_SIGINFO handler was given.
pub(crate) unsafe fn sender(_info: *const libc::siginfo_t) -> Sender {
    Sender::Unsaid
}

/// Where the calling thread's errno is; handler-safe.
pub(crate) fn errno_location() -> *mut libc::c_int {
    // SAFETY: a plain question.
    unsafe { libc::__error() }
}

/// Whether the kernel raised a SIGSEGV or SIGBUS of that `si_code`, and nobody sent it. Handler-safe.
pub(crate) fn is_fault(code: libc::c_int) -> bool {
    code != SENT
}

/// Whether the same fault comes again when its handler returns; handler-safe.
pub(crate) fn comes_again(_signal: libc::c_int, code: libc::c_int) -> bool {
    is_fault(code)
}

/// Sends a signal to the calling thread once more; handler-safe.
///
/// # Safety
/// None here.
pub(crate) unsafe fn send_again(signal: libc::c_int, _info: *const libc::siginfo_t) {
    // SAFETY: plain calls.
    unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
}
