//! The system calls of Windows that the profiler needs, one safe function each.
//!
//! There are no signals, so nothing here runs on a thread of the program: [`crate::outside`] looks at threads that stand still.

use std::cell::OnceCell;
use std::io;
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rustc_hash::FxHashMap;
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::{
    CloseHandle, FILETIME, GetLastError, HANDLE, HLOCAL, INVALID_HANDLE_VALUE, LocalFree, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::LibraryLoader::GetModuleHandleW;
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::SystemInformation::{GetSystemTimePreciseAsFileTime, OSVERSIONINFOW};
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CreateWaitableTimerExW, GetCurrentProcess, GetCurrentProcessId,
    GetCurrentThread, GetCurrentThreadId, GetProcessIdOfThread, GetProcessTimes, GetThreadTimes, INFINITE, OpenThread,
    SetThreadPriority, SetWaitableTimer, THREAD_GET_CONTEXT, THREAD_PRIORITY_HIGHEST, THREAD_QUERY_INFORMATION,
    THREAD_SUSPEND_RESUME, THREAD_SYNCHRONIZE, TIMER_ALL_ACCESS, WaitForSingleObject,
};
use windows_sys::Win32::System::WindowsProgramming::{QueryProcessCycleTime, QueryThreadCycleTime};
use windows_sys::core::{HRESULT, PWSTR};
use windows_sys::w;

use crate::libraries::export;
pub(crate) use crate::libraries::symbol;

/// The system's id of a thread. It is a DWORD there, and a small one: ids come from a table of handles.
pub(crate) type Tid = i32;

/// Waits and times are told in these.
const NS_PER_TICK: u64 = 100;
/// From 1601 to 1970, in those ticks (Windows documentation of FILETIME).
const UNIX_EPOCH_TICKS: u64 = 116_444_736_000_000_000;

/// The system's handle of an object, closed when dropped.
#[derive(Debug)]
pub(crate) struct Handle(HANDLE);

// SAFETY: a handle is a number in the process's table, of use to every thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The handle's number, while `self` lives.
    pub(crate) fn raw(&self) -> HANDLE {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: ours, and closed once.
        unsafe { CloseHandle(self.0) };
    }
}

/// Monotonic time in ns: the performance counter, which `time.perf_counter_ns` reads too (Python 3.9 takes off what it was when
/// the interpreter began), as `time.monotonic_ns` does from Python 3.13 on.
pub(crate) fn monotonic_ns() -> u64 {
    static FREQUENCY: OnceLock<u64> = OnceLock::new();
    let frequency = *FREQUENCY.get_or_init(|| {
        let mut hz = 0i64;
        // SAFETY: writes one number; it cannot fail on any Windows that Rust supports (documentation of the function).
        unsafe { QueryPerformanceFrequency(&raw mut hz) };
        (hz as u64).max(1)
    });
    let mut ticks = 0i64;
    // SAFETY: as above.
    unsafe { QueryPerformanceCounter(&raw mut ticks) };
    (u128::from(ticks as u64) * 1_000_000_000 / u128::from(frequency)) as u64
}

/// Time since the epoch in ns.
pub(crate) fn realtime_ns() -> u64 {
    let mut time = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    // SAFETY: writes the time.
    unsafe { GetSystemTimePreciseAsFileTime(&raw mut time) };
    ticks(time).saturating_sub(UNIX_EPOCH_TICKS) * NS_PER_TICK
}

fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// Files that say what threads are doing: a thread that stands still says so itself.
#[derive(Debug, Default)]
pub(crate) struct TaskFiles {}

impl TaskFiles {
    pub(crate) fn kept() -> Self {
        Self {}
    }

    pub(crate) fn close_unused(&mut self) {}

    pub(crate) fn close_all(&mut self) {}
}

/// CPU time of the calling thread in ns.
pub(crate) fn own_cpu_ns() -> u64 {
    // SAFETY: a pseudo handle, which is valid always and not to be closed.
    cpu_ns(unsafe { GetCurrentThread() }).unwrap_or(0)
}

/// CPU time of the whole process in ns.
pub(crate) fn process_cpu_ns() -> u64 {
    let [mut created, mut exited, mut kernel, mut user] = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
    // SAFETY: a pseudo handle, and four times to write to.
    let known = unsafe {
        GetProcessTimes(GetCurrentProcess(), &raw mut created, &raw mut exited, &raw mut kernel, &raw mut user)
    };
    if known == 0 { 0 } else { (ticks(kernel) + ticks(user)) * NS_PER_TICK }
}

