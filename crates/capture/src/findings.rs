//! What a system with signals allows.

use crate::disposition;
use crate::examination::Examination;
use crate::platform::{self, Doing, TaskFiles};

/// Asks the system for what a session needs, and gives it back at once.
pub(crate) fn add_to(outcome: &mut Examination) {
    let tid = platform::own_tid();
    let timers = match platform::create_timer(tid, 0) {
        Ok(timer) => {
            platform::delete_timer(timer);
            "each thread on CPU gets a timer of its own".to_owned()
        }
        Err(error) => {
            format!("no timers ({error}): ticks come from the profiler's own thread and cost about twice as much")
        }
    };
    outcome.findings.push(("timers", timers));
    outcome.findings.push(("SIGPROF", owner(libc::SIGPROF, "its handler is called for the signals that are not ours")));
    outcome.findings.push(("SIGSEGV", owner(libc::SIGSEGV, "its handler is called for the faults that are not ours")));
    outcome.findings.push(("SIGTERM", owner(libc::SIGTERM, "the profile is saved by atexit, if the program exits")));
    match platform::thread_count() {
        Ok(threads) => outcome.findings.push(("threads", format!("{threads} in this process"))),
        Err(error) => outcome.findings.push((
            "threads",
            format!("/proc cannot be read ({error}): threads without a Python name are shown by number"),
        )),
    }
    outcome.findings.push(("blocked threads", blocked_threads(TaskFiles::default().doing(tid)).to_owned()));
    if let Some(lacks) = platform::LACKS {
        outcome.findings.push(("system", lacks.to_owned()));
    }
    if platform::thread_cpu_ns(tid).is_none() {
        outcome
            .problems
            .push("The system does not give the CPU time of threads, so nothing could be weighed.".to_owned());
    }
}

/// What an answer about a thread that runs, the calling one, means for those that do not.
fn blocked_threads(own: Doing) -> &'static str {
    match own {
        Doing::Runs => "are looked at from outside and never interrupted",
        Doing::Blocked { .. } | Doing::Unknown => {
            "cannot be told from those that run: one that wakes and waits again is interrupted for each sample"
        }
    }
}

fn owner(signal: libc::c_int, otherwise: &str) -> String {
    match disposition::current(signal) {
        Err(error) => format!("cannot be asked about ({error})"),
        Ok(action) if action.sa_sigaction == libc::SIG_DFL => "free".to_owned(),
        Ok(action) if action.sa_sigaction == libc::SIG_IGN => "ignored by the program".to_owned(),
        Ok(_) => format!("taken by the program; {otherwise}"),
    }
}
