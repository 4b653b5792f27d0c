//! The system calls of Linux that the profiler needs, one safe function each.
//!
//! Functions marked *handler-safe* only make a system call or read the vDSO.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::posix::{clock_ns, pid};

/// The kernel's id of a thread.
pub(crate) type Tid = i32;

/// `CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED` (Linux `include/linux/posix-timers_types.h`): the low bits of a clock id
/// that names another thread's CPU clock.
const PER_THREAD_CPU_CLOCK: i32 = 4 | 2;

/// The `si_code` of signals that the collector sends. A code that is not negative would keep the signal's value even at
/// RLIMIT_SIGPENDING 0, but a thread may send one to itself only (Linux `kernel/signal.c`, `do_rt_tgsigqueueinfo`).
pub(crate) const SENT_BY_SAMPLER: i32 = libc::SI_QUEUE;

/// What no system of this kind can do, for `spprof doctor`.
pub(crate) const LACKS: Option<&str> = None;

/// Monotonic time in ns; handler-safe.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// CPU time of thread `tid` of this process in ns, or `None` when there is no such thread any more.
pub(crate) fn thread_cpu_ns(tid: Tid) -> Option<u64> {
    clock_ns((!tid << 3) | PER_THREAD_CPU_CLOCK)
}

/// The calling thread's kernel id.
pub(crate) fn own_tid() -> Tid {
    // SAFETY: a plain system call.
    unsafe { libc::syscall(libc::SYS_gettid) as Tid }
}

/// The id of the thread that the process began with.
pub(crate) fn main_tid() -> Tid {
    pid()
}

/// A one-shot kernel timer that signals one thread. The kernel's ids begin at 0, so absence is `Option`, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(pub(crate) i32);

/// Makes a timer on CLOCK_MONOTONIC that sends SIGPROF with `value` to thread `tid` of this process.
///
/// # Errors
/// What `timer_create(2)` says: EAGAIN where RLIMIT_SIGPENDING allows no more, EINVAL where `tid` is not ours.
pub(crate) fn create_timer(tid: Tid, value: u64) -> io::Result<TimerId> {
    // SAFETY: all-zero is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_value = libc::sigval { sival_ptr: value as *mut libc::c_void };
    event.sigev_signo = libc::SIGPROF;
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_notify_thread_id = tid;
    let mut id: libc::c_int = 0;
    // SAFETY: both pointers are valid for the call; the kernel's timer_t is an int.
    let result = unsafe { libc::syscall(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut id) };
    if result == 0 { Ok(TimerId(id)) } else { Err(io::Error::last_os_error()) }
}

/// Sets `timer` to fire once at `deadline_ns` of the monotonic clock (at once if that is past; never if 0). Handler-safe.
pub(crate) fn arm_timer(timer: TimerId, deadline_ns: u64) -> bool {
    let setting = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec {
            tv_sec: (deadline_ns / 1_000_000_000) as _,
            tv_nsec: (deadline_ns % 1_000_000_000) as libc::c_long,
        },
    };
    // SAFETY: `setting` is valid for the call; a timer that is gone is an error, not undefined.
    let result = unsafe {
        libc::syscall(
            libc::SYS_timer_settime,
            timer.0,
            libc::TIMER_ABSTIME,
            &raw const setting,
            std::ptr::null_mut::<libc::itimerspec>(),
        )
    };
    result == 0
}

/// Sleeps while `word` is `value`, for `time` at most.
pub(crate) fn wait_while_equal(word: &AtomicU32, value: u32, time: Duration) {
    let time = libc::timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() };
    // SAFETY: the kernel reads the word and the time, which outlive the call. A sleep that is over for another reason is one
    // that was too short.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            value,
            &raw const time,
        );
    }
}

/// Wakes the thread that sleeps in [`wait_while_equal`]. Handler-safe: a system call, of which errno is all that is left.
pub(crate) fn wake_waiter(word: &AtomicU32) {
    // SAFETY: the kernel only takes the word's address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

/// Removes `timer`.
pub(crate) fn delete_timer(timer: TimerId) {
    // SAFETY: a plain system call with an integer.
    unsafe { libc::syscall(libc::SYS_timer_delete, timer.0) };
}

/// Sends SIGPROF with `value` to thread `tid`: the way for a thread that could not be given a timer. Where RLIMIT_SIGPENDING
/// leaves no room the signal arrives all the same, but bare: as if by `kill`, from process 0 and without the value
/// (Linux `kernel/signal.c`, `__send_signal_locked` and `collect_signal`).
pub(crate) fn send_tick(tid: Tid, value: u64) -> bool {
    /// The head of the kernel's `siginfo_t` for a signal with a value, padded to its 128 bytes.
    #[repr(C)]
    struct SignalInfo {
        signal: i32,
        errno: i32,
        code: i32,
        padding: i32,
        pid: i32,
        uid: u32,
        value: u64,
        rest: [u64; 12],
    }
    let info = SignalInfo {
        signal: libc::SIGPROF,
        errno: 0,
        code: SENT_BY_SAMPLER,
        padding: 0,
        pid: pid(),
        uid: 0,
        value,
        rest: [0; 12],
    };
    // SAFETY: `info` is a whole `siginfo_t` of 128 bytes; the rest are integers.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid(), tid, libc::SIGPROF, &raw const info) == 0 }
}

/// What the system says a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It runs, or would if it had a processor.
    Runs,
    /// It is blocked; in a futex call, on the word at that address.
    Blocked { futex_address: Option<u64> },
    /// The system does not say.
    Unknown,
}

