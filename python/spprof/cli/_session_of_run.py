"""The session of ``spprof run``, from both sides of the exec: asked for by the command, started before the program."""

from __future__ import annotations

import atexit
import os
import sys

from spprof import _arguments, _session


def request(interval_ms: float, output_format: str | None, output: str) -> str:
    """What ``start`` is given, as one word of the environment."""
    return f"{interval_ms!r},{output_format or ''},{output}"


def start(request: str) -> None:
    """Starts the session and has its file written after the program's own exit handlers, which register later."""
    interval_ms, output_format, output = request.split(",", 2)
    _session._start(float(interval_ms), output, _arguments.DEFAULT_MEMORY_LIMIT_MB, output_format or None)
    atexit.register(_finish, os.getpid(), output)


def _finish(pid: int, output: str) -> None:
    """Writes the profile and says where it is; in the process that was asked to, not in its children."""
    if os.getpid() != pid or not _session.is_active():
        return
    if _session._stop_at_exit() and sys.stderr is not None:
        print(f"spprof: the profile is in {output}; `spprof view {output}` shows it", file=sys.stderr)
