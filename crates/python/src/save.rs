//! A profile into a file, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use formats::{Format, WriteOptions};
use profile::Profile;

/// What is written when nothing else is said: every clock, one frame a function.
pub(crate) fn defaults() -> WriteOptions {
    WriteOptions::default()
}

/// The format by `name`, or where none is given by the file's name, speedscope if that says nothing.
///
/// # Errors
/// One sentence, for a name that is no format's.
pub(crate) fn format_for(path: &Path, name: Option<&str>) -> Result<Format, String> {
    match name {
        None => Ok(Format::from_path(path).unwrap_or(Format::Speedscope)),
        Some(name) => Format::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
            format!("format must be one of {}, not {name:?}", known.join(", "))
        }),
    }
}

/// Writes `profile` to `path`.
///
/// A regular file, or none yet, is replaced in one step by a temporary sibling, so a full disk leaves what was there; a
/// device, a pipe or a socket is written straight.
///
/// # Errors
/// What the system says; the temporary file is gone then.
pub(crate) fn save(profile: &Profile, path: &Path, format: Format, options: &WriteOptions) -> io::Result<()> {
    write_to(path, |file| formats::write(profile, format, options, file))
}

/// As [`save`], with whatever `write` writes.
pub(crate) fn write_to(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let before = fs::metadata(path).ok();
    if is_special(path) || before.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        let mut file = OpenOptions::new().append(true).open(path)?;
        return write(&mut file);
    }
    // Through a symbolic link the file it names is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary_sibling(&path)?;
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).open(&temporary)?;
        write(&mut file)?;
        if let Some(metadata) = &before {
            file.set_permissions(metadata.permissions())?;
        }
        drop(file);
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// What lies here stands for something else, the program's own standard output for instance, which may be a regular file
/// with the program's output in it.
fn is_special(path: &Path) -> bool {
    ["/dev", "/proc"].iter().any(|directory| path.starts_with(directory))
}

fn temporary_sibling(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}
