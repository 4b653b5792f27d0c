"""The command ``spprof``; one file a verb."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from spprof import _native

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 2


class UsageError(Exception):
    """What the user asked for cannot be done; the text says what, where and what to do."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence on stderr and exit status 2."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message}; try `{self.prog} --help`\n")


def _parser() -> _Parser:
    from . import convert, diff, doctor, merge, report, run, view

    parser = _Parser(prog="spprof", description="A sampling profiler for Python programs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"spprof {_native.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for verb in (run, report, view, diff, merge, convert, doctor):
        name = verb.__name__.rsplit(".", 1)[-1]
        added = verbs.add_parser(name, help=verb.HELP, description=verb.HELP, allow_abbrev=False)
        verb.add_arguments(added)
        added.set_defaults(act=verb.act)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    if arguments is None and "spprof_autostart" in sys.modules:
        # The command itself is not what SPPROF_AUTOSTART was set for.
        sys.modules["spprof_autostart"].withdraw()
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show must not hide the rest.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = options.act(options)
        # What a closed pipe or a full disk refuses shows here, not at shutdown where nobody can catch it.
        if sys.stdout is not None:
            sys.stdout.flush()
    except UsageError as error:
        print(f"spprof {options.verb}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except MemoryError as error:
        print(f"spprof {options.verb}: {str(error) or 'There is no memory left'}", file=sys.stderr)
        return 1
    except OSError as error:
        # Files are the verbs' to judge, so it is standard output; what is left in its buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not _is_of_closed_pipe(error):
            print(f"spprof {options.verb}: standard output cannot be written: {error.strerror}", file=sys.stderr)
        # A broken pipe needs no word: whoever read our output has seen enough.
        return 1
    return status


def _is_of_closed_pipe(error: OSError) -> bool:
    """Whether nobody reads any more: EPIPE, or on Windows EINVAL, which its C library makes of ERROR_NO_DATA."""
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)
