"""The session of ``spprof run``, from both sides of the exec: asked for by the command, started before the program."""

from __future__ import annotations

import atexit
import io
import os
import sys

from spprof import _arguments, _native, _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from spprof import Profile


def request(interval_ms: float, output_format: str | None, clock: str | None, output: str, *, quiet: bool) -> str:
    """What ``start`` is given, as one word of the environment."""
    return f"{interval_ms!r},{output_format or ''},{clock or ''},{'quiet' if quiet else ''},{output}"


def start(request: str) -> None:
    """Starts the session and has its file written after the program's own exit handlers, which register later."""
    interval_ms, output_format, clock, quiet, output = request.split(",", 4)
    memory_limit_mb = _arguments.DEFAULT_MEMORY_LIMIT_MB
    _session._start(float(interval_ms), output, memory_limit_mb, output_format or None, clock or None)
    output_format = output_format or _native.format_of(output)
    atexit.register(_finish, os.getpid(), output, output_format, clock or None, quiet == "quiet")


def _finish(pid: int, output: str, output_format: str, clock: str | None, quiet: bool) -> None:
    """Writes the profile and says what is in it and where it is; in the process that was asked to, not in its children."""
    if os.getpid() != pid or not _session.is_active():
        return
    profile = _session._stop_at_exit()
    if profile is None or quiet or sys.stderr is None:
        return
    try:
        # What the program has printed comes first. The interpreter would write it out after us, and complain if it cannot.
        if sys.stdout is sys.__stdout__ and sys.stdout is not None:
            sys.stdout.flush()
        _say(_text(profile, output, output_format, clock) + "\n")
    except (OSError, ValueError, MemoryError):
        # There is nobody to tell: it is closed; or no memory to tell it with. The file is written.
        pass


def _say(text: str) -> None:
    """Writes to standard error, wherever the program has led it."""
    stderr = sys.stderr
    # A console of Windows takes bytes in an encoding of its own, which Python's stream does without.
    is_console = sys.platform == "win32" and stderr.isatty()
    if stderr is not sys.__stderr__ or not isinstance(stderr, io.TextIOWrapper) or is_console:
        stderr.write(text)
        stderr.flush()
        return
    stderr.flush()
    # Past the buffer: what it could not write at the end of the process would change the exit status.
    left = text.encode(stderr.encoding, stderr.errors or "backslashreplace")
    while left:
        left = left[os.write(stderr.fileno(), left) :]


def _text(profile: Profile, output: str, output_format: str, clock: str | None) -> str:
    from spprof import _report, _terminal

    # Not the program's `sys.stderr`, which may be anything: all it has to do is take text.
    style = _terminal.style_of(sys.__stderr__ or sys.stderr)
    is_readable, opened_by = next(row[2:] for row in _native.formats() if row[0] == output_format)
    where = f"spprof: the profile is in {output}; " + (f"`spprof view {output}` shows it" if is_readable else opened_by)
    return "\n".join(["", *_report.Report(profile, style, clock=clock).short(), where])
