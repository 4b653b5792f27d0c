"""``spprof view FILE``: the report as an HTML page, in the browser."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from . import UsageError, _files

if TYPE_CHECKING:
    import argparse

HELP = "opens the report of a profile in the browser"

_PAGE_ENDINGS = (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("file", metavar="FILE", help="a profile, or a report (.html) that was written before")
    parser.add_argument("-o", "--output", metavar="PAGE", help="the HTML file to write (default: a temporary one)")


def act(options: argparse.Namespace) -> int:
    """Opens the page, and says where it is."""
    if options.file.lower().endswith(_PAGE_ENDINGS):
        if options.output is not None:
            raise UsageError(f"{options.file} is a report already: leave out -o to open it")
        if not os.path.isfile(options.file):
            raise UsageError(f"{options.file} cannot be read: there is no such file")
        page = options.file
    else:
        page = _write(options.file, options.output)
    _open(page)
    return 0


def _write(profile_path: str, page: str | None) -> str:
    """Writes the report of a profile and returns where it is."""
    profile = _files.load(profile_path)
    if page is None:
        import tempfile

        # A folder of its own, that nobody else can read: a report has source text in it.
        name = os.path.basename(profile_path).split(".")[0] or "profile"
        page = os.path.join(tempfile.mkdtemp(prefix="spprof-"), f"{name}.html")
    try:
        profile.save(page, "html")
    except OSError as error:
        raise UsageError(f"{page} cannot be written: {error.strerror or error}") from None
    return page


def _open(page: str) -> None:
    import webbrowser
    from pathlib import Path

    path = os.path.abspath(page)
    print(path)
    sys.stdout.flush()
    try:
        is_open = webbrowser.open(Path(path).as_uri())
    except webbrowser.Error:
        is_open = False
    if not is_open:
        print("spprof view: no browser could be started here: open that file yourself", file=sys.stderr)
