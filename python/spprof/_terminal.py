"""Text for terminals: how wide, in which colours, in which characters."""

from __future__ import annotations

import os
import sys
import unicodedata

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

# Where no terminal says how wide it is.
_DEFAULT_WIDTH = 100
# Below this nothing readable fits; longer lines than the terminal's are the lesser evil.
_MIN_WIDTH = 48

# For SetConsoleMode of Windows (consoleapi.h).
_ENABLE_VIRTUAL_TERMINAL_PROCESSING = 4

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Style:
    """How to write to one stream: its width in columns, whether it takes colours, and which characters it can show."""

    def __init__(self, width: int, *, colours: bool = False, encoding: str = "utf-8") -> None:
        self.width = max(_MIN_WIDTH, width)
        self._colours = colours
        try:
            "│├└─…±→".encode(encoding)
            self.unicode = True
        except (UnicodeEncodeError, LookupError):
            self.unicode = False

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, or as it is where there are none."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colours and text else text

    @property
    def ellipsis(self) -> str:
        """What stands for text that was left out."""
        return "…" if self.unicode else "..."

    @property
    def plus_minus(self) -> str:
        """The sign before an error."""
        return "±" if self.unicode else "+-"

    def fit(self, text: str, width: int) -> str:
        """The beginning of the text, in at most ``width`` columns."""
        if columns(text) <= width:
            return text
        room = max(0, width - len(self.ellipsis))
        while columns(text) > room:
            text = text[:-1]
        return text + self.ellipsis

    def fit_end(self, text: str, width: int) -> str:
        """The end of the text, in at most ``width`` columns: that of a path says more than its beginning."""
        if columns(text) <= width:
            return text
        room = max(0, width - len(self.ellipsis))
        while columns(text) > room:
            text = text[1:]
        return self.ellipsis + text


def style_of(stream: TextIO | None) -> Style:
    """The style that suits a stream: colours on a terminal unless NO_COLOR is set, the terminal's width or that of COLUMNS."""
    if stream is None:  # it was closed before Python began
        return Style(_DEFAULT_WIDTH)
    try:
        is_terminal = stream.isatty()
    except ValueError:  # it is closed
        is_terminal = False
    colours = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if sys.platform == "win32":
        colours = colours and _console_takes_colours(stream)
    # One without an encoding, as a StringIO, takes any text.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return Style(_width(stream, is_terminal), colours=colours, encoding=encoding)


if sys.platform == "win32":

    def _console_takes_colours(stream: TextIO) -> bool:
        """Has a console understand the sequences of terminals, as those since Windows 10 do when they are asked to.

        What is no console, such as NUL, is a terminal for `isatty`.
        """
        import ctypes
        import msvcrt

        kernel32 = ctypes.WinDLL("kernel32")
        mode = ctypes.c_uint32()
        try:
            handle = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno()))
        except (OSError, ValueError):
            return False
        if not kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
            return False
        return bool(kernel32.SetConsoleMode(handle, mode.value | _ENABLE_VIRTUAL_TERMINAL_PROCESSING))


def _width(stream: TextIO, is_terminal: bool) -> int:
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if is_terminal:
        try:
            return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
        except (OSError, ValueError):
            pass
    return _DEFAULT_WIDTH


def columns(text: str) -> int:
    """How many columns a terminal takes for the text."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - marks


def printable(text: str) -> str:
    """The text with everything escaped that would move the cursor or turn the line around."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
