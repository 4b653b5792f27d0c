//! What differs between operating systems, one file each.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "linux")]
mod task_files;
#[cfg(target_os = "linux")]
pub(crate) use task_files::TaskFiles;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
