//! What an interpreter says it is.

use core::fmt;

/// Taken from `sys` of the interpreter in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sys.hexversion`.
    pub hexversion: u32,
    /// Built without the GIL (`t` in `sys.abiflags`).
    pub free_threaded: bool,
    /// Built with `Py_DEBUG` (`d` in `sys.abiflags`).
    pub debug: bool,
    /// Built with `Py_TRACE_REFS`: objects are larger (`sys.getobjects` exists).
    pub trace_refs: bool,
    /// `sys.implementation.name == "cpython"`.
    pub is_cpython: bool,
}

impl Identity {
    /// Major and minor version.
    pub fn version(&self) -> (u8, u8) {
        ((self.hexversion >> 24) as u8, (self.hexversion >> 16) as u8)
    }

    /// An alpha, beta or release candidate: the release level is 0xF in a final release (`Include/patchlevel.h`).
    pub fn is_prerelease(&self) -> bool {
        self.hexversion >> 4 & 0xf != 0xf
    }
}

/// `CPython 3.15.0b2 (free-threaded)` for instance.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version();
        let micro = self.hexversion >> 8 & 0xff;
        write!(
            f,
            "{} {major}.{minor}.{micro}",
            if self.is_cpython { "CPython" } else { "a Python other than CPython" }
        )?;
        let level = match self.hexversion >> 4 & 0xf {
            0xa => "a",
            0xb => "b",
            0xc => "rc",
            _ => "",
        };
        if !level.is_empty() {
            write!(f, "{level}{}", self.hexversion & 0xf)?;
        }
        if self.free_threaded {
            f.write_str(" (free-threaded)")?;
        }
        if self.debug {
            f.write_str(" (debug build)")?;
        }
        if self.trace_refs {
            f.write_str(" (trace-refs build)")?;
        }
        Ok(())
    }
}