/// CPU time of thread `tid` of this process in ns, or `None` when there is no such thread any more.
pub(crate) fn thread_cpu_ns(tid: Tid) -> Option<u64> {
    with_thread(tid, cpu_ns)?
}

/// What is spent by the thread of `handle`, in ns.
fn cpu_ns(handle: HANDLE) -> Option<u64> {
    if let Some(rate) = cycles_per_ms() {
        let mut cycles = 0;
        // SAFETY: writes one number, or fails for a handle that is none.
        let known = unsafe { QueryThreadCycleTime(handle, &raw mut cycles) };
        return (known != 0).then(|| (u128::from(cycles) * 1_000_000 / u128::from(rate)) as u64);
    }
    let [mut created, mut exited, mut kernel, mut user] = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
    // SAFETY: four times to write to; a handle that is none is an error.
    let known = unsafe { GetThreadTimes(handle, &raw mut created, &raw mut exited, &raw mut kernel, &raw mut user) };
    (known != 0).then(|| (ticks(kernel) + ticks(user)) * NS_PER_TICK)
}

/// So long the two clocks are compared to find the rate of the cycles. Both are read within 100 ns: an error of 1 in 50,000.
const CALIBRATION: Duration = Duration::from_millis(5);
/// What the two accounts of the process's CPU time may differ by, beside a tenth: times grow in steps of the system's clock
/// tick, 15.6 ms, for each thread.
const ACCOUNT_TOLERANCE_NS: u64 = 200_000_000;

/// How many cycles a thread on CPU is charged with in a millisecond, where the system counts them and what it counts are cycles
/// of constant rate: that is exact, where times are kept in steps of 10 or 16 ms. `None` where only times are known.
pub(crate) fn cycles_per_ms() -> Option<u64> {
    static RATE: OnceLock<Option<u64>> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (mut cycles, mut own_cycles) = (0, 0);
        // SAFETY: pseudo handles and numbers to write to.
        let known = unsafe {
            QueryProcessCycleTime(GetCurrentProcess(), &raw mut cycles) != 0
                && QueryThreadCycleTime(GetCurrentThread(), &raw mut own_cycles) != 0
        };
        if !known {
            return None;
        }
        let (began_ns, began_cycles) = (monotonic_ns(), time_stamp());
        std::thread::sleep(CALIBRATION);
        let (ended_ns, ended_cycles) = (monotonic_ns(), time_stamp());
        let rate = rate_per_ms(ended_cycles.wrapping_sub(began_cycles), ended_ns.wrapping_sub(began_ns))?;
        let counted_ns = (u128::from(cycles) * 1_000_000 / u128::from(rate)) as u64;
        agrees(counted_ns, process_cpu_ns()).then_some(rate)
    })
}

fn time_stamp() -> u64 {
    // SAFETY: the instruction is there on every x86_64.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Cycles in a millisecond; `None` where none went by.
fn rate_per_ms(cycles: u64, elapsed_ns: u64) -> Option<u64> {
    let rate = u128::from(cycles) * 1_000_000 / u128::from(elapsed_ns.max(1));
    u64::try_from(rate).ok().filter(|rate| *rate > 0)
}

/// Whether what was counted in cycles is what was counted in time, as far as that goes.
fn agrees(counted_ns: u64, timed_ns: u64) -> bool {
    counted_ns.abs_diff(timed_ns) <= timed_ns / 10 + ACCOUNT_TOLERANCE_NS
}

/// The calling thread's id.
pub(crate) fn own_tid() -> Tid {
    // SAFETY: only asks.
    (unsafe { GetCurrentThreadId() }) as Tid
}

/// What `threading.get_ident()` gives for the calling thread (`Python/thread_nt.h`).
pub(crate) fn own_python_id() -> u64 {
    own_tid() as u64
}

/// The id of the first thread of the process: the one that is the oldest. Found out once, for the system lists the threads
/// of all processes. 0, no thread's id, where it does not say.
pub(crate) fn main_tid() -> Tid {
    static MAIN: OnceLock<Tid> = OnceLock::new();
    *MAIN.get_or_init(|| own_threads().into_iter().min_by_key(|tid| created_ticks(*tid)).unwrap_or(0))
}

/// The threads of this process, all of them.
pub(crate) fn own_threads() -> Vec<Tid> {
    // SAFETY: only asks.
    let own = unsafe { GetCurrentProcessId() };
    all_threads().into_iter().filter(|(_, process)| *process == own).map(|(tid, _)| tid).collect()
}

/// The threads of all processes, each with its process's id.
fn all_threads() -> Vec<(Tid, u32)> {
    let mut threads = Vec::new();
    // SAFETY: only asks; the handle is closed when dropped.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return threads;
    }
    let snapshot = Handle(snapshot);
    // SAFETY: all-zero is a valid entry, which says how large it is and is filled in by the calls.
    unsafe {
        let mut entry: THREADENTRY32 = std::mem::zeroed();
        entry.dwSize = size_of::<THREADENTRY32>() as u32;
        let mut found = Thread32First(snapshot.raw(), &raw mut entry);
        while found != 0 {
            threads.push((entry.th32ThreadID as Tid, entry.th32OwnerProcessID));
            found = Thread32Next(snapshot.raw(), &raw mut entry);
        }
    }
    threads
}

