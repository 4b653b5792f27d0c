"""Runs tests of whole sessions under a checker of memory: `python3 tools/sanitize.py asan|valgrind [FILE...]`.

asan      AddressSanitizer: the extension is instrumented, the interpreter is not, but all its memory is the checker's.
valgrind  memcheck: nothing is instrumented, everything is watched, and what is lost at the end is reported too.

What a checker reports counts when a frame of ours is in it; what CPython does by itself is its own affair. Without files it is
a part of the tests that takes a minute or two; name `tests/integration` for all of them. Runs on 3.12 or what `--python` names, and
needs g++ or valgrind. A free-threaded interpreter has its objects in an allocator of its own and takes no other: there only
our own memory is watched. The exit status is 1 if anything was reported, or a test failed. AddressSanitizer's flag is not for
stable Rust: the tool sets RUSTC_BOOTSTRAP=1 for that one build.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import interpreters
import test as checks

ROOT = checks.ROOT
WORK = ROOT / ".work" / "sanitize"

ASAN_TESTS = ("tests/safety/memory_program.py", "tests/integration/test_threads.py", "tests/integration/test_fork.py")
"""Not those that compare the memory of the process before and after: the checker keeps what was freed for a while."""

VALGRIND_TESTS = ("tests/safety/memory_program.py",)
"""A program, which is run as it is: pytest itself takes minutes under valgrind."""

OURS = re.compile(r"_native\.[\w.-]*so|capture::|spprof_load")
"""A frame of the extension."""

NEAR_FRAMES = 12
"""What the interpreter does with its own memory further down, in an import that we asked for, is not about us."""

ONCE_A_PROCESS = re.compile(r"__pyo3_module_exec|create_type_object|PyInit__native")
"""Definitions of the module and its classes, which PyO3 makes once and keeps for ever."""


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> int:
    """Runs a command from the root of the repository and returns its exit status."""
    print(f"=== {' '.join(map(str, command))}", flush=True)
    variables = {**checks.clean_environment(), **(environment or {})}
    return subprocess.run([str(word) for word in command], cwd=ROOT, env=variables, check=False).returncode


def must(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Runs a command that has to succeed."""
    status = run(command, environment)
    if status != 0:
        sys.exit(f"{command[0]} failed with status {status}")


def build(maturin: Path, python: str, kind: str, flags: str) -> Path:
    """Builds a wheel of that kind, not optimised as a whole, with everything that names places in it."""
    triple = checks_host()
    out = WORK / kind
    shutil.rmtree(out, ignore_errors=True)
    options: list[str | Path] = [
        "--profile",
        "sanitize",
        "--locked",
        "--target",
        triple,
        "--target-dir",
        ROOT / "target" / kind,
    ]
    options += ["--compatibility", "linux", "--interpreter", python, "--out", out]
    environment = {"RUSTFLAGS": flags, "RUSTC_BOOTSTRAP": "1"} if flags else {}
    must([maturin, "build", *options], environment)
    (wheel,) = out.glob("*.whl")
    return wheel


def checks_host() -> str:
    """The target triple of this machine."""
    version = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, text=True, check=True).stdout
    (found,) = re.findall(r"^host: (\S+)$", version, re.MULTILINE)
    return str(found)


