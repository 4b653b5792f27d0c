"""Lets ``os._exit`` end the process under Windows.

There the profiler's thread suspends each other one for a moment. The end of a process kills the profiler's thread first: if it
has just suspended the thread that ends the process, nobody lets that one go on, and the process stays. (The runtime of Go says
so of its own suspending: ``exit`` in ``runtime/os_windows.go``.) So ``os._exit`` is wrapped while a session runs, and nobody is
suspended any more when the process ends. Every other end that Python knows comes after our ``atexit``.
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import suppress

from . import _native

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _after_the_last_look(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        # There may be no session by now.
        with suppress(RuntimeError):
            _native.pause()
        return original(*arguments, **options)

    return wrapper


class Hook:
    """The wrapped ``os._exit``; ``install`` and ``remove`` in pairs."""

    def __init__(self) -> None:
        self._installed: tuple[Any, Any] | None = None

    def install(self) -> None:
        """Wraps what is there, where threads are suspended."""
        self.remove()
        if sys.platform == "win32":
            original = os._exit
            wrapper: Any = _after_the_last_look(original)
            os._exit = wrapper
            self._installed = (wrapper, original)

    def remove(self) -> None:
        """Puts the original back where nobody has wrapped ours since; there ours stays and has nothing to do."""
        if self._installed is not None:
            wrapper, original = self._installed
            if os._exit is wrapper:
                os._exit = original
            self._installed = None
