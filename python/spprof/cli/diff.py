"""``spprof diff A B``: which functions changed from one profile to another, and how sure that is."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

from spprof import _native, _report, _terminal

from . import UsageError, _files

if TYPE_CHECKING:
    from spprof import FunctionDifference, Profile, ProfileDifference
    from spprof._terminal import Style

HELP = "shows which functions changed from one profile to another"

# What did not change for certain: so many of the largest differences are shown.
_UNCERTAIN_ROWS = 5
_GREW_OVER = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("before", metavar="A", help="the profile to compare with")
    parser.add_argument("after", metavar="B", help="the profile that may differ")
    parser.add_argument(
        "-o", "--output", metavar="FILE.html", help="also write a page with a flame graph in two colours"
    )
    parser.add_argument("--clock", choices=_native.CLOCKS, help="time to compare (default: cpu if both have any)")
    parser.add_argument(
        "--per-unit",
        nargs=2,
        type=_units,
        metavar=("A_UNITS", "B_UNITS"),
        help="units of work that each profile stands for (default: what most functions agree on stands still)",
    )
    parser.add_argument(
        "--at-least",
        type=_share,
        default=0.03,
        metavar="PERCENT",
        help="smaller changes of a function are none (default: 3%%)",
    )
    parser.add_argument(
        "--min-share",
        type=_share,
        default=0.005,
        metavar="PERCENT",
        help="functions with less of all time are not compared (default: 0.5%%)",
    )
    parser.add_argument(
        "--fail-over",
        type=_share,
        metavar="PERCENT",
        help="exit status 1 if a function grew by more than this for certain",
    )


def _units(text: str) -> float:
    try:
        units = float(text)
    except ValueError:
        units = math.nan
    if not 0 < units < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return units


def _share(text: str) -> float:
    try:
        percent = float(text[:-1] if text.endswith("%") else text)
    except ValueError:
        percent = math.nan
    if not 0 <= percent < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 0 on")
    return percent / 100


def act(options: argparse.Namespace) -> int:
    """Prints the differences; 1 if a function grew by more than was allowed."""
    before, after = _files.load(options.before), _files.load(options.after)
    for path, profile in ((options.before, before), (options.after, after)):
        if not profile.interval_ms:
            raise UsageError(
                f"{path} does not say at what interval it was sampled, so its differences cannot be told from noise"
            )
    clock = options.clock or ("cpu" if before.time_ns("cpu") and after.time_ns("cpu") else "wall")

    def compare(at_least: float) -> ProfileDifference:
        units = options.per_unit and tuple(options.per_unit)
        return before.diff(after, clock=clock, units=units, at_least=at_least, min_share=options.min_share)

    difference = compare(options.at_least)
    if options.output is not None:
        _write(difference, options.output)
    style = _terminal.style_of(sys.stdout)
    print("\n".join(_lines(difference, before, after, options, style)))
    if options.fail_over is None:
        return 0
    grown = [row for row in compare(options.fail_over).changes if row.ratio > 1]
    over = f"{100 * options.fail_over:g} %"
    if not grown:
        print(f"No function grew by more than {over} for certain.")
        return 0
    names = ", ".join(f"{_terminal.printable(row.function_name)} ({_change(row)})" for row in grown)
    print(f"Failed: {_report.counted(len(grown), 'function')} grew by more than {over}: {names}")
    return _GREW_OVER


def _write(difference: ProfileDifference, path: str) -> None:
    try:
        difference.save(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def _lines(
    difference: ProfileDifference, before: Profile, after: Profile, options: argparse.Namespace, style: Style
) -> list[str]:
    title = _report.title(difference.clock)
    lines = [
        f"{title}: {_report.seconds(difference.before_ns)} before, {_report.seconds(difference.after_ns)} after; "
        f"{before.sample_count} and {after.sample_count} samples"
    ]
    if options.per_unit:
        lines.append(f"times after are divided by {difference.scale:.4g}: per unit of work")
    else:
        lines.append(f"times after are divided by {difference.scale:.3f}: so most functions stand still")
    changes = difference.changes
    others = difference.functions[len(changes) :][:_UNCERTAIN_ROWS]
    if changes:
        heading = f"Changed by more than {100 * options.at_least:g} %, each and all with 99 % confidence:"
        lines += ["", *_table(heading, changes, difference, style)]
    else:
        lines += ["", f"No function changed by more than {100 * options.at_least:g} %, as far as the samples can tell."]
    if others:
        lines += ["", *_table("Not certain, the largest of them:", others, difference, style)]
    return lines


def _table(heading: str, rows: list[FunctionDifference], difference: ProfileDifference, style: Style) -> list[str]:
    lines = [style.paint(style.fit(heading, style.width), "bold")]
    pm = style.plus_minus
    columns = f"{'before':>8} {'after':>8}   change {pm + '95 %':<7} {'sure':>6} {'in total':>8}  function"
    lines.append(style.paint(columns, "dim"))
    for row in rows:
        after_ns = row.self_after_ns / difference.scale
        total = _percent(row.total_after_ns / difference.scale / row.total_before_ns) if row.total_before_ns else "new"
        start = (
            f"{_report.seconds(row.self_before_ns):>8} {_report.seconds(after_ns):>8} "
            f"{_change(row):>8} {_error(row, pm):<7} {_sure(row):>6} {total:>8}  "
        )
        where = _report.named(row.function_name, _report.place(row.filename, row.lineno), len(start), row.origin, style)
        lines.append((style.paint(start, "red" if row.ratio > 1 else "cyan") if row.is_certain else start) + where)
    return lines


def _change(row: FunctionDifference) -> str:
    if not row.self_before_ns:
        return "new"
    return _percent(row.ratio) if row.self_after_ns else "gone"


def _error(row: FunctionDifference, plus_minus: str) -> str:
    """How far off the change may be to either side in 95 of 100 cases."""
    if not row.self_before_ns or not row.self_after_ns:
        return ""
    return f"{plus_minus}{50 * (row.ratio_high - row.ratio_low):.1f}"


def _sure(row: FunctionDifference) -> str:
    return f"{100 * row.confidence:.1f}%" if row.confidence < 0.999 else ">99.9%"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
