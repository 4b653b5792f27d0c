"""Runs CPython's own test suite with every test process profiling itself, and compares with a run without.

    python3 tools/cpython_suite.py                    the modules of CI, on 3.14 and 3.15
    python3 tools/cpython_suite.py --all              the whole suite
    python3 tools/cpython_suite.py --all --shard 2/6  the second of six parts of it
    python3 tools/cpython_suite.py --python 3.15 test_threading test_signal

The interpreters are those of the virtual environments that `tools/test.py --only python` leaves in .work/venvs: with spprof
installed, and with CPython's tests beside their standard library. Each process that a test starts, children by fork
included, samples itself at 1 ms (SPPROF_AUTOSTART) and writes a profile at its end.

The modules run with the profiler first. Those in which something failed run again without it: what fails there too is
not ours. What is left, and not in `EXPECTED` with its reason, runs once more with the profiler, one module at a time and
verbose, because otherwise a test that fails in a subtest is not named. What fails twice with it and never without is a
failure of this check, and so is a profile that cannot be read.

Exit status: 0 if the set of failures is the same, 1 if not, 2 if something is missing.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"
PYTHONS = ("3.14", "3.15")
"""The interpreters that come with their test suite."""

INTERVAL_MS = 1
MODULE_LIMIT_SECONDS = 300

CI_MODULES = (
    "test_code",
    "test_concurrent_futures.test_deadlock",
    "test_coroutines",
    "test_ctypes",
    "test_exceptions",
    "test_faulthandler",
    "test_fork1",
    "test_gc",
    "test_generators",
    "test_interpreters",
    "test_io",
    "test_monitoring",
    "test_multiprocessing_forkserver.test_threads",
    "test_multiprocessing_spawn.test_threads",
    "test_signal",
    "test_socket",
    "test_ssl",
    "test_subprocess",
    "test_sys_settrace",
    "test_thread",
    "test_threading",
)
"""Those that found faults of ours, and those that fork, crash, trace, and end threads and interpreters: some minutes an
interpreter. The rest of what the suite has on the subject takes longer: test_asyncio and the other parts of
test_concurrent_futures and test_multiprocessing_*."""

FORK_WARNING = "CPython warns of a fork in a process with several threads, and the profiler's own thread is one"
SHORT_WRITE = (
    "a signal that hits a write to a pipe or socket makes it return what it has written so far, whoever sends it; the test "
    "wants the signal of its own to be the first"
)
PAUSE = (
    "pause(2) returns after any signal that is handled, and the tick that was set before it is one; the test calls it once and "
    "wants the next signal to be its own"
)
THREADING_IMPORTED = "the test wants to be the first that imports `threading`; the profiler has done so"

TWO_ACTIVATIONS = (
    "after `sys.activate_stack_trampoline` was called twice, CPython 3.14 calls a null pointer when a code object dies late in its "
    "end (its issue 146522): to import `multiprocessing.util` is enough for that, and so is the exit function of ours"
)

REGISTERED = (
    "the test counts what a child has been told to do after a fork, and with `forks=1` that is one thing more: to write its "
    "profile at its end"
)

IGNORED = ("test_large_pool",)
"""Left out, with the profiler and without: a pool of 200 processes, of which each would look at itself once a millisecond. On
two processors that are busy otherwise it comes to no end in the time a module has; alone it passes."""

EXPECTED: dict[str, str] = {
    "test.test_threading.ThreadTests.test_import_from_another_thread": THREADING_IMPORTED,
    "test.test_threading.ThreadTests.test_main_thread_after_fork": FORK_WARNING,
    "test.test_threading.ThreadTests.test_native_id_after_fork": FORK_WARNING,
    "test.test_import.SubinterpImportTests.test_isolated_config": THREADING_IMPORTED,
    "test.test_import.SubinterpImportTests.test_python_compat": THREADING_IMPORTED,
    "test.test_perf_profiler.TestPerfTrampoline.test_trampoline_works_*fork*": FORK_WARNING,
    "test.test_perf_profiler.TestPerfTrampoline.test_sys_api_with_existing_*trampoline": TWO_ACTIVATIONS,
    "test.test_multiprocessing_*.test_misc.TestResourceTracker.test_resource_tracker_safety_net_timeout": PAUSE,
    "test.test_multiprocessing_*.test_misc.TestForkAwareThreadLock.test_lock": REGISTERED,
    "test.test_signal.ItimerTest.test_itimer_real": PAUSE,
    "test.test_io.*SignalsTest.test_interrupted_write_unbuffered": SHORT_WRITE,
}
"""Tests that see a profiler, as patterns, each with the reason why that is no fault."""


@dataclass
class Run:
    """What one call of `python -m test` found."""

    failures: dict[str, str] = field(default_factory=dict)
    """By test, or by module where it ended without saying which: the end of the traceback, or the verdict."""
    modules: dict[str, str] = field(default_factory=dict)
    """The verdict on each module, as regrtest words it."""
    tests: int = 0
    """How many tests there were, those included that were skipped."""

    def suspects(self) -> list[str]:
        """The modules in which something failed."""
        return [module for module, verdict in self.modules.items() if not verdict.startswith(("passed", "skipped"))]


VERDICT = re.compile(
    r"^[0-9:]+ (?:load avg: \S+ )?(?:mem: .*? )?\[[ 0-9/]+\] (?P<module>test\S*) (?P<verdict>passed|skipped|resource denied"
    r"|failed \(env changed\)|failed|worker non-zero exit code.*?|crashed.*?|timed out|ran no tests|.*?)"
    r"(?: \([^()]*\))*(?: -- running.*)?$",
    re.MULTILINE,
)

NAMED = re.compile(r"^(?:FAIL|ERROR): \w+ \((?P<test>test\.[\w.]+)\)", re.MULTILINE)
"""How unittest names what failed, subtests as well."""


def run_modules(
    python: Path,
    modules: Sequence[str],
    folder: Path,
    profiles: Path | None,
    *,
    jobs: int,
    limit_seconds: int,
    verbose: bool = False,
) -> Run:
    """Runs `modules`; with the profiler, whose files go to `profiles`, if that is given.

    Only a verbose run names the tests that fail in a subtest. It is not always verbose because some tests do other things then.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPPROF"))}
    if profiles is not None:
        profiles.mkdir(parents=True, exist_ok=True)
        environment["SPPROF_AUTOSTART"] = (
            f"interval_ms={INTERVAL_MS},memory_limit_mb=20,forks=1,output={profiles}/%p.collapsed"
        )
    report = folder / "junit.xml"
    command = [python, "-m", "test", f"-j{jobs}", "--timeout", limit_seconds, "--junit-xml", report, *modules]
    for test in IGNORED:
        command += ["--ignore", test]
    if verbose:
        command.append("-v")
    # Their output goes to a file: a test process that outlives the suite must not keep us waiting.
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        process.wait()
    text = (folder / "output.txt").read_text(errors="replace")
    run = Run(modules={match["module"]: match["verdict"] for match in VERDICT.finditer(text)})
    if not run.modules:
        raise SystemExit(f"{python} -m test ran nothing:\n{text}")
    if report.exists():
        for case in ElementTree.parse(report).iter("testcase"):
            run.tests += 1
            for child in case:
                if child.tag in ("failure", "error"):
                    run.failures[case.get("name", "?")] = (child.text or "")[-2000:]
    if verbose:
        for match in NAMED.finditer(text):
            run.failures.setdefault(match["test"], text[match.start() :][:2000])
    for module in run.suspects():
        if not any(name.startswith((f"test.{module}.", f"{module}.")) for name in run.failures):
            run.failures[module] = run.modules[module]
    return run


