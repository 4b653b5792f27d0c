"""Checks for the systems that this machine is not: `tools/cross.py`, on Debian 12 with Python from 3.9, cargo and a C compiler.

    tools/cross.py [--quick] [--folder FOLDER] [--target TARGET ...] [TESTS ...]

Makes a foreign toolchain in FOLDER (default: `.work/cross`) of Debian's and PyPI's packages, and uses it again the next time:
rustc and clippy, the standard library for aarch64 Linux ready-made and for musl and macOS built from its source, zig as their
linker, qemu-user and Debian's CPythons for arm64. No root is needed, and nothing is installed. Then, for every target:

link     of the extension, with every lint of clippy a failure; what the file asks of its system has to be there;
tests    of the crates, for aarch64 by qemu-user and for musl on x86_64 as they are;
pytest   TESTS (default: all that qemu-user is true to) with the package for aarch64, under its CPythons.

--quick is what `tools/test.py` runs: aarch64 alone, one CPython, and a part of the tests.

What a runner says in its last line is printed at the end, and what could not be done is named with the reason. The exit status is 1
if something failed, and 0 where nothing can be done because this is another system.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import foreign_rust
import linked

ROOT = Path(__file__).resolve().parent.parent

AARCH64 = "aarch64-unknown-linux-gnu"
MUSL = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
MACOS = ("aarch64-apple-darwin", "x86_64-apple-darwin")
TARGETS = (AARCH64, *MUSL, *MACOS)
QUICK_TARGETS = (AARCH64,)
"""What can be run here. The others take six minutes of processors more, most of them for their standard libraries."""
KINDS = {
    AARCH64: "ELF aarch64",
    MUSL[0]: "ELF x86_64",
    MUSL[1]: "ELF aarch64",
    MACOS[0]: "Mach-O arm64",
    MACOS[1]: "Mach-O x86_64",
}

NEWEST_GLIBC = (2, 17)
"""Of the wheels for Linux (manylinux2014)."""

ARM_RELEASE = "sid"
ARM_PYTHONS = ("3.14", "3.15")
TOOLS = ("cargo-zigbuild==0.24.0", "ziglang==0.17.1")
TEST_REQUIREMENTS = ("pytest>=8", "hypothesis>=6", "exceptiongroup", "typing_extensions")

FREE_CRATES = ("interpreter", "profile", "formats")
"""Crates that know of no system."""

OTHER_CALLS = "/proc/self/task/TID/syscall shows the system calls of the machine below"
NO_TERMINAL = (
    "isatty of glibc 2.43 asks with TCGETS2, which the qemu-user of Debian 12 does not know: nothing is a terminal"
)
SLOW_START = "asks for a hundredth of the time, and qemu-user takes more to translate what runs for the first time"
NOT_UNDER_QEMU = {
    "tests/integration/test_states.py::test_waiting_for_the_gil": OTHER_CALLS,
    "tests/integration/test_states.py::test_spinning": OTHER_CALLS,
    "tests/integration/test_cli_report.py::test_colours_on_a_terminal_only": NO_TERMINAL,
    "tests/integration/test_released_gil.py::test_time_of_calls_without_the_gil_is_counted_and_goes_to_their_line": SLOW_START,
}
"""Tests of the package that qemu-user cannot pass, and why."""
CRATES_NOT_UNDER_QEMU = {
    "a_file_that_stays_open_tells_what_is_the_case_now": OTHER_CALLS,
    "no_more_stay_open_than_may_and_all_are_told_of": OTHER_CALLS,
}
"""Tests of the crates, by a part of their names."""

STEP_LIMIT_SECONDS = 1500
"""No step takes a third of this on two idle processors; one that does hangs."""

ARM_TESTS = ("tests/integration",)
QUICK_TESTS = ("tests/integration/test_stacks.py",)
QUICK_LEFT_OUT = ("tests/integration/test_stacks.py::test_all_of_this_with_the_jit_compiler",)
"""It runs the others once more."""


@dataclass
class Report:
    """Runs the steps, and keeps what became of each."""

    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> bool:
        """Runs one command from the root of the repository; True if it ends well. Its output is shown in one piece."""
        began = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        watchdog = threading.Timer(STEP_LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        assert process.stdout is not None
        told = process.stdout.read().rstrip().splitlines()
        _, ended, used = os.wait4(process.pid, 0)
        watchdog.cancel()
        status = process.returncode = os.waitstatus_to_exitcode(ended)
        with self.lock:
            print(f"\n=== {name}: {' '.join(map(str, command))}", *told, sep="\n", flush=True)
        # Of several runners of one command, each has a line that counts.
        closing = [line for line in told if line.startswith("test result:")] or told[-1:]
        wrong = None if status == 0 else f"exit status {status}"
        self.finish(name, began, wrong, [f"{used.ru_utime + used.ru_stime:.0f} s of processors", *closing])
        return status == 0

    def make(self, name: str, make: Callable[[], None]) -> bool:
        """Runs a function; what it raises is a failure of this step."""
        began = time.monotonic()
        wrong = None
        try:
            make()
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            wrong = str(error)
        self.finish(name, began, wrong, ())
        return wrong is None

    def finish(self, name: str, began: float, wrong: str | None, closing: Sequence[str]) -> None:
        """Notes how a step ended."""
        outcome = "ok" if wrong is None else f"FAILED: {wrong}"
        with self.lock:
            self.lines.append(f"{name}: {outcome}, {time.monotonic() - began:.0f} s")
            self.lines += [f"    {line}" for line in closing]
            print(f"--- {name}: {outcome}", flush=True)
            if wrong is not None:
                self.failed.append(name)

    def skip(self, name: str, reason: str) -> None:
        """Notes what is not done."""
        with self.lock:
            self.lines.append(f"skipped: {name}: {reason}")


class Work:
    """What is made in the folder; a part that is there is not made again."""

    def __init__(self, folder: Path, targets: Sequence[str], quick: bool) -> None:
        self.report = Report()
        self.folder = folder
        self.targets = targets
        self.quick = quick
        self.pythons = ARM_PYTHONS[:1] if quick else ARM_PYTHONS
        self.toolchain = foreign_rust.Toolchain(folder)
        self.zig = folder / "zig" / "bin"
        self.arm = folder / "arm64"
        """Debian's CPythons for arm64."""
        self.qemu = folder / "qemu" / "usr/bin/qemu-aarch64-static"
        self.site = folder / "site"
        """Packages of pure Python for the tests."""
        self.package = folder / "package"
        """spprof for aarch64, as a wheel would install it."""

    def once(self, name: str, make: Callable[[], None]) -> bool:
        """A step that leaves a mark, and is not done where that is."""
        mark = self.folder / "made" / name.replace(" ", "-")
        if mark.exists():
            return True
        if not self.report.make(name, make):
            return False
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        return True

    def fetch(self) -> bool:
        """All that comes from Debian and PyPI."""
        stable = foreign_rust.Archives(self.folder / "apt", foreign_rust.RELEASE, ("amd64", "arm64"))
        arm = foreign_rust.Archives(self.folder / "apt-arm64", ARM_RELEASE, ("arm64",))

        def rust() -> None:
            stable.update()
            self.toolchain.fetch(
                stable, [f"libstd-rust-web-dev:{each}" for each in ("arm64",) if AARCH64 in self.targets]
            )
            if AARCH64 in self.targets:
                stable.unpack(["qemu-user-static"], self.folder / "qemu")

        def zig() -> None:
            subprocess.run([sys.executable, "-m", "venv", self.zig.parent], check=True)
            subprocess.run([self.zig / "pip", "install", "-q", "--disable-pip-version-check", *TOOLS], check=True)

        def pythons() -> None:
            arm.update()
            arm.unpack_with_dependencies([f"python{version}" for version in self.pythons], self.arm)
            if not (self.arm / "lib").exists():
                (self.arm / "lib").symlink_to("usr/lib")

        def site() -> None:
            pure: list[str | Path] = [
                "--platform",
                "any",
                "--only-binary=:all:",
                "--python-version",
                ARM_PYTHONS[0],
                "--target",
                self.site,
            ]
            command: list[str | Path] = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                *pure,
            ]
            subprocess.run([*command, *TEST_REQUIREMENTS], check=True)

        makers: dict[str, Callable[[], None]] = {"rust": rust, "zig": zig}
        if AARCH64 in self.targets:
            makers |= {f"CPython {' '.join(self.pythons)} for arm64": pythons, "pytest": site}
        with ThreadPoolExecutor() as pool:
            return all(pool.map(lambda each: self.once(f"fetch {each[0]}", each[1]), makers.items()))

    def environment(self) -> dict[str, str]:
        """What cargo is told. Not the release profile, whose last step alone takes minutes for each target."""
        environment = {
            **self.toolchain.environment(),
            "PATH": f"{self.zig}:{os.environ['PATH']}",
            "CARGO": str(shutil.which("cargo")),
            "CARGO_INCREMENTAL": "0",
            "CARGO_PROFILE_DEV_DEBUG": "0",
            # Stripping would take Apple's tools, or a rust-objcopy.
            "CARGO_PROFILE_DEV_STRIP": "none",
            f"CARGO_TARGET_{_shouted(AARCH64)}_RUNNER": f"{self.qemu} -L {self.arm}",
            f"CARGO_TARGET_{_shouted(MUSL[1])}_RUNNER": str(self.qemu),
        }
        for target in MUSL:
            environment[f"CARGO_TARGET_{_shouted(target)}_RUSTFLAGS"] = "-C target-feature=-crt-static"
        for target in MACOS:
            # CPython's own symbols come from the executable.
            environment[f"CARGO_TARGET_{_shouted(target)}_RUSTFLAGS"] = (
                "-C link-arg=-undefined -C link-arg=dynamic_lookup"
            )
        return environment

    def make_std(self) -> bool:
        """The standard libraries that Debian does not have, all at once."""
        crate = self.toolchain.crate_of_std()
        marks = {target: crate / f"made-{target}" for target in self.targets if target != AARCH64}
        targets = [target for target, mark in marks.items() if not mark.exists()]
        if not targets:
            return True
        command: list[str | Path] = [
            "cargo",
            "build",
            "-Zbuild-std=std,panic_abort,test",
            "--manifest-path",
            crate / "Cargo.toml",
        ]
        quick = {"CARGO_PROFILE_DEV_DEBUG_ASSERTIONS": "false"}
        environment = {**self.environment(), **quick, "CARGO_TARGET_DIR": str(crate / "target")}
        if not self.report.run("standard libraries", [*command, *_each("--target", targets)], environment):
            return False
        for target in targets:
            self.toolchain.install_std(target, crate / "target" / target / "debug/deps")
            marks[target].touch()
        return True

    def cargo(self, name: str, verb: str, options: Sequence[str], more: Mapping[str, str] | None = None) -> bool:
        """cargo with zig as the linker. Only what is ours is optimised: the rest takes longer to build than to run."""
        faster = [f"profile.dev.package.{crate}.opt-level=1" for crate in (*FREE_CRATES, "capture")]
        command: list[str | Path] = [
            self.zig / "cargo-zigbuild",
            verb,
            "--locked",
            *_each("--config", faster),
            *options,
        ]
        return self.report.run(name, command, {**self.environment(), **(more or {})})

    def library(self, target: str) -> Path:
        """Where cargo leaves the extension."""
        suffix = "dylib" if target in MACOS else "so"
        return self.folder / "target" / target / "debug" / f"lib_native.{suffix}"

    def link(self) -> None:
        """clippy and a link in one, for every target; then what was linked is looked at."""
        lints = {key: value for key, value in self.toolchain.lints().items() if key not in self.toolchain.environment()}
        version = ".".join(map(str, NEWEST_GLIBC))
        targets = [f"{target}.{version}" if target == AARCH64 else target for target in self.targets]
        if self.cargo("clippy and link", "zigbuild", ["-p", "spprof-python", *_each("--target", targets)], lints):
            for target in self.targets:
                self.report.make(f"symbols of {target}", partial(self.look_at, target))

    def look_at(self, target: str) -> None:
        """Whether the system would load the extension; raises ValueError if not."""
        found = linked.read(self.library(target))
        known = None if target == AARCH64 else self.symbols_of(target)
        wrong = linked.faults(found, KINDS[target], known, NEWEST_GLIBC)
        print(
            f"{target}: {found.kind}, loads {', '.join(found.libraries)}, {len(found.undefined)} undefined symbols",
            flush=True,
        )
        if wrong:
            raise ValueError("; ".join(wrong))

    def symbols_of(self, target: str) -> set[str]:
        """What the C library of a system has, as zig knows it."""
        (libc,) = self.zig.parent.glob("lib/python*/site-packages/ziglang/lib/libc")
        if target in MUSL:
            text = (libc / "musl" / "libc.S").read_text()
            return set(re.findall(r"^(?:\.globl|\.weak|WEAK64|WEAKTIME64) (\S+)", text, re.MULTILINE))
        text = (libc / "darwin" / "libSystem.tbd").read_text()
        # dyld_stub_binder alone has no underscore before it.
        return {word.removeprefix("_") for word in re.findall(r"[\w$.]+", text)}

    def test_crates(self) -> None:
        """The tests of the crates; those of documents are left out, as they need a rustdoc of the same version."""
        if AARCH64 in self.targets:
            for name, reason in CRATES_NOT_UNDER_QEMU.items():
                self.report.skip(f"{name} on aarch64", reason)
            skipped = ["--", *_each("--skip", CRATES_NOT_UNDER_QEMU)]
            options = ["--no-fail-fast", "--target", AARCH64]
            self.cargo("cargo test capture, aarch64", "test", ["-p", "capture", "--lib", *options, *skipped])
            # The tests apart from the code try properties with hundreds of cases each: minutes by qemu-user.
            kinds = ["--lib"] if self.quick else ["--lib", "--tests"]
            self.cargo("cargo test, aarch64", "test", [*_each("-p", FREE_CRATES), *kinds, *options])
        for target in () if self.quick else MUSL:
            if target in self.targets:
                # Its programs run here as they are, or by qemu-user, once they need no loader of their own.
                static = {f"CARGO_TARGET_{_shouted(target)}_RUSTFLAGS": "-C target-feature=+crt-static"}
                options = ["-p", "capture", "--lib", "--no-fail-fast", "--target", target]
                skipped = ["--", *_each("--skip", CRATES_NOT_UNDER_QEMU)] if target == MUSL[1] else []
                self.cargo(f"cargo test capture, {target}", "test", [*options, *skipped], static)
        for target in TARGETS:
            if target not in self.targets:
                self.report.skip(target, "not asked for")
            elif target in MACOS:
                self.report.skip(f"tests on {target}", "nothing here runs macOS")

    def make_package(self) -> bool:
        """spprof for aarch64."""
        if not self.cargo(f"build {AARCH64}", "zigbuild", ["-p", "spprof-python", "--target", AARCH64]):
            return False
        shutil.rmtree(self.package, ignore_errors=True)
        shutil.copytree(ROOT / "python" / "spprof", self.package / "spprof")
        for file in (ROOT / "python" / "spprof.data" / "purelib").iterdir():
            shutil.copy2(file, self.package)
        shutil.copy2(self.library(AARCH64), self.package / "spprof" / "_native.abi3.so")
        return True

    def python(self, version: str) -> Path:
        """A script that runs a CPython for arm64, and that it takes for its own executable."""
        script = self.folder / "bin" / f"python{version}"
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f'#!/bin/sh\nexec {self.qemu} -L {self.arm} -0 "$0" {self.arm}/usr/bin/python{version} "$@"\n'
        )
        script.chmod(0o755)
        return script

    def test_package(self, tests: Sequence[str]) -> None:
        """The tests of the package for aarch64."""
        environment = {
            "PYTHONPATH": f"{self.package}:{self.site}",
            # Compiling takes qemu-user longer than most tests do. Debian's files come without bytecode, and pytest compiles each
            # plugin it finds by itself: all of Hypothesis.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        # Tests wait for the system to say that a thread is in read(2), and it gives its own number.
        environment["SPPROF_TESTS_SYSTEM_CALLS_OF"] = "x86_64"
        for name, reason in NOT_UNDER_QEMU.items():
            self.report.skip(f"{name} on aarch64", reason)
        for version in self.pythons:
            command: list[str | Path] = [self.python(version), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            left_out = [*NOT_UNDER_QEMU, *(QUICK_LEFT_OUT if self.quick else ())]
            command += [*_each("--deselect", left_out), *tests]
            self.report.run(f"pytest {version} aarch64", command, environment)


def _shouted(target: str) -> str:
    """A target in the name of an environment variable of cargo's."""
    return target.upper().replace("-", "_")


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def parse_options() -> argparse.Namespace:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one CPython, and a part of the tests")
    parser.add_argument("--folder", type=Path, default=ROOT / ".work" / "cross", help="where everything is made")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be repeated (default: all)")
    parser.add_argument("--no-tests", action="store_true", help="links only")
    parser.add_argument("tests", nargs="*", help="files of tests for aarch64")
    return parser.parse_args()


def main() -> int:
    """Runs everything; the exit status is 1 if anything failed."""
    options = parse_options()
    reason = foreign_rust.obstacle()
    if reason is not None:
        print(f"skipped: other systems: {reason}")
        return 0
    began = time.monotonic()
    work = Work(
        options.folder.resolve(), options.target or (QUICK_TARGETS if options.quick else TARGETS), options.quick
    )
    work.folder.mkdir(parents=True, exist_ok=True)
    try:
        fetched = work.fetch()
    except foreign_rust.Unreachable as error:
        print(f"skipped: other systems: {error}")
        return 0
    if fetched:
        with ThreadPoolExecutor() as pool:
            # One processor runs the tests under qemu-user while the other compiles.
            if AARCH64 in work.targets and not options.no_tests and work.make_package():
                tests = options.tests or (QUICK_TESTS if options.quick else ARM_TESTS)
                pool.submit(work.test_package, tests)
            if work.make_std():
                work.link()
                if not options.no_tests:
                    work.test_crates()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("\n=== summary")
    print("\n".join(work.report.lines))
    print(f"{time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processors")
    failed = work.report.failed
    print(f"FAILED: {', '.join(failed)}" if failed else "all that could be done passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
