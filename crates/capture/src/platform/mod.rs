//! What differs between operating systems, one file each.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(target_os = "macos", all(test, unix)))]
pub(crate) mod mach_answers;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(unix)]
mod posix;
#[cfg(target_os = "linux")]
mod task_files;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;
#[cfg(unix)]
pub(crate) use posix::*;
#[cfg(target_os = "linux")]
pub(crate) use task_files::TaskFiles;
#[cfg(windows)]
pub(crate) use windows::*;