/// When the thread was made; the end of time where the system does not say.
fn created_ticks(tid: Tid) -> u64 {
    let Some(handle) = open(tid) else { return u64::MAX };
    let [mut created, mut exited, mut kernel, mut user] = [FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 }; 4];
    // SAFETY: a handle of ours, and four times to write to.
    let known =
        unsafe { GetThreadTimes(handle.raw(), &raw mut created, &raw mut exited, &raw mut kernel, &raw mut user) };
    if known == 0 { u64::MAX } else { ticks(created) }
}

/// Handles of the threads that were asked about, until [`forget_thread`]. One that is held keeps the id from being given to another
/// thread, which Windows does soon.
static THREADS: Mutex<Option<FxHashMap<Tid, Handle>>> = Mutex::new(None);

fn threads() -> MutexGuard<'static, Option<FxHashMap<Tid, Handle>>> {
    THREADS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A handle of thread `tid`, if it is one of this process.
fn open(tid: Tid) -> Option<Handle> {
    let rights = THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_QUERY_INFORMATION | THREAD_SYNCHRONIZE;
    // SAFETY: only asks; an id that is nobody's is an error.
    let handle = unsafe { OpenThread(rights, 0, tid as u32) };
    let handle = (!handle.is_null()).then(|| Handle(handle))?;
    // Ids are of the whole system: that of a thread that has ended is soon given to one of any process.
    // SAFETY: a handle of ours, and only asks.
    unsafe { GetProcessIdOfThread(handle.raw()) == GetCurrentProcessId() }.then_some(handle)
}

/// Whether the system lets thread `tid` be looked at.
pub(crate) fn can_be_opened(tid: Tid) -> bool {
    open(tid).is_some()
}

/// What `ask` says of thread `tid` of this process, which lives; `None` where it does not.
pub(crate) fn with_thread<T>(tid: Tid, ask: impl FnOnce(HANDLE) -> T) -> Option<T> {
    let mut threads = threads();
    let threads = threads.get_or_insert_default();
    let handle = match threads.entry(tid) {
        std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::hash_map::Entry::Vacant(place) => place.insert(open(tid)?),
    };
    // SAFETY: a handle of ours; a thread is signaled once it has ended.
    let lives = unsafe { WaitForSingleObject(handle.raw(), 0) } == WAIT_TIMEOUT;
    lives.then(|| ask(handle.raw()))
}

/// Nobody will ask about thread `tid` any more: its id may be another's.
pub(crate) fn forget_thread(tid: Tid) {
    if let Some(threads) = threads().as_mut() {
        threads.remove(&tid);
    }
}

/// Closes the handles that [`with_thread`] keeps.
pub(crate) fn let_go_of_threads() {
    *threads() = None;
}

/// A timer that interrupts a thread: there is none on Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(pub(crate) i32);

/// No thread is interrupted here: each stays parked, and the collector looks at it once an interval.
pub(crate) const HAS_TICKS: bool = false;

/// A thread whose CPU clock shows what it showed before may have run meanwhile: where only times are known, they grow in steps.
pub(crate) const CLOCK_SHOWS_REST: bool = false;

/// As no thread can be interrupted, it has no timer.
pub(crate) fn create_timer(_tid: Tid, _value: u64) -> io::Result<TimerId> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As there is no timer, it cannot be set.
pub(crate) fn arm_timer(_timer: TimerId, _deadline_ns: u64) -> bool {
    false
}

/// As there is no timer, there is nothing to remove.
pub(crate) fn delete_timer(_timer: TimerId) {}