/// The file that says what thread `tid` of this process is doing (proc(5), `/proc/pid/syscall`; Linux `fs/proc/base.c`,
/// `proc_pid_syscall`: a process may always look at its own threads).
pub(super) fn open_doing(tid: Tid) -> io::Result<File> {
    File::open(format!("/proc/self/task/{tid}/syscall"))
}

/// What it says now; `None` when the thread has ended, whoever has its id now. It is made anew for each read that begins at
/// its start (Linux `fs/seq_file.c`, `seq_read_iter`), and belongs to the thread it was opened for, not to the id
/// (`fs/proc/base.c`, `proc_single_show`).
pub(super) fn read_doing(file: &File) -> Option<Doing> {
    // Nine numbers of up to 18 digits, each with a space.
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    Some(parse_doing(text))
}

/// How many descriptors the process may have open, as the program has it now.
pub(super) fn soft_descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place to write to.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { 0 }
}

/// `running`, or the number of the system call, its arguments, the stack pointer and the program counter; the number is -1
/// for a thread that is blocked outside a system call, by a page fault for instance.
fn parse_doing(text: &str) -> Doing {
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else { return Doing::Unknown };
    if first == "running" {
        return Doing::Runs;
    }
    let Ok(number) = first.parse::<i64>() else { return Doing::Unknown };
    let argument = words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    Doing::Blocked { futex_address: argument.filter(|_| number == libc::SYS_futex) }
}

/// The name the kernel has for thread `tid`, if it is there and can be read.
pub(crate) fn thread_comm(tid: Tid) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/self/task/{tid}/comm")).ok()?;
    let name = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
    (!name.is_empty()).then_some(name)
}

/// Gives the calling thread a table of descriptors of its own, and an empty one. Files that it opens then neither take a
/// number that the program has just freed nor close one that it has put there meanwhile, and nothing that the program
/// closes is held open. `false` where the system cannot do it (before Linux 5.9) or a sandbox does not let it.
pub(crate) fn leave_descriptors() -> bool {
    // SAFETY: a plain system call with integers; the calling thread has no descriptor of its own yet.
    unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) == 0 }
}

/// Asks that the calling thread, which runs for microseconds at a time, need not wait until another has used up its slice: it is
/// to look at threads at the time it wakes, not at the time they stop (Linux 6.12 and later, `kernel/sched/fair.c`,
/// `PREEMPT_SHORT`). Nothing changes where the system does not know it, or does not allow it.
pub(crate) fn prefer_short_slices() {
    /// `struct sched_attr` up to the field that matters (`include/uapi/linux/sched/types.h`, `SCHED_ATTR_SIZE_VER0`).
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime_ns: u64,
        deadline_ns: u64,
        period_ns: u64,
    }
    /// The shortest slice that the system gives.
    const SLICE_NS: u64 = 100_000;
    let size = size_of::<Attributes>() as u32;
    let mut attributes = Attributes::default();
    // SAFETY: 0 is the calling thread; the kernel writes as many bytes as it is told there are.
    let asked = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if asked == 0 && attributes.policy == libc::SCHED_OTHER as u32 {
        attributes.runtime_ns = SLICE_NS;
        // SAFETY: as above; the kernel only reads.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

/// Whether all threads of the process have exited but the calling one. The process would be over, were it not for that:
/// its first thread may exit before the others, and stays as a zombie then. `false` where the system does not say.
pub(crate) fn is_last_thread() -> bool {
    let has_exited = |tid: Tid| {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
        stat.is_ok_and(|text| is_state_of_exited(&text))
    };
    if !has_exited(pid()) {
        return false;
    }
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return false };
    let own = own_tid();
    tasks.flatten().all(|task| {
        let tid = task.file_name().to_str().and_then(|name| name.parse().ok());
        // One that has no file any more has been taken down since it was listed.
        tid.is_none_or(|tid: Tid| tid == own || has_exited(tid) || thread_cpu_ns(tid).is_none())
    })
}

