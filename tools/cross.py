"""Checks for the systems that this machine is not: `tools/cross.py`, on Debian 12 with Python from 3.9, cargo and a C compiler.

    tools/cross.py [--quick] [--folder FOLDER] [--target TARGET ...] [TESTS ...]

Makes a foreign toolchain in FOLDER (default: `.work/cross`) of Debian's and PyPI's packages, and uses it again the next time:
rustc and clippy, the standard library for aarch64 Linux ready-made and for musl and macOS built from its source, zig as their
linker, qemu-user, Debian's CPythons for arm64, musl and CPythons that are built for it. No root is needed, and nothing is
installed. Then, for every target:

link     of the extension, with every lint of clippy a failure; what the file asks of its system has to be there;
tests    of the crates, for aarch64 by qemu-user and for musl on x86_64 as they are;
pytest   TESTS with the package for aarch64 and for musl, each file by itself. The default is all of tests/integration that
         qemu-user is true to, and for musl on aarch64 what may depend on both.

--quick is what `tools/test.py` runs: links for all targets, and of the tests a part, for aarch64 alone and one CPython.

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
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import foreign_python
import foreign_rust
import linked
import own_pip

ROOT = Path(__file__).resolve().parent.parent

AARCH64 = "aarch64-unknown-linux-gnu"
MUSL = ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl")
MACOS = ("aarch64-apple-darwin", "x86_64-apple-darwin")
TARGETS = (AARCH64, *MUSL, *MACOS)
EMULATED = (AARCH64, MUSL[1])
QUICK_TESTED = (AARCH64,)
"""The others are linked only: to run something for them takes CPythons that are built here."""
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
TEST_REQUIREMENTS = ("pytest>=8", "pytest-rerunfailures", "hypothesis>=6", "exceptiongroup", "typing_extensions")

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
    "tests/integration/test_released_gil.py": SLOW_START,
}
"""Tests of the package, and files of them, that qemu-user cannot pass, and why."""
QEMU_ENVIRONMENT = {"SPPROF_TESTS_SYSTEM_CALLS_OF": "x86_64"}
"""Tests wait for the system to say that a thread is in read(2), and it gives its own number."""
CRATES_NOT_UNDER_QEMU = {
    "a_file_that_stays_open_tells_what_is_the_case_now": OTHER_CALLS,
    "no_more_stay_open_than_may_and_all_are_told_of": OTHER_CALLS,
}
"""Tests of the crates, by a part of their names."""

AFTER_TESTS = ("nice", "-n", "10")
"""What is only compiled leaves the processors to tests that run meanwhile, and measure."""

STEP_LIMIT_SECONDS = 3600
"""A step that takes as long hangs."""

PACKAGE_TESTS = ("tests/integration",)
MUSL_ARM_TESTS = tuple(
    f"tests/integration/test_{name}.py" for name in ("gc", "sessions", "stacks", "states", "threads")
)
LONG_TESTS = (
    "test_api.py",
    "test_autostart.py",
    "test_cli_report.py",
    "test_cli_run.py",
    "test_files.py",
    "test_lines.py",
)
"""Begun first, so that none is left for the end."""
ONE_PYTHON_TESTS = ("test_autostart.py", "test_cli_report.py", "test_cli_run.py", "test_files.py")
"""Begin many processes, each of which takes qemu-user seconds, and ask for nothing that is another thing in another CPython: with
more than one they are run with the last."""
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

    def __init__(self, folder: Path, targets: Sequence[str], tested: Sequence[str], quick: bool) -> None:
        self.report = Report()
        self.folder = folder
        self.targets = targets
        self.tested = tested
        self.quick = quick
        self.pythons = ARM_PYTHONS[:1] if quick else ARM_PYTHONS
        self.toolchain = foreign_rust.Toolchain(folder)
        self.zig = folder / "zig" / "bin"
        self.arm = folder / "arm64"
        """Debian's CPythons for arm64."""
        self.qemu = folder / "qemu" / "usr/bin/qemu-aarch64-static"
        self.musl_python = foreign_python.MuslPython(folder / "musl")
        self.site = folder / "site"
        """Packages of pure Python for the tests."""

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
            self.toolchain.fetch(stable, ["libstd-rust-web-dev:arm64"])
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
            subprocess.run([*own_pip.command(self.folder), "install", *pure, *TEST_REQUIREMENTS], check=True)

        makers: dict[str, Callable[[], None]] = {"rust": rust, "zig": zig}
        if self.tested:
            makers["pytest"] = site
        if AARCH64 in self.tested:
            makers[f"CPython {' '.join(self.pythons)} for arm64"] = pythons
        if set(MUSL) & set(self.tested):
            makers["musl"] = self.musl_python.fetch
        with ThreadPoolExecutor() as pool:
            return all(pool.map(lambda each: self.once(f"fetch {each[0]}", each[1]), makers.items()))

    def ziglang(self) -> Path:
        """Where zig is, and what comes with it."""
        (folder,) = self.zig.parent.glob("lib/python*/site-packages/ziglang")
        return folder

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
            f"CARGO_TARGET_{_shouted(MUSL[0])}_RUNNER": str(self.musl_python.loader("x86_64")),
            f"CARGO_TARGET_{_shouted(MUSL[1])}_RUNNER": f"{self.qemu} -L {self.musl_python.musl}",
        }
        for target in MUSL:
            # zig would still link a program with its own musl.
            environment[f"CARGO_TARGET_{_shouted(target)}_RUSTFLAGS"] = (
                "-C target-feature=-crt-static -C link-arg=-dynamic"
            )
        for target in MACOS:
            # CPython's own symbols come from the executable.
            environment[f"CARGO_TARGET_{_shouted(target)}_RUSTFLAGS"] = (
                "-C link-arg=-undefined -C link-arg=dynamic_lookup"
            )
        return environment

    def make_std(self) -> bool:
        """The standard libraries that Debian does not have, all at once."""
        crate = self.toolchain.crate_of_std()
        # The crate for tests is a part of it.
        crates, mark = (
            ("std,panic_abort,test", "made") if set(MUSL) & set(self.tested) else ("std,panic_abort", "linked")
        )
        marks = {target: crate / f"{mark}-{target}" for target in self.targets if target != AARCH64}
        targets = [target for target, mark in marks.items() if not mark.exists()]
        if not targets:
            return True
        command: list[str | Path] = [*AFTER_TESTS, "cargo", "build", f"-Zbuild-std={crates}"]
        command += ["--manifest-path", crate / "Cargo.toml"]
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
            *(AFTER_TESTS if verb == "zigbuild" else ()),
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

    def link(self) -> bool:
        """clippy and a link in one, for every target; then what was linked is looked at. True if all of that is well."""
        lints = {key: value for key, value in self.toolchain.lints().items() if key not in self.toolchain.environment()}
        version = ".".join(map(str, NEWEST_GLIBC))
        targets = [f"{target}.{version}" if target == AARCH64 else target for target in self.targets]
        if not self.cargo("clippy and link", "zigbuild", ["-p", "spprof-python", *_each("--target", targets)], lints):
            return False
        looks = [self.report.make(f"symbols of {target}", partial(self.look_at, target)) for target in self.targets]
        return all(looks)

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
        libc = self.ziglang() / "lib" / "libc"
        if target in MUSL:
            text = (libc / "musl" / "libc.S").read_text()
            return set(re.findall(r"^(?:\.globl|\.weak|WEAK64|WEAKTIME64) (\S+)", text, re.MULTILINE))
        text = (libc / "darwin" / "libSystem.tbd").read_text()
        # dyld_stub_binder alone has no underscore before it.
        return {word.removeprefix("_") for word in re.findall(r"[\w$.]+", text)}

    def test_crates(self) -> None:
        """The tests of the crates; those of documents are left out, as they need a rustdoc of the same version."""
        if set(EMULATED) & set(self.tested):
            for name, reason in CRATES_NOT_UNDER_QEMU.items():
                self.report.skip(f"{name} on aarch64", reason)
        for target in (AARCH64, *MUSL):
            if target not in self.tested:
                continue
            options = ["--no-fail-fast", "--target", target]
            skipped = ["--", *_each("--skip", CRATES_NOT_UNDER_QEMU)] if target in EMULATED else []
            self.cargo(f"cargo test capture, {target}", "test", ["-p", "capture", "--lib", *options, *skipped])
            # The tests apart from the code try properties with hundreds of cases each: minutes by qemu-user.
            once_is_enough = self.quick or target == MUSL[1]
            kinds = ["--lib"] if once_is_enough else ["--lib", "--tests"]
            self.cargo(f"cargo test, {target}", "test", [*_each("-p", FREE_CRATES), *kinds, *options])
        for target in TARGETS:
            if target not in self.targets:
                self.report.skip(target, "not asked for")
            elif target in MACOS:
                self.report.skip(f"tests on {target}", "nothing here runs macOS")
            elif target not in self.tested:
                self.report.skip(f"tests on {target}", "not with --quick or --no-tests")

    def make_package(self, target: str) -> Path:
        """spprof for a target, as a wheel would install it, in a folder of its own."""
        package = self.folder / "packages" / target
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(ROOT / "python" / "spprof", package / "spprof")
        for file in (ROOT / "python" / "spprof.data" / "purelib").iterdir():
            shutil.copy2(file, package)
        shutil.copy2(self.library(target), package / "spprof" / "_native.abi3.so")
        return package

    def make_musl_pythons(self) -> bool:
        """CPythons for the targets with musl."""
        if shutil.which("make") is None:
            self.report.skip("tests of the package on musl", "no CPython can be built without make")
            return False
        processors = [_processor(target) for target in MUSL if target in self.tested or target == MUSL[0]]
        name = f"CPython {foreign_python.MUSL_VERSION} for musl"
        zig = self.ziglang() / "zig"
        return all(self.once(f"{name} {each}", partial(self.musl_python.build, each, zig)) for each in processors)

    def test_package_on_arm(self, pool: Executor, tests: Sequence[str]) -> list[Future[None]]:
        """Begins the tests of the package for aarch64."""
        if not self.cargo(f"build {AARCH64}", "zigbuild", ["-p", "spprof-python", "--target", AARCH64]):
            return []
        package = self.make_package(AARCH64)
        for name, reason in NOT_UNDER_QEMU.items():
            self.report.skip(f"{name} on aarch64", reason)
        interpreters = {}
        for version in self.pythons:
            emulated: list[str | Path] = [self.qemu, "-L", self.arm, "-0", self.arm / "usr/bin" / f"python{version}"]
            folder = self.folder / "environments" / f"{version}-{AARCH64}"
            # qemu-user finds this folder in that of the CPythons.
            interpreters[f"{version} aarch64"] = foreign_python.make_environment(
                folder, version, emulated, "/usr/bin", package
            )
        left_out = [*NOT_UNDER_QEMU, *(QUICK_LEFT_OUT if self.quick else ())]
        return self.begin_tests(pool, interpreters, tests, left_out, QEMU_ENVIRONMENT)

    def test_package_on_musl(self, pool: Executor, tests: Sequence[str], pythons: Future[bool]) -> list[Future[None]]:
        """Begins the tests of the package for musl, which has to be linked, once there are `pythons`."""
        begun: list[Future[None]] = []
        if not pythons.result():
            return begun
        for target in MUSL:
            if target not in self.tested:
                continue
            processor, version = _processor(target), foreign_python.MUSL_VERSION
            program = self.musl_python.prefix(processor) / "bin" / f"python{version}"
            emulator: list[str | Path] = [self.qemu, "-L", self.musl_python.musl, "-0"] if target in EMULATED else []
            folder = self.folder / "environments" / f"{version}-{target}"
            python = foreign_python.make_environment(
                folder, version, [*emulator, program], program.parent, self.make_package(target)
            )
            own_tests, left_out, more = list(tests), [], {}
            if target in EMULATED:
                own_tests, left_out, more = list(tests or MUSL_ARM_TESTS), list(NOT_UNDER_QEMU), QEMU_ENVIRONMENT
                if not tests:
                    reason = "what differs there is musl or the processor, and each is tested by itself"
                    self.report.skip(f"the rest of {' '.join(PACKAGE_TESTS)} on {target}", reason)
            name = f"{version} musl {processor}"
            begun += self.begin_tests(pool, {name: python}, own_tests or PACKAGE_TESTS, left_out, more)
        return begun

    def begin_tests(
        self,
        pool: Executor,
        interpreters: Mapping[str, Path],
        tests: Iterable[str],
        left_out: Sequence[str],
        more: Mapping[str, str],
    ) -> list[Future[None]]:
        """Begins a run of pytest for each file and interpreter."""
        environment = {
            "PYTHONPATH": str(self.site),
            # Compiling takes qemu-user longer than most tests do. Debian's files come without bytecode, and pytest compiles each
            # plugin it finds by itself: all of Hypothesis.
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **more,
        }

        def run(name: str, python: Path, test: str) -> None:
            # As in tools/test.py, a test that fails is run once more; the closing line tells.
            again = ["-p", "pytest_rerunfailures", "--reruns", "1"]
            command: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *again]
            own = [each for each in left_out if each.startswith(f"{test}::")]
            self.report.run(f"pytest {name} {test}", [*command, *_each("--deselect", own), test], environment)

        return [
            pool.submit(run, name, python, test)
            for test in _files(tests)
            if test not in left_out
            for name, python in list(interpreters.items())[-1 if Path(test).name in ONE_PYTHON_TESTS else 0 :]
        ]