/// Nothing can be sent to a thread.
pub(crate) fn send_tick(_tid: Tid, _value: u64) -> bool {
    false
}

/// Who sleeps in [`wait_while_equal`]: the address of the word, and the timer that ends the sleep.
static SLEEPERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn sleepers() -> MutexGuard<'static, Vec<(usize, usize)>> {
    SLEEPERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

thread_local! {
    /// The calling thread's timer; it goes with the thread.
    #[allow(clippy::missing_const_for_thread_local, reason = "the const is there; on targets with emulated thread-local storage clippy does not see it")]
    static TIMER: OnceCell<Option<Handle>> = const { OnceCell::new() };
}

/// A timer that is exact to half a millisecond where the system has such (Windows 10 1803 and later), to its clock tick elsewhere.
fn make_timer() -> Option<Handle> {
    [CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, 0].into_iter().find_map(|flags| {
        // SAFETY: no name and no attributes; flags that are not known are an error.
        let timer = unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), flags, TIMER_ALL_ACCESS) };
        (!timer.is_null()).then(|| Handle(timer))
    })
}

fn set_timer(timer: HANDLE, time: Duration) -> bool {
    // Negative is from now on; 0 would be a time long past, which is at once as well.
    let due = -i64::try_from(time.as_nanos() / u128::from(NS_PER_TICK)).unwrap_or(i64::MAX);
    // SAFETY: a timer of ours, a number to read, and no function to call.
    unsafe { SetWaitableTimer(timer, &raw const due, 0, None, ptr::null(), 0) != 0 }
}

/// Sleeps while `word` is `value`, for `time` at most.
pub(crate) fn wait_while_equal(word: &AtomicU32, value: u32, time: Duration) {
    TIMER.with(|timer| {
        let Some(timer) = timer.get_or_init(make_timer) else {
            // No handle is to be had: a short sleep, so that nobody waits long for us.
            return std::thread::sleep(time.min(Duration::from_millis(10)));
        };
        let place = (word.as_ptr() as usize, timer.raw() as usize);
        {
            let mut sleepers = sleepers();
            if word.load(Ordering::SeqCst) != value || !set_timer(timer.raw(), time) {
                return;
            }
            sleepers.push(place);
        }
        // SAFETY: a timer of ours, which is set.
        unsafe { WaitForSingleObject(timer.raw(), INFINITE) };
        sleepers().retain(|other| *other != place);
    });
}

/// Wakes the thread that sleeps in [`wait_while_equal`].
pub(crate) fn wake_waiter(word: &AtomicU32) {
    let word = word.as_ptr() as usize;
    for (_, timer) in sleepers().iter().filter(|(other, _)| *other == word) {
        // While it is in the list the timer is not closed.
        set_timer(*timer as HANDLE, Duration::ZERO);
    }
}

type GetThreadDescription = unsafe extern "system" fn(HANDLE, *mut PWSTR) -> HRESULT;

/// The function that tells threads' names. Windows Server 2016 and Windows 10 1607 have it in this library alone, where it is to be
/// looked up (Windows documentation of the function): an extension that imports it from another is not loaded there.
fn get_thread_description() -> Option<GetThreadDescription> {
    static FOUND: OnceLock<Option<GetThreadDescription>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: a library that every process has and keeps, and the type of the function of that name.
        unsafe {
            let library = GetModuleHandleW(w!("kernelbase.dll"));
            let found = export(library as usize, c"GetThreadDescription");
            (!found.is_null()).then(|| transmute::<*const (), GetThreadDescription>(found))
        }
    })
}

/// The name that was given to thread `tid` in the system, if any (Windows 10 1607 and later).
pub(crate) fn thread_comm(tid: Tid) -> Option<String> {
    let get_thread_description = get_thread_description()?;
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: a handle of ours; the system allocates the text, which ends in 0 and is ours to free.
    let name = with_thread(tid, |handle| unsafe {
        if get_thread_description(handle, &raw mut text) < 0 || text.is_null() {
            return String::new();
        }
        let length = (0..).take_while(|index| *text.add(*index) != 0).count();
        let name = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text as HLOCAL);
        name
    })?;
    (!name.is_empty()).then_some(name)
}

/// A handle is no descriptor: files of ours are not among the program's.
pub(crate) fn leave_descriptors() -> bool {
    true
}

/// Asks that the calling thread, which runs for microseconds at a time, need not wait until another has used up its slice.
pub(crate) fn prefer_short_slices() {
    // SAFETY: a pseudo handle. Where it is refused nothing changes.
    unsafe { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_HIGHEST) };
}

