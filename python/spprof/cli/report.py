"""``spprof report FILE``: where the time went, as a table."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from . import _files

if TYPE_CHECKING:
    from spprof import FunctionTotals, Profile

HELP = "shows where the time of a profile went, by function"

_NS_PER_MS = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", metavar="FILE", help="a profile: speedscope or collapsed stacks, of any producer")
    parser.add_argument("--clock", choices=("cpu", "wall"), help="time to show (default: cpu if there is any)")
    parser.add_argument("--sort", choices=("self", "total"), default="self", help="order of the table (default: self)")
    parser.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="functions to show, 0 for all (default: 20)"
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return min(int(text), sys.maxsize)


def act(options: argparse.Namespace) -> int:
    """Prints the report."""
    profile = _files.load(options.file)
    clock = options.clock or ("cpu" if any(thread.cpu_ns for thread in profile.threads) else "wall")
    for line in _header(profile):
        print(line)
    print()
    for line in _table(profile, clock, options.sort, options.limit or None):
        print(line)
    return 0


def _header(profile: Profile) -> list[str]:
    counters = profile.counters
    cpu_s = sum(thread.cpu_ns for thread in profile.threads) / 1e9
    lost = [
        f"{counters[name]} {label}"
        for name, label in (
            ("dropped", "dropped"),
            ("missed_ticks", "ticks missed"),
            ("truncated_stacks", "stacks truncated"),
            ("torn_stacks", "stacks torn"),
            ("collapsed", "stacks cut to save memory"),
        )
        if counters[name]
    ]
    lines = [
        f"{profile.total_duration_ms / 1000:.2f} s, {cpu_s:.2f} s of it CPU time of "
        f"{len(profile.threads)} thread{'' if len(profile.threads) == 1 else 's'}",
        f"{profile.sample_count} samples, one asked every {profile.interval_ms:g} ms; "
        f"{', '.join(lost) if lost else 'none lost'}",
    ]
    if profile.python_version:
        lines.append(f"Python {profile.python_version} on {profile.platform}")
    return lines


def _table(profile: Profile, clock: str, sort: str, limit: int | None) -> list[str]:
    rows = profile.top(limit, clock=clock, sort=sort)
    # The whole is what the threads used, with and without Python frames.
    whole_ns = sum(getattr(thread, f"{clock}_ns") for thread in profile.threads)
    if not rows or not whole_ns:
        return [f"No {'CPU' if clock == 'cpu' else 'wall'} time was recorded in any Python function."]
    lines = [f"{f'self {clock}':>18}  {f'total {clock}':>18}  {'samples':>8}  function"]
    width = max(40, shutil.get_terminal_size((120, 24)).columns - 50)
    for row in rows:
        own = _share(getattr(row, f"self_{clock}_ns"), whole_ns)
        total = _share(getattr(row, f"total_{clock}_ns"), whole_ns)
        lines.append(f"{own}  {total}  {row.self_samples:>8}  {_place(row, width)}")
    return lines


def _share(ns: int, whole_ns: int) -> str:
    return f"{ns / _NS_PER_MS:>8.1f} ms {100 * ns / whole_ns:>5.1f}%"


def _place(row: FunctionTotals, width: int) -> str:
    name = row.function_name.replace("\n", "\\n")
    place = f"{row.filename}:{row.lineno}" if row.lineno else row.filename
    text = f"{name}  {place}".rstrip()
    if len(text) <= width:
        return text
    # The end of a path says more than its beginning.
    room = width - len(name) - 3
    return f"{name}  …{place[-room:]}" if room > 10 else text[: width - 1] + "…"
