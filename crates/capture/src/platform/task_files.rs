//! What threads are doing, asked of files that stay open.
//!
//! Opening `/proc/self/task/TID/syscall` costs several times what reading it does, and a thread that waits for the GIL by turns
//! is asked about once an interval. So the collector keeps the files open in the table of descriptors of its own, a bounded
//! number of them, and only while they are in use.

use std::fs::File;
use std::io;

use rustc_hash::FxHashMap;

use super::linux::{Doing, Tid, open_doing, read_doing, soft_descriptor_limit};

/// Files that stay open at most. The kernel holds some 5 KiB for each.
const MAX_FILES: usize = 64;

/// The files of threads. Whatever is open is in the table of the thread that uses this, and must be dropped there.
#[derive(Default)]
pub(crate) struct TaskFiles {
    open: FxHashMap<Tid, TaskFile>,
    may_keep: bool,
    max_files: usize,
}

struct TaskFile {
    file: File,
    /// Since the last [`TaskFiles::close_unused`].
    is_used: bool,
}

impl TaskFiles {
    /// Of a thread that has a table of descriptors of its own. Without, as by default, no file stays open: it would stand
    /// among the program's.
    pub(crate) fn kept() -> Self {
        Self { may_keep: true, max_files: room(), ..Self::default() }
    }

    /// Asks the system what thread `tid` of this process is doing.
    pub(crate) fn doing(&mut self, tid: Tid) -> Doing {
        if let Some(task) = self.open.get_mut(&tid) {
            task.is_used = true;
            if let Some(doing) = read_doing(&task.file) {
                return doing;
            }
            // The thread has ended, and the system may have given its id to another.
            self.open.remove(&tid);
        }
        let Ok(file) = self.open_file(tid) else { return Doing::Unknown };
        let doing = read_doing(&file);
        if doing.is_some() && self.open.len() < self.max_files {
            self.open.insert(tid, TaskFile { file, is_used: true });
        }
        doing.unwrap_or(Doing::Unknown)
    }

    fn open_file(&mut self, tid: Tid) -> io::Result<File> {
        let is_full = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        match open_doing(tid) {
            Err(error) if is_full(&error) && !self.open.is_empty() => {
                self.close_all();
                open_doing(tid)
            }
            result => result,
        }
    }

    /// Closes the files that were not used since the last time, of threads that have ended for instance; all of them if the
    /// process may not have as many any more.
    pub(crate) fn close_unused(&mut self) {
        if self.may_keep {
            self.max_files = room();
        }
        if self.open.len() > self.max_files {
            self.close_all();
        }
        self.open.retain(|_, task| std::mem::replace(&mut task.is_used, false));
    }

    /// Closes all files.
    pub(crate) fn close_all(&mut self) {
        self.open = FxHashMap::default();
    }
}

/// How many may stay open. Half of what the process may have is left to what else the collector reads and writes.
fn room() -> usize {
    MAX_FILES.min(soft_descriptor_limit() / 2)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::JoinHandle;

    use super::*;
    use crate::platform::{own_tid, thread_cpu_ns};

    fn files(max_files: usize) -> TaskFiles {
        TaskFiles { max_files, ..TaskFiles::default() }
    }

    /// A thread that spins when it is sent `true`, and waits before and after.
    fn thread() -> (Tid, Sender<bool>, JoinHandle<()>) {
        let (tell, told) = channel();
        let (ask, answer) = channel();
        let thread = std::thread::spawn(move || {
            ask.send(own_tid()).expect("the test listens");
            while let Ok(mut spins) = told.recv() {
                while spins {
                    spins = told.try_recv().unwrap_or(true);
                }
            }
        });
        (answer.recv().expect("the thread answers"), tell, thread)
    }

    fn wait_until(is_so: impl FnMut() -> bool) {
        let mut is_so = is_so;
        while !is_so() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_file_that_stays_open_tells_what_is_the_case_now() {
        let mut files = files(1);
        let (tid, tell, thread) = thread();
        for _ in 0..3 {
            wait_until(|| matches!(files.doing(tid), Doing::Blocked { futex_address: Some(_) }));
            tell.send(true).expect("it lives");
            wait_until(|| files.doing(tid) == Doing::Runs);
            tell.send(false).expect("it lives");
            assert_eq!(files.open.len(), 1);
        }
        drop(tell);
        thread.join().expect("it ends");
        wait_until(|| thread_cpu_ns(tid).is_none());
        assert_eq!(files.doing(tid), Doing::Unknown);
        assert!(files.open.is_empty(), "nothing is kept of a thread that is gone");
    }

    #[test]
    fn no_more_stay_open_than_may_and_all_are_told_of() {
        for max_files in [0, 1, 2] {
            let mut files = files(max_files);
            let threads: Vec<_> = (0..4).map(|_| thread()).collect();
            for _ in 0..2 {
                for (tid, _, _) in &threads {
                    wait_until(|| matches!(files.doing(*tid), Doing::Blocked { futex_address: Some(_) }));
                    assert!(files.open.len() <= max_files);
                }
            }
            for (_, tell, thread) in threads {
                drop(tell);
                thread.join().expect("it ends");
            }
        }
    }

    #[test]
    fn what_is_not_used_is_closed_and_makes_room() {
        let mut files = files(1);
        let threads = [thread(), thread()];
        for (tid, _, _) in &threads {
            files.doing(*tid);
            files.close_unused();
            assert_eq!(files.open.keys().collect::<Vec<_>>(), [tid], "it was used since");
            files.close_unused();
            assert!(files.open.is_empty());
        }
        for (_, tell, thread) in threads {
            drop(tell);
            thread.join().expect("it ends");
        }
    }

    #[test]
    fn half_of_the_table_is_left_free() {
        assert!(TaskFiles::kept().max_files <= soft_descriptor_limit() / 2);
    }
}
