"""``spprof convert FILE -o FILE2``: a profile in another format."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from spprof import _native

from . import UsageError, _files

if TYPE_CHECKING:
    import argparse

HELP = "writes a profile in another format"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", metavar="FILE", help=f"a profile: {_files.READABLE}; of any producer")
    parser.add_argument("-o", "--output", required=True, metavar="FILE2", help="the file to write")
    parser.add_argument("--format", choices=_files.FORMATS, help="format of FILE2 (default: as its name says)")
    parser.add_argument("--clock", choices=_native.CLOCKS, help="only this clock (default: all that the format holds)")
    parser.add_argument("--lines", action="store_true", help="tell the lines of a function apart")
    parser.add_argument("--threads", action="store_true", help="collapsed stacks begin with their thread")


def act(options: argparse.Namespace) -> int:
    """Writes the file, and says what has no place in it."""
    profile = _files.load(options.file)
    name = options.format or _native.format_of(options.output)
    for loss in profile.losses(name, clock=options.clock, lines=options.lines, threads=options.threads):
        print(f"spprof convert: {loss}", file=sys.stderr)
    try:
        profile.save(options.output, name, clock=options.clock, lines=options.lines, threads=options.threads)
    except OSError as error:
        raise UsageError(f"{options.output} cannot be written: {error.strerror or error}") from None
    return 0