def _files(tests: Iterable[str]) -> list[str]:
    """Names of tests, from the root of the repository, with the files of a folder in its place; those that take long are first."""
    found = []
    for test in tests:
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / test).glob("test_*.py"))
        found += files or [test]
    return sorted(found, key=lambda name: Path(name).name not in LONG_TESTS)


def _processor(target: str) -> str:
    return target.split("-", maxsplit=1)[0]


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
    parser.add_argument("tests", nargs="*", help="files of tests for aarch64 and musl")
    return parser.parse_args()


def main() -> int:
    """Runs everything; the exit status is 1 if anything failed."""
    options = parse_options()
    reason = foreign_rust.obstacle()
    if reason is not None:
        print(f"skipped: other systems: {reason}")
        return 0
    began = time.monotonic()
    targets = options.target or TARGETS
    tested = [target for target in targets if target not in MACOS and (target in QUICK_TESTED or not options.quick)]
    work = Work(options.folder.resolve(), targets, [] if options.no_tests else tested, options.quick)
    work.folder.mkdir(parents=True, exist_ok=True)
    try:
        fetched = work.fetch()
    except foreign_rust.Unreachable as error:
        print(f"skipped: other systems: {error}")
        return 0
    if fetched:
        # They run under qemu-user while the rest is compiled.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            begun: list[Future[None]] = []
            musl_pythons = pool.submit(work.make_musl_pythons) if set(MUSL) & set(work.tested) else None
            if AARCH64 in work.tested:
                begun += work.test_package_on_arm(
                    pool, options.tests or (QUICK_TESTS if options.quick else PACKAGE_TESTS)
                )
            if work.make_std():
                on_musl = None
                if work.link() and musl_pythons is not None:
                    on_musl = pool.submit(work.test_package_on_musl, pool, options.tests, musl_pythons)
                work.test_crates()
                if on_musl is not None:
                    begun += on_musl.result()
            for each in begun:
                each.result()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("\n=== summary")
    print("\n".join(work.report.lines))
    print(f"{time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processors")
    failed = work.report.failed
    print(f"FAILED: {', '.join(failed)}" if failed else "all that could be done passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