/// `Windows-10.0.19045-AMD64`: as `platform.platform()` has it, but for the edition.
pub(crate) fn system_name() -> String {
    // SAFETY: all-zero is a valid structure, which says how large it is; the call fills it in and cannot fail.
    let version = unsafe {
        let mut version: OSVERSIONINFOW = std::mem::zeroed();
        version.dwOSVersionInfoSize = size_of::<OSVERSIONINFOW>() as u32;
        RtlGetVersion(&raw mut version);
        version
    };
    format!("Windows-{}.{}.{}-AMD64", version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber)
}

/// A process of Windows ends when its first thread returns: nobody is left behind.
pub(crate) fn is_last_thread() -> bool {
    false
}

/// There are no signals that a new thread could get.
pub(crate) struct AllSignalsBlocked;

impl AllSignalsBlocked {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// Why the last call of the calling thread failed.
pub(crate) fn last_error() -> io::Error {
    // SAFETY: only asks.
    io::Error::from_raw_os_error(unsafe { GetLastError() } as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_thread_is_its_own_clock() {
        let before = own_cpu_ns();
        let asked = thread_cpu_ns(own_tid()).expect("this thread lives");
        let after = own_cpu_ns();
        assert!(before <= asked && asked <= after, "{before} {asked} {after}");
    }

    /// The id of a thread that was asked about and has ended.
    fn tid_of_ended_thread() -> Tid {
        let (ask, answer) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            ask.send(own_tid()).expect("the test listens");
            let _ = wait.recv();
        });
        let tid = answer.recv().expect("the thread sends");
        assert!(thread_cpu_ns(tid).is_some());
        drop(done);
        thread.join().expect("the thread ends");
        while thread_cpu_ns(tid).is_some() {
            std::thread::yield_now();
        }
        tid
    }

    #[test]
    fn an_id_is_no_others_until_it_is_forgotten() {
        let tid = tid_of_ended_thread();
        assert!(can_be_opened(tid), "it is nobody's, and the system knows it still");
        forget_thread(tid);
    }

    #[test]
    fn threads_of_other_processes_are_left_alone() {
        // SAFETY: only asks.
        let own = unsafe { GetCurrentProcessId() };
        let theirs: Vec<Tid> =
            all_threads().into_iter().filter(|(_, process)| *process != own).map(|(tid, _)| tid).collect();
        assert!(!theirs.is_empty());
        for tid in theirs {
            // Other tests run beside this one, and a new thread of theirs may have the id of one that has ended meanwhile.
            assert!(with_thread(tid, |_| ()).is_none() || own_threads().contains(&tid), "{tid}");
        }
        assert_eq!(with_thread(own_tid(), |_| ()), Some(()));
    }

    #[test]
    fn a_thread_has_the_name_that_it_was_given() {
        let named = std::thread::Builder::new().name("a näme".to_owned());
        let thread = named.spawn(|| thread_comm(own_tid())).expect("a thread");
        assert_eq!(thread.join().expect("it ends").as_deref(), Some("a näme"));
    }

    #[test]
    fn the_first_thread_is_one_of_ours_and_not_this_one() {
        let main = main_tid();
        assert!(own_threads().contains(&main));
        // Tests run on threads that were made later.
        assert_ne!(main, own_tid());
    }

    #[test]
    fn cycles_are_counted_by_the_millisecond() {
        assert_eq!(rate_per_ms(15_000_000, 5_000_000), Some(3_000_000));
        assert_eq!(rate_per_ms(0, 5_000_000), None);
        assert!(rate_per_ms(1, 0).is_some(), "no division by nothing");
    }

    #[test]
    fn an_account_in_cycles_must_be_that_in_time() {
        assert!(agrees(1_000_000_000, 1_050_000_000));
        assert!(agrees(0, 100_000_000));
        assert!(!agrees(2_000_000_000, 1_000_000_000), "a processor that changes its rate");
        assert!(!agrees(1_000_000_000, 2_000_000_000));
    }

    #[test]
    fn the_system_has_a_name() {
        assert!(system_name().starts_with("Windows-"), "{}", system_name());
    }

    #[test]
    fn time_goes_on() {
        let before = monotonic_ns();
        let word = AtomicU32::new(0);
        wait_while_equal(&word, 0, Duration::from_millis(3));
        assert!(monotonic_ns() - before >= 2_500_000);
        wait_while_equal(&word, 1, Duration::from_secs(600));
    }
}
