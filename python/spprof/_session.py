"""Start, stop and all between."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from . import _arguments, _exit, _garbage, _native, _output, _selfcheck, _threads

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native import Profile, ProfilerStats

_MAX_DEPTH_FRAMES = 1024
_HIDDEN_DIRECTORY = os.path.dirname(os.path.abspath(__file__))


class _Hooks:
    """What a session asks of Python's own modules."""

    def __init__(self) -> None:
        self._all = (_threads.Hooks(), _garbage.Hook(), _exit.Hook())

    def install(self) -> None:
        for hook in self._all:
            hook.install()

    def remove(self) -> None:
        for hook in self._all:
            hook.remove()


class _State:
    """What Python knows of the session; ``lock`` is held by whoever starts or stops."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.hooks = _Hooks()
        # Tells the running session from others.
        self.token: object = None
        self.output_path: str | None = None
        self.output_format: str | None = None
        # The one that the file is to show; None for all that its format holds.
        self.output_clock: str | None = None


_state = _State()


def start(
    interval_ms: float = _arguments.DEFAULT_INTERVAL_MS,
    output_path: str | os.PathLike[str] | None = None,
    memory_limit_mb: int = _arguments.DEFAULT_MEMORY_LIMIT_MB,
) -> None:
    """Begins to sample every thread of the process.

    ``interval_ms`` is the time between two samples of a thread on CPU, from 0.1 to 1000. ``output_path`` names a file that
    ``stop`` and the end of the process write, in the format that its name says (speedscope if it says none).
    ``memory_limit_mb`` bounds all memory that the profiler holds; it is at least 8.

    Raises TypeError or ValueError naming the argument that is wrong, OSError if ``output_path`` cannot be written, and
    RuntimeError("Profiler already running").
    """
    _start(interval_ms, output_path, memory_limit_mb, None)


def _start(
    interval_ms: float,
    output_path: str | os.PathLike[str] | None,
    memory_limit_mb: int,
    output_format: str | None,
    output_clock: str | None = None,
) -> object:
    """Starts a session; returns what `_is_current` knows it by."""
    interval_ns = _arguments.interval_ns(interval_ms)
    memory_limit_bytes = _arguments.memory_limit_bytes(memory_limit_mb)
    path = _arguments.output_path(output_path)
    if sys.is_finalizing():
        raise RuntimeError("The profiler cannot start because the interpreter is shutting down")
    with _state.lock:
        if _native.is_active():
            raise RuntimeError("Profiler already running")
        if path is not None:
            _output.check_writable(path)
        _selfcheck.run_once()
        _native.start(
            interval_ns,
            memory_limit_bytes,
            max_depth_frames=_MAX_DEPTH_FRAMES,
            output_path=path,
            output_format=output_format,
            output_clock=output_clock,
            hidden_directory=_HIDDEN_DIRECTORY,
        )
        token = _state.token = object()
        _state.output_path = path
        _state.output_format = output_format
        _state.output_clock = output_clock
        _state.hooks.install()
        if not _native.is_active():
            # A signal handler of the program has stopped the session within these lines.
            _state.hooks.remove()
        _threads.name_living_threads()
    return token


def _is_current(token: object) -> bool:
    """Whether the session that `_start` returned `token` for still runs, in this process."""
    return _state.token is token and _native.is_active()


def stop() -> Profile:
    """Ends the session, writes ``output_path`` if one was given, and returns what was recorded.

    Raises RuntimeError("Profiler not running"). If the file cannot be written, the OSError or MemoryError has the profile in its
    attribute ``profile``, so nothing that was sampled is lost.
    """
    return _stop(at_exit=False)


def _stop(*, at_exit: bool) -> Profile:
    """As ``stop``; ``at_exit``: because the process ends."""
    with _state.lock:
        _threads.name_living_threads()
        profile = _native.stop(at_exit=at_exit)
        _state.hooks.remove()
        path, output_format, clock = _state.output_path, _state.output_format, _state.output_clock
        _state.output_path = _state.token = None
    if path is not None:
        try:
            profile.save(path, output_format, clock=clock)
        except (OSError, MemoryError) as error:
            error.profile = profile  # type: ignore[union-attr]
            raise
    return profile


def snapshot() -> Profile:
    """The profile so far; sampling goes on.

    Raises RuntimeError("Profiler not running").
    """
    _threads.name_living_threads()
    return _native.snapshot()


def pause() -> None:
    """Stops sampling until ``resume``; the time between is in nobody's weights. Nothing happens if it was stopped already.

    Raises RuntimeError("Profiler not running").
    """
    _native.pause()


def resume() -> None:
    """Goes on sampling after ``pause``. Nothing happens if it was going on.

    Raises RuntimeError("Profiler not running").
    """
    _native.resume()


def is_active() -> bool:
    """Whether a session runs, paused or not."""
    return _native.is_active()


def stats() -> ProfilerStats | None:
    """What the session has got, lost and cost so far, all measured; None when none runs."""
    return _native.stats()


def register_thread() -> bool:
    """Has the calling thread sampled from this moment on. Rarely needed: threads are found within a tick or two.

    False when no session runs.
    """
    return _native.register_thread()


def unregister_thread() -> bool:
    """Has the calling thread sampled no more. False if it was not."""
    return _native.unregister_thread()


def _stop_at_exit() -> Profile | None:
    """Writes the file that was asked for; what it wrote, None if it did not.

    Nothing is raised: the program is over and has its own exit status.
    """
    # Up to 3.11 a second interpreter in the process can import the package too, and ends: the session is not its own.
    if not _native.is_active() or _state.token is None:
        return None
    path = _state.output_path
    try:
        profile = _stop(at_exit=True)
    except (OSError, MemoryError) as error:
        _output.complain(str(path), error)
        return None
    except RuntimeError:
        # Somebody else stopped it just now.
        return None
    return None if path is None else profile


def _forget_parent() -> None:
    """In a fork's child: the session, the hooks and the file are the parent's."""
    hooks = _state.hooks
    _state.__init__()  # type: ignore[misc]
    hooks.remove()


atexit.register(_stop_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
