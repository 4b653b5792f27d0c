"""Runs every check of spprof: `python3 tools/test.py`, on any Python from 3.9 with `cargo` and a C compiler beside it.

Rust:    cargo fmt, clippy and test; the handler on wrong values; the fuzz targets, half a minute each.
Lint:    ruff and mypy; check-jsonschema for the workflows.
Python:  one abi3 wheel, and one wheel for each free-threaded interpreter; then the tests under every interpreter that
         can be found, each in a virtual environment of its own, and the stack tests once more with the JIT compiler
         of 3.14 and later; the tests of the IPython magics under one; mypy's stubtest of the extension's stubs; the
         structure offsets against the headers; what the signal handlers can call; a program under valgrind; and under one
         interpreter the tools that people open our files with (go tool pprof, callgrind_annotate, snakeviz, inferno,
         Firefox Profiler's engine, speedscope in Chromium), where these can be had.
HTML:    the report in headless Chromium, under one interpreter.
Systems: what can be built and run here for Windows (`tools/wine.py --quick`), and for aarch64, musl and macOS
         (`tools/cross.py --quick`). Without `--quick` they run all that can be run, which would not fit into an hour with
         all the rest.

On Windows some of that makes no sense, and of the tests those are run that `tools/systems.py` names; what is left out is named
at the end, with the reason.

A few tests measure a live process on a machine that others use as well, and what has one chance in ten thousand to go
wrong does so in some run of five thousand tests. So up to three that failed are run once more, by themselves; those that
then pass are named at the end, and one that is named there twice is a fault to be found.

Everything that is made is below .work/ and cargo's target folder. A failure does not stop the run: the table at the end
says what failed, and the exit status is 1 if anything did.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import foreign_rust
import interpreters
import systems
from systems import VirtualEnvironment

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"
STUBS = ROOT / "python" / "spprof" / "_native.pyi"
PYTHONS_SCRIPT = ROOT.parent / "shared" / "bin" / "pythons"
"""Prints `NAME PATH` for interpreters it finds or makes; used if it is there."""

TOOLS = ("maturin==1.16.0", "ruff==0.17.6", "mypy==2.4.1", "check-jsonschema==0.38.2")
"""Pinned: a linter's new rule should come as a change of this line, not as a failure of somebody else's change."""

TEST_REQUIREMENTS = ("pytest>=8", "hypothesis>=6")
"""Not pinned: the last releases that know 3.9 do not know 3.15."""

TOOLS_PYTHONS = ("3.13", "3.12", "3.11", "3.10", "3.14", "3.15")
"""Interpreters that `TOOLS` are run by, best first: all of them support these."""

CONSUMERS = "tests/consumers"
CONSUMERS_PYTHONS = ("3.12", "3.13", "3.11", "3.14", "3.10", "3.9", "3.15")
"""The tools that read our files are run with one interpreter, the first of these that is tested."""
CONSUMERS_TOOLS = ("go", "callgrind_annotate", "chromium", "npm")
CONSUMERS_REQUIREMENTS = ("snakeviz==2.2.2", "jsonschema>=4")
CONSUMERS_NODE_PACKAGES = ("speedscope@1.25.0", "@firefox-devtools/profiler-cli@0.10.0", "node@24.21.0")
"""The last one runs the one before it, which is newer than most systems' Node."""
INFERNO = ("inferno", "--version", "0.12.8", "--locked", "--no-default-features", "--features", "cli")
"""What `cargo install` is given; in a folder of ours, where a second run finds it."""

WINDOWS_PYTHON = "3.13"
"""One of those that `tools/wine.py` can test with; each takes minutes."""

JIT_PYTHONS = ("3.14", "3.15")
JIT_TESTS = "tests/integration/test_stacks.py"

HTML_TESTS = "tests/html"
"""Run once, not under every interpreter: what they test is the page."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

IPYTHON_TESTS = "tests/ipython"
"""Run under one interpreter, the only one that gets IPython."""

SOAK_MINUTES = "0.33"
"""Twenty seconds on every interpreter; `tools/soak.py` alone runs ten minutes."""

SUITE_PYTHONS = ("3.14", "3.15")
"""Interpreters that come with CPython's own tests; `tools/cpython_suite.py --all` runs them all."""

