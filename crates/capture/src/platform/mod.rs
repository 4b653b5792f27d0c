//! What differs between operating systems, one file each.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "macos", test))]
pub(crate) mod mach_answers;
#[cfg(target_os = "macos")]
mod macos;
mod posix;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;
pub(crate) use posix::*;
