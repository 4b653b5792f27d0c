"""``spprof doctor``: what this interpreter and system allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spprof import _native

if TYPE_CHECKING:
    import argparse

HELP = "says what this interpreter and system allow, and what the profiler would do here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb has no arguments."""
    del parser


def act(options: argparse.Namespace) -> int:
    """Prints the findings; 1 if something stands in the way of profiling."""
    del options
    report = dict(_native.doctor())
    problems = report.pop("problems")
    problems.extend(_selfcheck_problem())
    width = max(map(len, report))
    for topic, finding in report.items():
        print(f"{topic:<{width}}  {finding}")
    for problem in problems:
        print(f"problem: {problem}")
    print("This process cannot be profiled." if problems else "This process can be profiled.")
    return 1 if problems else 0


def _selfcheck_problem() -> list[str]:
    from spprof import _selfcheck

    try:
        _selfcheck.run_once()
    except RuntimeError as error:
        return [str(error)]
    return []
