"""spprof: a sampling profiler inside the process, with measured weights.

    import spprof

    with spprof.Profiler(interval_ms=5) as profiler:
        work()
    profiler.profile.save("work.speedscope.json")

Every thread is sampled, from within, without privileges; see ``start`` for the parameters and ``Profile`` for the result.
"""

import sys as _sys

if not _sys.platform.startswith(("linux", "darwin", "win32")):
    raise ImportError(f"spprof runs on Linux, macOS and Windows, not on {_sys.platform}")
if _sys.platform == "darwin":
    import os as _os

    if not _os.environ.get("SPPROF_UNTESTED"):
        raise ImportError(
            "spprof for macOS has been compiled but never run, so it might harm the program; to try it, set SPPROF_UNTESTED=1"
        )

try:
    from . import _native
except ImportError as _error:
    raise ImportError(
        f"the native module of spprof cannot be loaded, so nothing could be profiled: {_error}"
    ) from _error

# An interpreter whose structures are not known is refused here, with the reason.
_native.check_interpreter()

from ._decorator import profile  # noqa: E402
from ._native import (  # noqa: E402
    ActivityTotals,
    Call,
    Frame,
    FunctionDifference,
    FunctionTotals,
    LineTotals,
    Profile,
    ProfileDifference,
    ProfilerStats,
    Sample,
    StackTotals,
    Thread,
    View,
    __version__,
)
from ._profiler import Profiler  # noqa: E402
from ._session import (  # noqa: E402
    is_active,
    pause,
    register_thread,
    resume,
    snapshot,
    start,
    stats,
    stop,
    unregister_thread,
)

__all__ = [
    "ActivityTotals",
    "Call",
    "Frame",
    "FunctionDifference",
    "FunctionTotals",
    "LineTotals",
    "Profile",
    "ProfileDifference",
    "Profiler",
    "ProfilerStats",
    "Sample",
    "StackTotals",
    "Thread",
    "View",
    "__version__",
    "is_active",
    "pause",
    "profile",
    "register_thread",
    "resume",
    "snapshot",
    "start",
    "stats",
    "stop",
    "unregister_thread",
]


def load_ipython_extension(ipython: object) -> None:
    """What ``%load_ext spprof`` calls: adds ``%spprof`` and ``%%spprof`` to the shell."""
    from . import _ipython

    _ipython.load(ipython)
