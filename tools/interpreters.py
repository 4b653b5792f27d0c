"""Finds the CPython interpreters of this machine: a given script, PATH, pyenv's versions and those uv installed.

A name is the minor version, with a `t` for a free-threaded build: `3.12`, `3.13t`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import systems

NAMES = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "3.13t", "3.14t", "3.15t")
"""Every interpreter that spprof supports, in the order in which they are tested."""

_PRINT_NAME = """
import sys, sysconfig
if sys.implementation.name == "cpython":
    print("%d.%d" % sys.version_info[:2] + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))
"""

_PRINT_INCLUDE = "import sysconfig; print(sysconfig.get_path('include'))"


def find(names: Sequence[str], script: Path, uv: str | None) -> dict[str, str]:
    """The path of an interpreter for every one of `names` that could be had, in the order of `names`.

    `script`, if it exists, prints `NAME PATH` lines and may install what it names; it is asked first. `uv` is the path
    of uv, or None to leave its interpreters out.
    """
    found: dict[str, str] = {}
    if script.exists():
        found = dict(_from_script(script))
    # Only what is still missing is looked for: every candidate costs the start of an interpreter.
    for name in names:
        if name in found:
            continue
        path = next((path for path in _candidates(name, uv) if _name_of(path) == name), None)
        if path is not None:
            found[name] = path
    return {name: found[name] for name in names if name in found}


def is_free_threaded(name: str) -> bool:
    """Whether the name is that of a build without the GIL."""
    return name.endswith("t")


def has_headers(path: str) -> bool:
    """Whether CPython's headers are beside the interpreter."""
    process = subprocess.run([path, "-I", "-c", _PRINT_INCLUDE], stdout=subprocess.PIPE, text=True, check=True)
    include = Path(process.stdout.strip())
    # An interpreter that was moved after it was built names the old place.
    moved = Path(path).resolve().parent.parent / "include" / include.name
    return any((folder / "internal" / "pycore_object.h").exists() for folder in (include, moved))


def _from_script(script: Path) -> Iterator[tuple[str, str]]:
    """What the script prints. It says on standard error what it could not get, so its exit status adds nothing."""
    output = subprocess.run([str(script)], stdout=subprocess.PIPE, text=True, check=False).stdout
    for line in output.splitlines():
        name, _, path = line.partition(" ")
        if path and _name_of(path) == name:
            yield name, path


def _candidates(name: str, uv: str | None) -> Iterator[str]:
    """Paths where an interpreter of that name may be."""
    for folder in os.get_exec_path():
        # A shim of pyenv exists for every version, but runs only the one that is switched on.
        if Path(folder).name == "shims":
            continue
        for executable in systems.executables(name, sys.platform):
            path = shutil.which(executable, path=folder)
            if path is not None:
                yield path
    yield from _known_to_launcher()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in sorted(pyenv.glob(f"versions/{name.rstrip('t')}.*"), reverse=True):
        yield str(version / "bin" / "python3")
    if uv is not None:
        yield from _installed_by_uv(uv)


def _known_to_launcher() -> list[str]:
    """What Windows' own launcher of interpreters knows: asked for a list, because it may install what is asked for by name."""
    launcher = shutil.which("py") if sys.platform == "win32" else None
    if launcher is None:
        return []
    done = subprocess.run([launcher, "-0p"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return systems.launcher_paths(done.stdout)


def _installed_by_uv(uv: str) -> Iterator[str]:
    command = [uv, "python", "list", "--only-installed", "--managed-python", "--offline", "--output-format", "json"]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if process.returncode == 0:
        for entry in json.loads(process.stdout):
            yield entry["path"]


def _name_of(path: str) -> str | None:
    """The name of the interpreter at `path`; None if nothing there runs as CPython."""
    try:
        process = subprocess.run(
            [path, "-I", "-c", _PRINT_NAME],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None
