"""What one system does in another way than Linux, decided from its name: `system` is a value of `sys.platform`.

So a test on one system can ask about the others.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

QUICK_WINDOWS_TESTS = (
    "tests/windows",
    "tests/unit/test_systems.py",
    *(
        f"tests/integration/test_{name}.py"
        for name in ("stacks", "gc", "states", "threads", "sessions", "clocks", "lines", "views")
    ),
)
"""What `tools/wine.py --quick` runs: not what begins many processes, each of which takes Wine seconds."""

WINDOWS_TESTS = ("tests/windows", "tests/unit/test_systems.py", "tests/integration")
"""What of `tests` is for Windows; what of that is not skips itself, and says why."""

LEFT_OUT = {
    "win32": {
        "floor": "it measures a signal handler, and there is none",
        "fuzz": "libFuzzer wants GCC or Clang; what is fuzzed is the same on every system",
        "handler calls": "there is no signal handler",
        "valgrind": "there is none for it",
        "layouts": "layouts.c is compiled with cc, against the headers of Linux",
        "CPython's tests": "not tried there",
        "IPython": "the tests compare CPU times to one per cent, and the clocks of threads go in steps of 16 ms there",
        "neighbours": "uvloop and gunicorn are of Unix only",
        "consumers": "they read files that are the same on every system",
        "html": "the browser is spoken to through descriptors that it inherits; the page is the same on every system",
        "other systems": "they are looked at from Debian 12",
    }
}
"""By system the parts of `tools/test.py` that are not run there, and why."""


def why_not(part: str, system: str) -> str | None:
    """Why a part of the checks is not run on a system; None if it is."""
    return LEFT_OUT.get(system, {}).get(part)


def tests(system: str) -> tuple[str, ...]:
    """What pytest is given, below the root of the repository."""
    return WINDOWS_TESTS if system == "win32" else ("tests",)


def wheel_options(system: str) -> tuple[str, ...]:
    """What maturin is told of the systems that a wheel is for: not to look for the oldest Linux that it runs on."""
    return ("--compatibility", "linux") if system == "linux" else ()


@dataclass(frozen=True)
class VirtualEnvironment:
    """A folder that `venv` or uv made."""

    folder: Path
    system: str = sys.platform

    def program(self, name: str) -> Path:
        """Where a program of that name is, or would be."""
        if self.system == "win32":
            return self.folder / "Scripts" / f"{name}.exe"
        return self.folder / "bin" / name


def executables(name: str, system: str) -> tuple[str, ...]:
    """What an interpreter like `3.13t` may be called in a folder of PATH, the most exact one first."""
    version = name.rstrip("t")
    if system == "win32":
        # Its installers call it `python`, whatever the version.
        return (f"python{name}.exe", f"python{version}.exe", "python.exe")
    return (f"python{name}", f"python{version}", "python3")


def launcher_paths(listed: str) -> list[str]:
    """The interpreters in what `py -0p` prints: one in each line, behind its version and perhaps a star."""
    return re.findall(r"(?m)\s([A-Za-z]:\\.*\.exe)\s*$", listed)
