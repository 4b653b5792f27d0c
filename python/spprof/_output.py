"""Whether a file can be written, found out before anything is sampled."""

from __future__ import annotations

import errno
import os
import stat
import sys

# What lies here stands for something else, such as the program's own standard output: written straight, never replaced
# (`save` in `crates/python/src/save.rs` does the same).
_SPECIAL_DIRECTORIES = ("/dev/", "/proc/")
# Programs started meanwhile do not get the file; on Windows they never do.
_NOT_INHERITED = getattr(os, "O_CLOEXEC", 0)


def complain(path: str, error: OSError | MemoryError) -> None:
    """Says that the profile could not be saved, where raising would hide what the program itself has to say."""
    if sys.stderr is not None:
        print(
            f"spprof: the profile could not be written to {path}: {getattr(error, 'strerror', None) or error}",
            file=sys.stderr,
        )


def check_writable(path: str) -> None:
    """Raises the OSError that saving to ``path`` would raise, leaving no file behind.

    A directory, a path under a file, a missing or read-only directory and a file without write permission are all found.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        _check_directory(path)
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISREG(mode) and not path.startswith(_SPECIAL_DIRECTORIES):
        # Replaced through a temporary sibling, so the directory has to be writable too.
        _check_directory(path)
        os.close(os.open(path, os.O_WRONLY | _NOT_INHERITED))
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _check_directory(path: str) -> None:
    """Makes and removes the kind of temporary sibling that saving makes."""
    directory, name = os.path.split(path)
    if not name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    probe = os.path.join(directory, f".{name}.{os.getpid()}.probe")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOT_INHERITED, 0o600))
    except OSError as error:
        # The caller's path, not the probe's.
        raise type(error)(error.errno, error.strerror, path) from None
    os.unlink(probe)