/// `/proc/pid/stat` is the id, the name in parentheses (which may hold anything), and the state as a letter.
fn is_state_of_exited(stat: &str) -> bool {
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// What a signal says of where it comes from.
pub(crate) enum Sender {
    /// A timer, or somebody who sent this value along.
    Carries(u64),
    /// The system had no room for what belongs to it (RLIMIT_SIGPENDING).
    Unsaid,
    /// Somebody, without a value.
    Somebody,
}

/// Reads what a signal says of itself; handler-safe.
///
/// # Safety
/// `info` must be what an SA_SIGINFO handler was given.
pub(crate) unsafe fn sender(info: *const libc::siginfo_t) -> Sender {
    // SAFETY: promised by the caller. Signals of timers and queued ones carry a value, others a sender (sigaction(2)).
    let (code, value, sender) = unsafe { ((*info).si_code, (*info).si_value().sival_ptr as u64, (*info).si_pid()) };
    match code {
        libc::SI_TIMER | SENT_BY_SAMPLER => Sender::Carries(value),
        libc::SI_USER if sender == 0 => Sender::Unsaid,
        _ => Sender::Somebody,
    }
}

/// Where the calling thread's errno is; handler-safe: glibc and musl keep it in initial-exec thread storage.
pub(crate) fn errno_location() -> *mut libc::c_int {
    // SAFETY: a plain question.
    unsafe { libc::__errno_location() }
}

/// Memory that broke somewhere, of no instruction in particular (Linux `include/uapi/asm-generic/siginfo.h`): the one fault
/// of the kernel's that does not come again when its handler returns.
const BUS_MCEERR_AO: libc::c_int = 5;

/// Whether the kernel raised a SIGSEGV or SIGBUS of that `si_code`, and nobody sent it. Handler-safe.
pub(crate) fn is_fault(code: libc::c_int) -> bool {
    code > 0
}

/// Whether the same fault comes again when its handler returns; handler-safe.
pub(crate) fn comes_again(signal: libc::c_int, code: libc::c_int) -> bool {
    is_fault(code) && (signal != libc::SIGBUS || code != BUS_MCEERR_AO)
}

/// Sends a signal to the calling thread once more, as it was: a process may send itself any code. Handler-safe.
///
/// # Safety
/// `info` must be what an SA_SIGINFO handler was given.
pub(crate) unsafe fn send_again(signal: libc::c_int, info: *const libc::siginfo_t) {
    // SAFETY: a plain system call with integers, and the kernel's own `siginfo_t`.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid(), own_tid(), signal, info) };
}

/// How many threads the process has.
///
/// # Errors
/// What reading `/proc` says.
pub(crate) fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::own_cpu_ns;

    #[test]
    fn the_clock_of_a_thread_is_its_own_clock() {
        let before = own_cpu_ns();
        let asked = thread_cpu_ns(own_tid()).expect("this thread lives");
        let after = own_cpu_ns();
        assert!(before <= asked && asked <= after, "{before} {asked} {after}");
    }

    #[test]
    fn a_thread_that_is_gone_has_no_clock() {
        let tid = std::thread::spawn(own_tid).join().expect("the thread ends");
        // The kernel may still be taking it down when join returns.
        while thread_cpu_ns(tid).is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_the_system_says_of_a_thread() {
        assert_eq!(parse_doing("running\n"), Doing::Runs);
        assert_eq!(parse_doing("-1 0x7ffc 0x7f00\n"), Doing::Blocked { futex_address: None });
        let futex = format!("{} 0x7f1c 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd 0x7f1d\n", libc::SYS_futex);
        assert_eq!(parse_doing(&futex), Doing::Blocked { futex_address: Some(0x7f1c) });
        let read = format!("{} 0x3 0x7f1c 0x400 0x0 0x0 0x0 0x7ffd 0x7f1d\n", libc::SYS_read);
        assert_eq!(parse_doing(&read), Doing::Blocked { futex_address: None });
        assert_eq!(parse_doing(""), Doing::Unknown);
        assert_eq!(parse_doing("0\n"), Doing::Blocked { futex_address: None });
    }

    #[test]
    fn a_thread_with_its_own_descriptors_shares_none() {
        let shared = std::fs::File::open("/dev/null").expect("it is there");
        let number = std::os::fd::AsRawFd::as_raw_fd(&shared);
        // SAFETY: only asks.
        let is_open = move || unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
        let outcome = std::thread::spawn(move || (leave_descriptors(), is_open())).join().expect("the thread ends");
        assert_eq!(outcome, (true, false));
        assert!(is_open(), "the others keep theirs");
    }

    #[test]
    fn the_state_of_a_thread_behind_any_name() {
        assert!(is_state_of_exited("17 (python) Z 1 17 17"));
        assert!(is_state_of_exited("17 (a) R (b)) X 1"));
        assert!(!is_state_of_exited("17 (Z) S 1"));
        assert!(!is_state_of_exited(""));
        assert!(!is_last_thread(), "the test's own threads live");
    }

    #[test]
    fn no_timer_for_somebody_else_s_thread() {
        assert!(create_timer(1, 0).is_err(), "thread 1 is not of this process");
    }

    #[test]
    fn timers_come_and_go() {
        let timer = create_timer(own_tid(), 0).expect("a timer");
        assert!(arm_timer(timer, 0));
        delete_timer(timer);
        assert!(!arm_timer(timer, 0), "it is gone");
    }

    #[test]
    fn the_signal_info_is_as_large_as_the_kernel_s() {
        assert_eq!(std::mem::size_of::<libc::siginfo_t>(), 128);
    }
}