def check_profiles(python: Path, folder: Path) -> tuple[int, list[str]]:
    """How many profiles were written, and what is wrong with them."""
    program = """
import os, sys, spprof
count = 0
for name in sorted(os.listdir(sys.argv[1])):
    if name.startswith("."):
        continue  # a process that was killed while it wrote
    try:
        profile = spprof.Profile.load(os.path.join(sys.argv[1], name))
        names = {frame.function_name for stack in profile.aggregate() for frame in stack.frames}
        if "<unknown>" in names or "" in names:
            print(name, "has a function without a name")
        count += 1
    except Exception as error:
        print(name, repr(error))
print(count)
"""
    command = [str(python), "-c", program, str(folder)]
    *wrong, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return int(count), wrong


def reason_for(test: str) -> str | None:
    """Why `test` may fail with the profiler."""
    return next((reason for pattern, reason in EXPECTED.items() if fnmatch.fnmatchcase(test, pattern)), None)


def compare(name: str, python: Path, modules: Sequence[str], jobs: int, limit_seconds: int) -> bool:
    """Whether the same tests fail with the profiler and without."""
    start = time.monotonic()
    folder = WORK / "cpython-suite" / name
    profiles = folder / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    profiled = run_modules(python, modules, folder / "profiled", profiles, jobs=jobs, limit_seconds=limit_seconds)
    own: dict[str, str] = {}
    excused: dict[str, str] = {}
    suspects = profiled.suspects()
    plain = Run()
    if suspects:
        plain = run_modules(python, suspects, folder / "plain", None, jobs=jobs, limit_seconds=limit_seconds)
    for test, text in profiled.failures.items():
        if test in plain.failures:
            continue
        reason = reason_for(test)
        if reason is None:
            own[test] = text
        else:
            excused[test] = reason
    if own:
        doubtful = [module for module in suspects if any(module in test for test in own)]
        again = run_modules(
            python, doubtful, folder / "again", profiles, jobs=1, limit_seconds=limit_seconds, verbose=True
        )
        ended = [module for module in again.modules if module in again.failures]
        for test in own.keys() - again.failures.keys():
            if any(f".{module}." in f".{test}" for module in ended):
                continue  # the module crashed, or ran out of time, and does not say in which test
            del own[test]
            parts = {part: text for part, text in again.failures.items() if f".{test}." in f".{part}"}
            if not parts:
                print(f"{name}: {test} failed once with the profiler and not again")
            for part, text in parts.items():
                reason = reason_for(part)
                if reason is None:
                    own[part] = text
                else:
                    excused[part] = reason
    count, wrong = check_profiles(python, profiles)
    for test, reason in sorted(excused.items()):
        print(f"{name}: {test} sees the profiler: {reason}")
    for test in sorted(profiled.failures.keys() & plain.failures.keys()):
        print(f"{name}: {test} fails without the profiler as well")
    for test, text in sorted(own.items()):
        print(f"{name}: {test} FAILS WITH THE PROFILER ONLY\n{text}")
    for line in wrong:
        print(f"{name}: profile {line}")
    print(
        f"{name}: {len(profiled.modules)} modules, {profiled.tests} tests, {count} processes wrote a profile, "
        f"{len(own)} failures that are ours, {time.monotonic() - start:.0f} s",
        flush=True,
    )
    shutil.rmtree(profiles, ignore_errors=True)
    return not own and not wrong


def all_modules(python: Path) -> list[str]:
    """Every module of the suite."""
    command = [str(python), "-m", "test", "--list-tests"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of CPython's tests; default: those of CI")
    parser.add_argument("--python", action="append", metavar="NAME", help="default: 3.14 and 3.15")
    parser.add_argument("--all", action="store_true", help="every module")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="only the K-th of N parts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="modules at a time")
    parser.add_argument(
        "--limit", type=int, default=MODULE_LIMIT_SECONDS, metavar="SECONDS", help="for a module; default: 300"
    )
    options = parser.parse_args()
    part, _, parts = options.shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        parser.error("--shard is K/N, with K from 1 to N")
    same = True
    for name in options.python or PYTHONS:
        python = WORK / "venvs" / name / "bin" / "python"
        if subprocess.run([str(python), "-c", "import test.support, spprof"], check=False).returncode:
            print(
                f"{python} is missing, or has no spprof or no tests of CPython; run tools/test.py --only python first"
            )
            return 2
        modules = all_modules(python) if options.all else options.modules or list(CI_MODULES)
        same = compare(name, python, modules[int(part) - 1 :: int(parts)], options.jobs, options.limit) and same
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