NEIGHBOURS = ("greenlet", "gevent", "uvloop", "numpy", "cffi", "coverage", "gunicorn", "pytest-xdist", "pytest-cov")
"""Not pinned, for the same reason as `TEST_REQUIREMENTS`."""

NEIGHBOUR_PYTHONS = ("3.10", "3.12")
"""Interpreters for which all of these have wheels; one with frames of its own kind, one with those of 3.11 and later."""
NEIGHBOUR_TESTS = "tests/neighbours"

EXIT_STATUS = "FAILED: exit status "
"""What the outcome of a step begins with whose command ended with a status that is not allowed."""

STEP_LIMIT_SECONDS = 1800
"""No step takes a third of this; one that does hangs."""

TESTS_FAILED = 1
"""pytest's exit status when it ran to its end and tests failed; a crash has another."""
NO_TESTS_COLLECTED = 5
"""pytest's exit status when `-k` leaves nothing of a file."""
MOST_RETRIED = 3
"""Failed tests of one run that are tried again; more of them have a cause in common."""


@dataclass
class Runner:
    """Runs steps and keeps what became of each."""

    environment: dict[str, str]
    system: str = sys.platform
    """The one that this runs on; tests say another one."""
    results: list[tuple[str, str, float]] = field(default_factory=list)
    """Name, `ok` or what went wrong, and seconds of each step that was run."""
    left_out: list[str] = field(default_factory=list)
    """What was not run, and for want of what."""
    second_try: list[str] = field(default_factory=list)
    """Tests that failed and passed when they were run once more."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        allowed: Iterable[int] = (0,),
        live: bool = True,
    ) -> bool:
        """Runs one command from the root of the repository; True if its exit status is one of `allowed`.

        With `live` its output is shown as it comes, otherwise in one piece at the end, so that steps that run at the
        same time do not mix.
        """
        heading = f"\n=== {name}: {' '.join(map(str, command))}\n"
        start = time.monotonic()
        output = [heading]
        if live:
            print(heading, end="", flush=True)
        try:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=ROOT,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return self.finish(name, f"could not be started: {error}", start, output, live)
        timed_out = threading.Event()
        watchdog = threading.Timer(STEP_LIMIT_SECONDS, _end_group, (process, timed_out))
        watchdog.start()
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                output.append(line)
                if live:
                    print(line, end="", flush=True)
        status = process.wait()
        watchdog.cancel()
        if timed_out.is_set():
            outcome = f"FAILED: no end after {STEP_LIMIT_SECONDS} s"
        else:
            outcome = "ok" if status in allowed else f"{EXIT_STATUS}{status}"
        return self.finish(name, outcome, start, output, live)

    def run_tests(
        self,
        name: str,
        python: Path,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        keyword: str | None = None,
        live: bool = True,
    ) -> bool:
        """Runs pytest, and once more the few tests that failed; True if every test has passed in one of the two.

        With a `keyword`, `arguments` may come to no test at all.
        """
        cache = WORK / "pytest" / name.replace(" ", "-")
        shutil.rmtree(cache, ignore_errors=True)
        command: list[str | Path] = [python, "-m", "pytest", "-q", "-o", f"cache_dir={cache}"]
        command += ["-k", keyword] if keyword is not None else []
        allowed = [0] if keyword is None else [0, NO_TESTS_COLLECTED]
        if self.run(name, [*command, *arguments], environment=environment, allowed=allowed, live=live):
            return True
        failed = failed_tests(cache)
        with self.lock:
            number = max(index for index, result in enumerate(self.results) if result[0] == name)
            outcome = self.results[number][1]
        if outcome != f"{EXIT_STATUS}{TESTS_FAILED}" or not 0 < len(failed) <= MOST_RETRIED:
            return False
        again = [*command, "--last-failed", *arguments]
        if not self.run(f"{name}, again", again, environment=environment, live=live):
            return False
        with self.lock:
            self.results[number] = (name, "ok, but for what passed on its second try", self.results[number][2])
            self.second_try += [f"{name}: {test}" for test in failed]
        return True

    def leaves_out(self, part: str) -> bool:
        """Whether a part of the checks is not for this system; then the end of the run says so."""
        reason = systems.why_not(part, self.system)
        if reason is None:
            return False
        with self.lock:
            # Once, however many interpreters it is left out for.
            self.left_out += [line for line in [f"{part} ({reason})"] if line not in self.left_out]
        return True

    def finish(self, name: str, outcome: str, start: float, output: Sequence[str], live: bool) -> bool:
        """Notes what became of a step, and shows the output of one that was not live."""
        with self.lock:
            self.results.append((name, outcome, time.monotonic() - start))
            print("" if live else "".join(output), f"--- {name}: {outcome}", sep="", flush=True)
        return outcome == "ok"


def failed_tests(cache: Path) -> list[str]:
    """The tests that failed in the run of pytest whose cache folder this is."""
    try:
        noted = json.loads((cache / "v" / "cache" / "lastfailed").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(noted)


def _end_group(process: subprocess.Popen[str], timed_out: threading.Event) -> None:
    """Ends a step that hangs: pytest's faulthandler answers SIGABRT with every thread's traceback."""
    timed_out.set()
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], stdout=subprocess.DEVNULL, check=False)
        return
    for number in (signal.SIGABRT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


def rust(run: Runner) -> None:
    """Format, lints and tests of the crates. The extension module is tested from Python."""
    run.run("cargo fmt", ["cargo", "fmt", "--all", "--check"])
    clippy = ["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]
    run.run("cargo clippy", clippy)
    # What only the benchmarks are built with.
    hooks = ["--locked", "-p", "spprof-python", "--features", "bench", "--all-targets", "--", "-D", "warnings"]
    run.run("cargo clippy, hooks", ["cargo", "clippy", *hooks])
    if not run.leaves_out("floor"):
        floor = ["--locked", "--manifest-path", "benches/floor/Cargo.toml", "--target-dir", "target/floor"]
        run.run("cargo fmt, floor", ["cargo", "fmt", "--manifest-path", "benches/floor/Cargo.toml", "--check"])
        run.run("cargo clippy, floor", ["cargo", "clippy", *floor, "--", "-D", "warnings"])
    run.run("cargo test", ["cargo", "test", "--locked", "--workspace", "--exclude", "spprof-python", "--no-fail-fast"])
    injecting = ["--locked", "-p", "capture", "--features", "inject-faults", "--lib"]
    run.run("cargo clippy, wrong values", ["cargo", "clippy", *injecting, "--tests", "--", "-D", "warnings"])
    run.run("cargo test, wrong values", ["cargo", "test", *injecting, "injection"])
    run.run("cargo fmt, fuzz", ["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
    if not run.leaves_out("fuzz"):
        run.run("fuzz", [sys.executable, "tools/fuzz.py", "--seconds", "30"])


def lint(run: Runner, tools: VirtualEnvironment) -> None:
    """Style and types of the Python files, and the form of the workflows."""
    run.run("ruff check", [tools.program("ruff"), "check"])
    run.run("ruff format", [tools.program("ruff"), "format", "--check"])
    checked = ["python/spprof", "python/spprof.data/purelib", "tools", "benches/run.py"]
    run.run("mypy", [tools.program("mypy"), "--strict", *checked])
    workflows = sorted((ROOT / ".github" / "workflows").iterdir())
    schema = ("--builtin-schema", "vendor.github-workflows")
    run.run("workflows", [tools.program("check-jsonschema"), *schema, *workflows])


def build_wheel(
    run: Runner, tools: VirtualEnvironment, kind: str, python: str, features: Sequence[str] = ()
) -> Path | None:
    """The wheel of `kind`, which is `abi3` or the name of a free-threaded interpreter; None if it cannot be built.

    `features` are those of cargo for `crates/python`; a wheel with some needs a `kind` of its own.
    """
    folder = WORK / "wheels" / kind
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--release", "--locked", *systems.wheel_options(run.system), "--interpreter", python]
    if features:
        options += ["--features", ",".join(features)]
    if not run.run(f"wheel {kind}", [tools.program("maturin"), "build", *options, "--out", folder]):
        return None
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(
    run: Runner, uv: Path, name: str, python: str, packages: Sequence[str], live: bool
) -> VirtualEnvironment | None:
    """A new virtual environment with `packages`; None if it cannot be made.

    uv makes it, because it can do so for interpreters without ensurepip.
    """
    made = VirtualEnvironment(WORK / "venvs" / name, run.system)
    create: list[str | Path] = [uv, "venv", "--quiet", "--clear", "--python", python, made.folder]
    if not run.run(f"environment {name}", create, live=live):
        return None
    # No builds: where the last release of a package has no wheel for this interpreter, an earlier one has.
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--no-build", "--python", made.program("python")]
    return made if run.run(f"install {name}", [*install, *packages], live=live) else None


def test_interpreter(
    run: Runner, uv: Path, name: str, python: str, wheel: Path, keyword: str | None, live: bool
) -> None:
    """All tests, with the wheel, under one interpreter."""
    made = make_environment(run, uv, name, python, [str(wheel), *TEST_REQUIREMENTS], live)
    if made is None:
        return
    python_binary = made.program("python")
    apart = [f"--ignore={folder}" for folder in (HTML_TESTS, IPYTHON_TESTS, NEIGHBOUR_TESTS, CONSUMERS)]
    tests = systems.tests(run.system)
    run.run_tests(f"pytest {name}", python_binary, [*apart, *tests], keyword=keyword, live=live)
    if name in JIT_PYTHONS:
        jit = {"PYTHON_JIT": "1"}
        run.run_tests(f"pytest {name}, JIT", python_binary, [JIT_TESTS], environment=jit, keyword=keyword, live=live)
    if keyword is None:
        soak: list[str | Path] = [sys.executable, "tools/soak.py", "--minutes", SOAK_MINUTES, "--python", name]
        run.run(f"soak {name}", soak, live=live)
        if name in SUITE_PYTHONS and not run.leaves_out("CPython's tests"):
            run.run(f"CPython's tests {name}", [sys.executable, "tools/cpython_suite.py", "--python", name], live=live)
    if name in NEIGHBOUR_PYTHONS and not run.leaves_out("neighbours"):
        neighbours(run, uv, name, python, wheel, keyword, live)


def neighbours(run: Runner, uv: Path, name: str, python: str, wheel: Path, keyword: str | None, live: bool) -> None:
    """The tests beside libraries of others, in an environment that has them."""
    packages = [str(wheel), *TEST_REQUIREMENTS, *NEIGHBOURS]
    made = make_environment(run, uv, f"{name}-neighbours", python, packages, live)
    if made is not None:
        run.run_tests(f"neighbours {name}", made.program("python"), [NEIGHBOUR_TESTS], keyword=keyword, live=live)


def test_ipython(run: Runner, uv: Path, python: str, wheel: Path, keyword: str | None) -> None:
    """The tests of the IPython magics, in an environment with IPython."""
    packages = [str(wheel), *TEST_REQUIREMENTS, "ipython"]
    made = make_environment(run, uv, "ipython", python, packages, live=True)
    if made is not None:
        run.run_tests("pytest ipython", made.program("python"), [IPYTHON_TESTS], keyword=keyword)


def python_tests(
    run: Runner, uv: Path, tools: VirtualEnvironment, pythons: Mapping[str, str], options: argparse.Namespace
) -> None:
    """Wheels, stubs, offsets, and the tests under every interpreter."""
    wheels: dict[str, Path | None] = {}
    for name, python in pythons.items():
        kind = wheel_kind(name)
        if kind not in wheels:
            wheels[kind] = build_wheel(run, tools, kind, python)
    stubs_wheel = wheels.get("abi3")
    if not STUBS.exists():
        # stubtest has no complaint about a module without stubs.
        run.finish("stubtest", f"FAILED: {STUBS} is missing", time.monotonic(), [], live=True)
    elif stubs_wheel is not None:
        install: list[str | Path] = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--reinstall",
            "--python",
            tools.program("python"),
        ]
        if run.run("install stubtest", [*install, stubs_wheel]):
            run.run("stubtest", [tools.program("python"), "-m", "mypy.stubtest", "spprof._native"])
    built = [wheel for wheel in wheels.values() if wheel is not None]
    if built and platform.machine() in ("x86_64", "AMD64") and not run.leaves_out("handler calls"):
        run.run("handler calls", [sys.executable, "tools/handler_calls.py", *built])
    if stubs_wheel is not None and "3.12" in pythons and not run.leaves_out("valgrind") and shutil.which("valgrind"):
        run.run("valgrind", [sys.executable, "tools/sanitize.py", "valgrind", "--wheel", stubs_wheel])
    with_headers = [python for python in pythons.values() if interpreters.has_headers(python)]
    if with_headers and not run.leaves_out("layouts"):
        run.run("layouts", [sys.executable, "tools/layouts/generate.py", "--check", *with_headers])

    with ThreadPoolExecutor(options.jobs) as pool:
        for name, python in pythons.items():
            wheel = wheels[wheel_kind(name)]
            if wheel is None:
                continue
            pool.submit(test_interpreter, run, uv, name, python, wheel, options.keyword, options.jobs == 1)
    ipython_name = next((name for name in TOOLS_PYTHONS if name in pythons), None)
    ipython_wheel = wheels.get("abi3")
    if ipython_name is not None and ipython_wheel is not None and not run.leaves_out("IPython"):
        test_ipython(run, uv, pythons[ipython_name], ipython_wheel, options.keyword)
    if stubs_wheel is not None:
        consumers(run, uv, pythons, stubs_wheel, options.keyword)


def consumers(run: Runner, uv: Path, pythons: Mapping[str, str], wheel: Path, keyword: str | None) -> None:
    """The tools that people open our files with."""
    if run.leaves_out("consumers"):
        return
    missing = [tool for tool in CONSUMERS_TOOLS if shutil.which(tool) is None]
    name = next((name for name in CONSUMERS_PYTHONS if name in pythons), None)
    if missing or name is None:
        run.left_out.append(f"consumers ({', '.join(missing) or 'an interpreter with the GIL'} not found)")
        return
    node = WORK / "node"
    node.mkdir(exist_ok=True)
    npm: list[str | Path] = [
        "npm",
        "install",
        "--prefix",
        node,
        "--no-save",
        "--no-audit",
        "--no-fund",
        *CONSUMERS_NODE_PACKAGES,
    ]
    packages = [str(wheel), *TEST_REQUIREMENTS, *CONSUMERS_REQUIREMENTS]
    inferno = WORK / "inferno"
    cargo: list[str | Path] = ["cargo", "install", "--quiet", "--root", inferno, *INFERNO]
    if run.run("install speedscope and Firefox Profiler", npm) and run.run("install inferno", cargo):
        made = make_environment(run, uv, "consumers", pythons[name], packages, live=True)
        if made is not None:
            environment = {
                "SPPROF_NODE_MODULES": str(node / "node_modules"),
                "INFERNO_FLAMEGRAPH": str(inferno / "bin" / "inferno-flamegraph"),
            }
            run.run_tests("consumers", made.program("python"), [CONSUMERS], environment=environment, keyword=keyword)


def html_tests(
    run: Runner, uv: Path, tools: VirtualEnvironment, pythons: Mapping[str, str], options: argparse.Namespace
) -> list[str]:
    """The tests of the HTML report under one interpreter; returns what they lack."""
    if run.leaves_out("html"):
        return []
    if not any(map(shutil.which, BROWSERS)):
        return ["html (Chromium)"]
    name = next((name for name in TOOLS_PYTHONS if name in pythons), next(iter(pythons)))
    made: VirtualEnvironment | None = VirtualEnvironment(WORK / "venvs" / name, run.system)
    if options.only == "html":
        wheel = build_wheel(run, tools, wheel_kind(name), pythons[name])
        if wheel is None:
            return []
        made = make_environment(run, uv, name, pythons[name], [str(wheel), *TEST_REQUIREMENTS], live=True)
    if made is not None:
        run.run_tests("html", made.program("python"), [HTML_TESTS], keyword=options.keyword)
    return []


def wheel_kind(name: str) -> str:
    """`abi3` for every interpreter with the GIL; a wheel of its own for one without."""
    return name if interpreters.is_free_threaded(name) else "abi3"


def find_uv(run: Runner) -> Path | None:
    """uv: the one on PATH, or from PyPI in a virtual environment of the running interpreter."""
    on_path = shutil.which("uv")
    if on_path is not None:
        return Path(on_path)
    made = VirtualEnvironment(WORK / "uv", run.system)
    uv = made.program("uv")
    create: list[str | Path] = [sys.executable, "-m", "venv", "--clear", made.folder]
    if not uv.exists() and run.run("virtual environment for uv", create):
        run.run("install uv", [made.program("python"), "-m", "pip", "install", "--quiet", "uv"])
    return uv if uv.exists() else None


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change how the interpreters under test behave."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment.pop("VIRTUAL_ENV", None)
    # What PyO3's build script asks when cargo, not maturin, runs it.
    environment["PYO3_PYTHON"] = sys.executable
    return environment


def other_systems(run: Runner) -> None:
    """What is known of the systems that this machine is not. Both wait often, for packages and for programs that sleep."""
    if run.leaves_out("other systems"):
        return
    obstacle = foreign_rust.obstacle()
    if obstacle is not None:
        run.left_out.append(f"Windows, aarch64, musl, macOS ({obstacle})")
        return
    steps: dict[str, list[str | Path]] = {
        "Windows": [ROOT / "tools/wine.py", "--quick", "--python", WINDOWS_PYTHON],
        "aarch64, musl, macOS": [ROOT / "tools/cross.py", "--quick"],
    }
    with ThreadPoolExecutor(len(steps)) as pool:
        for name, command in steps.items():
            pool.submit(run.run, name, [sys.executable, *command], live=False)


def parse_options() -> argparse.Namespace:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", action="append", choices=interpreters.NAMES, metavar="NAME", help="3.12, 3.13t, …; default: all"
    )
    parser.add_argument("--only", choices=("rust", "lint", "python", "html", "systems"), help="one part of the checks")
    parser.add_argument("-k", dest="keyword", metavar="EXPR", help="pytest's choice of tests")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="interpreters at a time; more than one disturbs measured rates"
    )
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    return options


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What others print is shown as far as this console can.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parse_options()
    WORK.mkdir(exist_ok=True)
    run = Runner(clean_environment())
    absent: list[str] = []
    if options.only in (None, "rust"):
        rust(run)
    if options.only in (None, "lint", "python", "html"):
        absent = with_tools(run, options)
    if options.only in (None, "systems"):
        other_systems(run)

    print("\n=== summary")
    for name, outcome, seconds in run.results:
        print(f"{name:<30}{seconds:7.1f} s  {outcome}")
    for name in [*(f"{name} (not found)" for name in absent), *run.left_out]:
        print(f"skipped: {name}")
    for test in run.second_try:
        print(f"failed, then passed on its second try: {test}")
    failed = [name for name, outcome, _ in run.results if not outcome.startswith("ok")]
    # Absence is only a failure of an interpreter that was asked for by name.
    if failed or (options.python and absent):
        print(f"FAILED: {', '.join(failed) or 'an interpreter that was asked for is missing'}")
        return 1
    print("all passed")
    return 0


def with_tools(run: Runner, options: argparse.Namespace) -> list[str]:
    """The parts that need tools from PyPI; returns the interpreters that were wanted and not found."""
    uv = find_uv(run)
    if uv is None:
        return []
    names = options.python or interpreters.NAMES
    found = interpreters.find(interpreters.NAMES, PYTHONS_SCRIPT, str(uv))
    for name, path in found.items():
        print(f"{name:<7}{path}", flush=True)
    # Without one of them, uv chooses (and fetches) an interpreter for the tools.
    tools_python = next((found[name] for name in TOOLS_PYTHONS if name in found), TOOLS_PYTHONS[0])
    tools = make_environment(run, uv, "tools", tools_python, TOOLS, live=True)
    if tools is not None and options.only in (None, "lint"):
        lint(run, tools)
    if options.only == "lint":
        return []
    pythons = {name: path for name, path in found.items() if name in names}
    absent = [name for name in names if name not in pythons]
    if not pythons:
        run.finish("python", "FAILED: no interpreter to test with was found", time.monotonic(), [], live=True)
    elif tools is not None:
        if options.only != "html":
            python_tests(run, uv, tools, pythons, options)
        if options.only in (None, "html"):
            absent += html_tests(run, uv, tools, pythons, options)
    return absent


if __name__ == "__main__":
    sys.exit(main())