def runtime() -> Path:
    """AddressSanitizer's runtime as a library that can be loaded before everything else.

    The toolchain has it as an archive, to be put into programs; without the part that only programs can have it makes a
    library. Its name must not be that of the runtime of another compiler, which it would refuse to live with.
    """
    sysroot = subprocess.run(
        ["rustc", "--print", "sysroot"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    (archive,) = (Path(sysroot) / "lib" / "rustlib" / checks_host() / "lib").glob("librustc-*_rt.asan.a")
    copy, library = WORK / "runtime.a", WORK / "runtime_address.so"
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archive, copy)
    must(["ar", "d", copy, "asan_preinit.cpp.o"])
    whole: list[str | Path] = ["-Wl,--whole-archive", copy, "-Wl,--no-whole-archive"]
    must(["g++", "-shared", "-o", library, *whole, "-lpthread", "-ldl", "-lm", "-lrt"])
    return library


def reports(logs: Path) -> Iterator[str]:
    """The reports in a folder of logs, one at a time, that are about us."""
    for log in sorted(logs.glob("*")):
        text = re.sub(r"^==\d+== ?", "", log.read_text(errors="replace"), flags=re.MULTILINE)
        for report in re.split(r"\n\s*\n", text):
            if " at 0x" not in report and "#0 0x" not in report:
                continue
            if OURS.search(report) and not ONCE_A_PROCESS.search(report):
                yield f"{log.name}:\n{report}"


def pytest(python: Path, files: Sequence[str], environment: Mapping[str, str], before: Sequence[str] = ()) -> int:
    """Runs tests, and programs as they are."""
    status = 0
    tests = [name for name in files if not name.endswith("_program.py")]
    if tests:
        command: list[str | Path] = [*before, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        status = run(command, environment)
    for program in (name for name in files if name.endswith("_program.py")):
        status = run([*before, python, program], environment) or status
    return status


def main() -> int:
    """Does what the command line asks for and returns the exit status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=("asan", "valgrind"))
    parser.add_argument("file", nargs="*", help="tests, or programs that end in `_program.py`")
    parser.add_argument("--python", default="3.12", choices=interpreters.NAMES, metavar="NAME", help="default: 3.12")
    parser.add_argument("--wheel", type=Path, help="for valgrind: one that is built already")
    options = parser.parse_args()
    if options.wheel and options.tool != "valgrind":
        parser.error("--wheel is for valgrind: the other tool needs one of its own")
    runner = checks.Runner(checks.clean_environment())
    uv = checks.find_uv(runner)
    if uv is None:
        return 1
    name = options.python
    python = interpreters.find((name,), checks.PYTHONS_SCRIPT, str(uv)).get(name)
    if python is None:
        sys.exit(f"CPython {name} is needed, and was not found")
    tools = checks.make_environment(runner, uv, "sanitize-tools", python, checks.TOOLS[:1], live=True)
    if tools is None:
        return 1
    flags = "-Zsanitizer=address -Zexternal-clangrt -Cforce-frame-pointers=yes" if options.tool == "asan" else ""
    wheel = options.wheel or build(tools.program("maturin"), python, options.tool, flags)
    packages = [str(wheel), *checks.TEST_REQUIREMENTS]
    made = checks.make_environment(runner, uv, f"sanitize-{options.tool}", python, packages, live=True)
    if made is None:
        return 1
    logs = WORK / f"logs-{options.tool}"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    # Each object its own block of memory, or the checkers see nothing of what happens between objects.
    environment = {} if interpreters.is_free_threaded(name) else {"PYTHONMALLOC": "malloc"}
    if options.tool == "asan":
        environment["LD_PRELOAD"] = str(runtime())
        settings = ("detect_leaks=0", "handle_segv=0", "handle_sigbus=0", "allocator_may_return_null=1")
        environment["ASAN_OPTIONS"] = ":".join([*settings, f"log_path={logs / 'log'}"])
        status = pytest(made.program("python"), options.file or ASAN_TESTS, environment)
    else:
        memcheck = [
            "valgrind",
            "--leak-check=full",
            "--show-leak-kinds=definite",
            f"--num-callers={NEAR_FRAMES}",
            "--quiet",
        ]
        # A child leaves what belongs to its parent where it is: it must not touch what may be locked.
        memcheck.append("--child-silent-after-fork=yes")
        memcheck += [f"--log-file={logs / 'log.%p'}"]
        status = pytest(made.program("python"), options.file or VALGRIND_TESTS, environment, memcheck)
    about_us = list(reports(logs))
    for report in about_us:
        print(report)
    print(f"{options.tool}: {len(about_us)} reports about us, tests ended with status {status}")
    return 1 if about_us or status else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
