//! A signal taken over while others may take it over too.
//!
//! Whoever installs a handler on top of ours keeps the address of ours and may call it, or put it back, at any time from
//! then on. When ours goes on top again, theirs would call ours, which would call theirs: a crash would be reported for
//! ever. So there are several entry points, one for each *level*. Each passes on to what lay below it when it was
//! installed, and one that somebody may have kept is never put on top of them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disposition::{self, SavedDisposition};

/// Owners that may be stacked up with ours between them.
pub(crate) const LEVELS: usize = 4;

/// A handler as `SA_SIGINFO` wants it.
pub(crate) type Entry = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// One signal. Changed under the session's locks only; read by handlers.
pub(crate) struct Takeover {
    signal: libc::c_int,
    /// Our handlers, by level: different functions, so that each knows its level by being called.
    entries: &'static [Entry; LEVELS],
    /// What lay below each level when it was installed.
    below: [SavedDisposition; LEVELS],
    /// Levels from this one on are in nobody's hands.
    used: AtomicUsize,
}

impl Takeover {
    pub(crate) const fn new(signal: libc::c_int, entries: &'static [Entry; LEVELS]) -> Self {
        let below = [const { SavedDisposition::default_action() }; LEVELS];
        Self { signal, entries, below, used: AtomicUsize::new(0) }
    }

    fn level_of(&self, handler: usize) -> Option<usize> {
        self.entries.iter().position(|entry| *entry as *const () as usize == handler)
    }

    fn installed_level(&self) -> Option<usize> {
        disposition::current(self.signal).ok().and_then(|action| self.level_of(action.sa_sigaction))
    }

    /// What `level` passes on to; handler-safe.
    pub(crate) fn below(&self, level: usize) -> Option<&SavedDisposition> {
        self.below.get(level)
    }

    /// Puts ours on top, if it is not there, with the flags that `flags` chooses for what is there. `true` if it was not there.
    ///
    /// # Errors
    /// What `sigaction(2)` says; and that more owners are stacked up than there are levels.
    pub(crate) fn install(&self, flags: impl Fn(&libc::sigaction) -> libc::c_int) -> io::Result<bool> {
        let before = disposition::current(self.signal)?;
        if self.level_of(before.sa_sigaction).is_some() {
            return Ok(false);
        }
        let used = self.used.load(Ordering::SeqCst);
        // An owner that we have been on top of before finds us there again.
        let known = self.below.iter().take(used).position(|saved| saved.handler() == before.sa_sigaction);
        let level = known.unwrap_or(used);
        let (Some(entry), Some(below)) = (self.entries.get(level), self.below.get(level)) else {
            return Err(io::Error::other("too many other libraries have taken it over in turn"));
        };
        below.save(&before);
        self.used.store(used.max(level + 1), Ordering::SeqCst);
        let mut action = disposition::empty_action();
        action.sa_sigaction = *entry as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | flags(&before);
        let replaced = disposition::replace(self.signal, &action)?;
        if self.level_of(replaced.sa_sigaction).is_none() {
            // Somebody may have come in between the question and the change.
            below.save(&replaced);
        }
        Ok(true)
    }

    /// Puts back what lay below, if ours is on top; else whoever is there may still call ours. `before_that` is called first.
    /// Async-signal-safe.
    pub(crate) fn uninstall(&self, before_that: impl Fn()) {
        let Some(level) = self.installed_level() else { return };
        before_that();
        if let Some(below) = self.below.get(level) {
            below.restore(self.signal);
        }
        // With ours on top, whoever was above this level has come off.
        self.used.store(level, Ordering::SeqCst);
    }
}
