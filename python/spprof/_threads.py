"""Names of threads, from ``threading``.

The collector finds threads by itself. What it cannot know without the GIL is what ``threading`` calls them, so three
attributes of ``threading.Thread`` are wrapped while a session runs: the method that each thread calls when it begins, the
one that it calls when it ends (from CPython 3.11; before, it ends without a call), and ``name`` for who renames it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial

from . import _native

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BIRTH = "_set_native_id"
_DEATH = "_delete"


def _noting(note: Callable[[str], object], thread: Any) -> None:
    # A name is a nicety: whatever a subclass makes of the attribute must not keep a thread from starting or ending.
    with suppress(Exception):
        note(thread.name)


def _at_birth(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def wrapper(thread: Any) -> None:
        original(thread)
        _noting(_native.thread_started, thread)

    return wrapper


def _at_death(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def wrapper(thread: Any) -> None:
        _noting(_native.thread_ended, thread)
        original(thread)

    return wrapper


def _at_naming(original: property) -> property:
    def set_name(thread: Any, name: str) -> None:
        original.__set__(thread, name)
        if thread.native_id is not None:
            _noting(lambda new: _native.name_thread(thread.native_id, new), thread)

    return property(original.fget, set_name, original.fdel, original.__doc__)


class Hooks:
    """The wrapped attributes of ``threading.Thread``; ``install`` and ``remove`` in pairs."""

    def __init__(self) -> None:
        self._installed: list[tuple[str, Any, Any]] = []

    def install(self) -> None:
        """Wraps what is there."""
        # A signal handler may have stopped and started a session within another start.
        self.remove()
        for name, wrap in ((_BIRTH, _at_birth), (_DEATH, _at_death), ("name", _at_naming)):
            original: Any = threading.Thread.__dict__.get(name)
            if original is not None:
                wrapper = wrap(original)
                setattr(threading.Thread, name, wrapper)
                self._installed.append((name, wrapper, original))

    def remove(self) -> None:
        """Puts the originals back where nobody has wrapped ours since; there ours stays and has nothing to do."""
        for name, wrapper, original in self._installed:
            if threading.Thread.__dict__.get(name) is wrapper:
                setattr(threading.Thread, name, original)
        self._installed.clear()


def name_living_threads() -> None:
    """Tells the session the names of all threads that live now: they may have been changed."""
    main = threading.main_thread()
    for thread in threading.enumerate():
        native_id = thread.native_id
        if thread is main and thread is threading.current_thread():
            # After a fork `native_id` of the main thread may still be the parent's (CPython up to 3.12).
            native_id = threading.get_native_id()
        if native_id is not None:
            _noting(partial(_native.name_thread, native_id), thread)
