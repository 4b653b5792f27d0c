"""``spprof report FILE``: what to look at, and the call tree, as text."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from spprof import _native, _report, _terminal

from . import UsageError, _files

if TYPE_CHECKING:
    from spprof import Profile

HELP = "shows where the time of a profile went"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", metavar="FILE", help=f"a profile: {_files.READABLE}; of any producer")
    parser.add_argument("--clock", choices=_native.CLOCKS, help="time to show (default: cpu if there is any)")
    parser.add_argument("--sort", choices=("self", "total"), default="self", help="order of the rows (default: self)")
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="rows of each kind, 0 for all (default: a few)", default=None
    )
    parser.add_argument("--lines", action="store_true", help="tell the lines of a function apart in the call tree")
    parser.add_argument("--thread", metavar="NAME|ID", help="only threads of that name or number")
    parser.add_argument(
        "--focus", type=_pattern, metavar="RE", help="only stacks with a function whose name or file matches"
    )
    parser.add_argument("--ignore", type=_pattern, metavar="RE", help="only stacks without one that matches")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return min(int(text), sys.maxsize)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def act(options: argparse.Namespace) -> int:
    """Prints the report."""
    whole = _files.load(options.file)
    profile = _part(whole, options)
    said = [
        f"--{name} {value if isinstance(value, str) else value.pattern}"
        for name, value in (("thread", options.thread), ("focus", options.focus), ("ignore", options.ignore))
        if value is not None
    ]
    report = _report.Report(
        profile,
        _terminal.style_of(sys.stdout),
        clock=options.clock,
        sort=options.sort,
        limit=options.limit,
        lines=options.lines,
        whole=whole,
        shown=" ".join(said),
    )
    print("\n".join(report.full()))
    return 0


def _part(profile: Profile, options: argparse.Namespace) -> Profile:
    if options.thread is None and options.focus is None and options.ignore is None:
        return profile
    try:
        return profile.filter(thread=options.thread, focus=options.focus, ignore=options.ignore)
    except ValueError as error:
        raise UsageError(f"{options.file}: {error}") from None
