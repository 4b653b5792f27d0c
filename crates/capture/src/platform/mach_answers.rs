//! What the answers of macOS's kernel mean: plain decisions, tested on Linux too.

use std::time::Duration;

use super::Doing;

/// `TH_STATE_RUNNING` (XNU `osfmk/mach/thread_info.h`); all other states are of threads that do not run.
const RUNNING: i32 = 1;

/// `SYS_psynch_mutexwait` and `SYS_psynch_cvwait` (XNU `bsd/kern/syscalls.master`): a thread waits for a mutex or a condition
/// variable, whose address is the first argument. What CPython waits for its GIL with.
const MUTEX_WAIT: u64 = 301;
const CONDITION_WAIT: u64 = 305;

/// The class of a system call is in the number's upper byte on x86_64; this is that of the calls that Unix knows (XNU
/// `osfmk/mach/i386/syscall_sw.h`).
const UNIX_CLASS: u64 = 2 << 24;

/// What a thread does, by its state in the system and the registers with which it entered the kernel: the number of its
/// system call and the first argument.
pub(crate) fn doing(run_state: i32, call: Option<(u64, u64)>) -> Doing {
    if run_state == RUNNING {
        return Doing::Runs;
    }
    let lock = call.filter(|(number, _)| is_lock_wait(*number)).map(|(_, argument)| argument);
    Doing::Blocked { futex_address: lock }
}

/// Whether `number` is that of a system call that waits for a lock; handler-safe.
pub(crate) fn is_lock_wait(number: u64) -> bool {
    matches!(number & !UNIX_CLASS, MUTEX_WAIT | CONDITION_WAIT)
}

/// The result of a system call as Linux has it: the negative number of the error where the carry flag says that it failed.
/// Handler-safe.
pub(crate) fn result(value: u64, has_failed: bool) -> u64 {
    if has_failed { value.wrapping_neg() } else { value }
}

/// The sum of two times of a thread, of which the system gives seconds and microseconds, in ns.
pub(crate) fn cpu_ns(user: (i32, i32), system: (i32, i32)) -> u64 {
    let ns = |(seconds, microseconds): (i32, i32)| {
        u64::from(seconds.unsigned_abs()) * 1_000_000_000 + u64::from(microseconds.unsigned_abs()) * 1_000
    };
    ns(user) + ns(system)
}

/// A time as seconds and nanoseconds, at most as many seconds as the system takes.
pub(crate) fn seconds_and_ns(time: Duration) -> (u32, i32) {
    (u32::try_from(time.as_secs()).unwrap_or(u32::MAX), time.subsec_nanos() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_runs_whatever_its_registers_say() {
        assert_eq!(doing(1, Some((CONDITION_WAIT, 0x1234))), Doing::Runs);
    }

    #[test]
    fn every_other_state_is_blocked() {
        // Stopped, waiting, in an uninterruptible wait, halted.
        for state in 2..=5 {
            assert_eq!(doing(state, None), Doing::Blocked { futex_address: None });
            assert_eq!(doing(state, Some((3, 0x1234))), Doing::Blocked { futex_address: None });
        }
    }

    #[test]
    fn a_lock_is_known_by_the_call_of_either_processor() {
        let lock = Doing::Blocked { futex_address: Some(0x1234) };
        assert_eq!(doing(3, Some((305, 0x1234))), lock);
        assert_eq!(doing(3, Some((0x200_0000 | 301, 0x1234))), lock);
        // A Mach trap has a negative number.
        assert_eq!(doing(3, Some((-36_i64 as u64, 0x1234))), Doing::Blocked { futex_address: None });
    }

    #[test]
    fn an_error_is_negative() {
        assert_eq!(result(4, true) as i64, -4);
        assert_eq!(result(4, false), 4);
    }

    #[test]
    fn both_times_count() {
        assert_eq!(cpu_ns((1, 5), (2, 7)), 3_000_012_000);
        assert_eq!(cpu_ns((i32::MAX, 999_999), (0, 0)), 2_147_483_647_999_999_000);
    }

    #[test]
    fn a_time_is_cut_at_what_the_system_takes() {
        assert_eq!(seconds_and_ns(Duration::new(3, 999_999_999)), (3, 999_999_999));
        assert_eq!(seconds_and_ns(Duration::from_secs(1 << 40)), (u32::MAX, 0));
    }
}
