"""``spprof merge A B... -o C``: several profiles as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import UsageError, _files

if TYPE_CHECKING:
    import argparse

HELP = "puts several profiles into one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="profiles, of different processes for instance")
    parser.add_argument("-o", "--output", required=True, metavar="FILE2", help="the file to write")
    parser.add_argument("--format", help="format of FILE2 (default: as its name says)")


def act(options: argparse.Namespace) -> int:
    """Writes the file."""
    first, *others = [_files.load(path) for path in options.files]
    try:
        first.merge(*others).save(options.output, options.format)
    except OSError as error:
        raise UsageError(f"{options.output} cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0
