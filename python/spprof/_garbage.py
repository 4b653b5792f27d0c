"""Tells the session which thread collects garbage.

From CPython 3.15 on the interpreter itself says so; before, a function of ours is in ``gc.callbacks`` while a session runs.
"""

from __future__ import annotations

import gc
import sys

from . import _native


class Hook:
    """Our place in ``gc.callbacks``; ``install`` and ``remove`` in pairs."""

    def install(self) -> None:
        """Takes the place, once."""
        self.remove()
        if sys.version_info < (3, 15):
            gc.callbacks.append(_native.collection_changed)

    def remove(self) -> None:
        """Gives it back, wherever the list has it now."""
        while _native.collection_changed in gc.callbacks:
            gc.callbacks.remove(_native.collection_changed)
