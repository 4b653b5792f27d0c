//! What this system allows, found out by asking for it: the facts behind `spprof doctor`.

use crate::disposition;
use crate::platform::{self, Doing, TaskFiles};

/// The outcome.
#[derive(Debug, Default)]
pub struct Examination {
    /// Topic and finding, one sentence each.
    pub findings: Vec<(&'static str, String)>,
    /// What stands in the way of profiling.
    pub problems: Vec<String>,
}

/// Asks the system for what a session needs, and gives it back at once.
pub fn examine_system() -> Examination {
    let mut outcome = Examination::default();
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
    outcome
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

/// Name, release and machine of the system, as `uname(2)` has them.
pub fn system_name() -> String {
    platform::system_name()
}
