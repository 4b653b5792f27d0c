"""The arguments of ``start``, checked."""

from __future__ import annotations

import os

MIN_INTERVAL_MS = 0.1
MAX_INTERVAL_MS = 1000
MIN_MEMORY_LIMIT_MB = 8
DEFAULT_INTERVAL_MS = 10
DEFAULT_MEMORY_LIMIT_MB = 100


def interval_ns(interval_ms: float) -> int:
    """The interval in nanoseconds.

    Raises TypeError if it is no int or float, ValueError if it is no number from 0.1 to 1000; both name ``interval_ms``.
    """
    if isinstance(interval_ms, bool) or not isinstance(interval_ms, (int, float)):
        raise TypeError(f"interval_ms must be an int or a float, not {type(interval_ms).__name__}")
    # Not a number compares false, too.
    if not MIN_INTERVAL_MS <= interval_ms <= MAX_INTERVAL_MS:
        raise ValueError(f"interval_ms must be from {MIN_INTERVAL_MS} to {MAX_INTERVAL_MS}, not {interval_ms}")
    return round(interval_ms * 1_000_000)


def memory_limit_bytes(memory_limit_mb: int) -> int:
    """The memory limit in bytes.

    Raises TypeError if it is no int, ValueError if it is less than 8; both name ``memory_limit_mb``.
    """
    if isinstance(memory_limit_mb, bool) or not isinstance(memory_limit_mb, int):
        raise TypeError(f"memory_limit_mb must be an int, not {type(memory_limit_mb).__name__}")
    if memory_limit_mb < MIN_MEMORY_LIMIT_MB:
        raise ValueError(f"memory_limit_mb must be at least {MIN_MEMORY_LIMIT_MB}, not {memory_limit_mb}")
    # More than the address space is as good as no limit.
    return min(memory_limit_mb << 20, 1 << 46)


def output_path(path: str | os.PathLike[str] | None) -> str | None:
    """The output path as an absolute one: a program may change its directory before it ends.

    Raises TypeError if it is no path.
    """
    if path is None:
        return None
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"output_path must be a str or an os.PathLike of str, not {type(path).__name__}")
    # Not abspath: it would take `link/..` for the directory of the link.
    return text if os.path.isabs(text) else os.path.join(os.getcwd(), text)
