"""``SPPROF_AUTOSTART``: an interpreter that finds it in its environment profiles itself from before the program on.

``spprof_autostart.pth`` beside this file has ``site`` call ``start`` in every interpreter that begins; without the variable
that is one look into the environment. The environment is left as it is, so the interpreters that the program starts do the
same, each with a file of its own. Not a part of the package, because what stops the package from being imported must
be said in a sentence as well.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module

VARIABLE = "SPPROF_AUTOSTART"
DEFAULT_OUTPUT = "spprof-%p.speedscope.json"
_OFF = ("", "0")
_CHOICES = "1, interval_ms=MS, memory_limit_mb=MB, forks=1, output=FILE"


class Request:
    """What the variable asks for; ``None`` where it does not say."""

    def __init__(self, text: str) -> None:
        """Reads ``1`` or ``name=value,…``; ``output`` takes all that follows it, commas too. Raises ValueError."""
        self.interval_ms: float | None = None
        self.memory_limit_mb: int | None = None
        self.output = DEFAULT_OUTPUT
        self.forks = False
        rest = "" if text == "1" else text
        while rest:
            name, _, rest = rest.partition("=")
            if name == "output":
                self.output, rest = rest, ""
                continue
            value, _, rest = rest.partition(",")
            try:
                if name == "interval_ms":
                    self.interval_ms = float(value)
                elif name == "memory_limit_mb":
                    self.memory_limit_mb = int(value)
                elif name == "forks":
                    self.forks = bool(int(value))
                else:
                    raise ValueError(f"{name!r} is none of {_CHOICES}")
            except ValueError as error:
                if name in _CHOICES:
                    raise ValueError(f"{name}={value} is no number") from None
                raise error from None
        if "%p" not in self.output and not self.output.startswith("/dev/"):
            raise ValueError(f"output={self.output} needs %p, the process id, as every process writes a file")

    def path(self) -> str:
        """The file of this process."""
        return self.output.replace("%p", str(os.getpid()))


_request: Request | None = None
_was_called = False
_is_known_to_multiprocessing = False


def start() -> None:
    """Starts the session that the variable asks for. If it cannot, one sentence says why and the program runs without."""
    global _request, _was_called
    text = os.environ.get(VARIABLE, "")
    # A virtual environment's `lib64` is its `lib` once more. And `spprof run` is about to start a session itself.
    if _was_called or text in _OFF or "SPPROF_RUN" in os.environ:
        return
    _was_called = True
    if not _is_main_interpreter():
        # The extension module belongs to the main interpreter, whose session samples the threads of all.
        return
    try:
        request = Request(text)
        _begin(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the program goes on
        _complain(error)
    else:
        _request = request
        if request.forks and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_begin_in_child)


def withdraw() -> None:
    """Ends the session without a file: the interpreter turned out to be the command ``spprof`` itself."""
    global _request
    if _request is None:
        return
    _request = None
    from spprof import _session

    _session._state.output_path = None
    if _session.is_active():
        _session.stop()


def _begin(request: Request) -> None:
    from spprof import _arguments, _session

    interval_ms, memory_limit_mb = request.interval_ms, request.memory_limit_mb
    _session.start(
        _arguments.DEFAULT_INTERVAL_MS if interval_ms is None else interval_ms,
        request.path(),
        _arguments.DEFAULT_MEMORY_LIMIT_MB if memory_limit_mb is None else memory_limit_mb,
    )


def _begin_in_child() -> None:
    """In a fork's child, after the package has forgotten the parent's session."""
    global _is_known_to_multiprocessing
    if _request is None:
        return
    try:
        _begin(_request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the program goes on
        _complain(error)
        return
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _is_known_to_multiprocessing:
        _is_known_to_multiprocessing = True
        # Its children end without atexit. They throw away what was registered to be done at their end, then call this.
        util.register_after_fork(_request, _finish_with_multiprocessing)


def _finish_with_multiprocessing(_: Request) -> None:
    util = sys.modules["multiprocessing.util"]
    from spprof import _session

    # The lowest priority: after all that the program has registered itself.
    util.Finalize(None, _session._stop_at_exit, exitpriority=-1_000_000)


def _is_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        with suppress(ImportError):
            interpreters = import_module(name)
            return bool(interpreters.get_current() == interpreters.get_main())
    return True


def _complain(error: Exception) -> None:
    if sys.stderr is not None:
        sentence = f"spprof: {VARIABLE}: {error}; this process is not profiled\n"
        os.write(2, sentence.encode("utf-8", "backslashreplace"))
