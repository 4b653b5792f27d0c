//! What other systems have and Windows has not. The session asks for it all the same, and here nothing is done.

/// No thread gets signals.
pub(crate) mod sigprof {
    use std::io;

    use crate::platform;

    /// There is none to take; never `true`, that it was not ours.
    pub(crate) fn install() -> io::Result<bool> {
        Ok(false)
    }

    /// Nobody looks at threads any more.
    pub(crate) fn uninstall() {
        platform::let_go_of_threads();
    }

    /// There are none.
    pub(crate) fn unclaimed() -> u64 {
        0
    }
}

/// A process is ended from outside without being asked.
pub(crate) mod termination {
    /// There is nothing to take.
    pub(crate) fn install() {}

    /// Nor to give back.
    pub(crate) fn uninstall() {}

    /// Nobody asks.
    pub(crate) fn was_requested() -> bool {
        false
    }

    /// Ends the process, which [`was_requested`] never asks for.
    pub(crate) fn die() -> ! {
        std::process::abort()
    }
}

/// Processes are made anew, never copied.
pub(crate) mod fork {
    /// There is nothing to register.
    pub(crate) fn register() {}
}
