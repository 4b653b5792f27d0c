"""Other profilers on the same programs, each installed from PyPI into an environment of its own."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import INSIDE, WORK, BuildError, Built, environment, find_interpreter, last_line
from .estimates import median_of, span_of
from .numbers import FULL, Effort
from .slices import Slices, measure

DEFAULT_PROGRAMS = ("recursion", "text", "deep_stack", "threads_8", "threads_100", "asyncio_1000")

INTERVAL_MS = 10


@dataclass(frozen=True)
class Peer:
    """A profiler and how it is had."""

    package: str | None
    """On PyPI; None if it comes with the interpreter."""
    python: str | None = None
    """The interpreter it needs; None for the one that is measured."""
    is_outside: bool = False
    """It looks from a process of its own."""
    is_sampling: bool = True
    splits_ms: tuple[float, ...] = (10, 1)
    """Intervals at which a known split is asked for."""
    reader: tuple[str, ...] = ()
    """Packages that reading its output takes."""
    variables: tuple[tuple[str, str], ...] = ()


DDTRACE = (
    ("DD_PROFILING_LOCK_ENABLED", "0"),
    ("DD_PROFILING_MEMORY_ENABLED", "0"),
    ("DD_PROFILING_HEAP_ENABLED", "0"),
    ("DD_PROFILING_EXCEPTION_ENABLED", "0"),
    ("DD_PROFILING_UPLOAD_INTERVAL", "3600"),
    ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false"),
    ("DD_TRACE_ENABLED", "false"),
)

PEERS: dict[str, Peer] = {
    "spprof": Peer(None),
    "py-spy": Peer("py-spy", is_outside=True),
    "py-spy-nonblocking": Peer("py-spy", is_outside=True),
    "austin": Peer("austin-dist", is_outside=True),
    "profiling.sampling": Peer(None, python="3.15", is_outside=True),
    "pyinstrument": Peer("pyinstrument"),
    "yappi": Peer("yappi", is_sampling=False, splits_ms=(10,)),
    "cProfile": Peer(None, is_sampling=False, splits_ms=(10,)),
    "scalene": Peer("scalene", splits_ms=(10,)),
    "ddtrace": Peer(
        "ddtrace",
        splits_ms=(10,),
        reader=("zstandard",),
        variables=(*DDTRACE, ("_DD_PROFILING_STACK_ADAPTIVE_SAMPLING_ENABLED", "0")),
    ),
    "ddtrace-adaptive": Peer("ddtrace", splits_ms=(10,), reader=("zstandard",), variables=DDTRACE),
}


@dataclass(frozen=True)
class Installed:
    """A peer that can be run."""

    version: str
    python: Path
    variables: dict[str, str]
    prefix: tuple[str, ...] = ()
    """What runs a script under it, where that is not `python`."""


class Absent(Exception):
    """Why a peer cannot be run here."""


def install(built: Built, name: str) -> Installed:
    """Makes the peer's environment, if it is not there; raises Absent."""
    peer = PEERS[name]
    if name == "spprof":
        return Installed("", built.python, {})
    try:
        python = built.interpreter if peer.python is None else find_interpreter(peer.python, built.uv)
    except BuildError as error:
        raise Absent(str(error)) from None
    if peer.package is None:
        return Installed("", python, dict(peer.variables))
    folder = WORK / "peers" / f"{peer.package}-{built.name}"
    inner = folder / "bin" / "python"
    marker = folder / "installed"
    if not marker.exists():
        _run([built.uv, "venv", "--quiet", "--clear", "--python", python, folder])
        _run([built.uv, "pip", "install", "--quiet", "--no-build", "--python", inner, peer.package, *peer.reader])
        if peer.package == "austin-dist":
            _choose_austin(built, folder, inner)
        marker.touch()
    code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    version = last_line([inner, "-c", code])
    variables = {"SPPROF_BENCH_PEER": str(folder / "bin"), **dict(peer.variables)}
    prefix: tuple[str, ...] = ()
    if name == "scalene":
        output = Path(tempfile.mkdtemp()) / "scalene.json"
        variables["SPPROF_BENCH_SCALENE"] = str(output)
        prefix = (str(folder / "bin" / "scalene"), "run", "--cpu-only", "--off", "--profile-all", "-o", str(output))
    # A profiler from outside does not need to be in the environment that it looks at.
    return Installed(version, python if peer.is_outside else inner, variables, prefix)


def _choose_austin(built: Built, folder: Path, inner: Path) -> None:
    """Its glibc wheel needs glibc 2.38; on an older system the one for musl runs where musl's loader is installed."""
    austin = folder / "bin" / "austin"
    if subprocess.run([austin, "--version"], capture_output=True, check=False).returncode == 0:
        return
    platform = ("--python-platform", "x86_64-unknown-linux-musl")
    _run(
        [
            built.uv,
            "pip",
            "install",
            "--quiet",
            "--no-build",
            "--reinstall",
            *platform,
            "--python",
            inner,
            "austin-dist",
        ]
    )
    try:
        subprocess.run([austin, "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise Absent("its wheel needs glibc 2.38, and the one for musl needs musl's loader; neither is here") from None


def _run(command: Sequence[object]) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise Absent(f"could not be installed: {said[-1]}")


def overheads(
    built: Built, effort: Effort, names: Sequence[str], programs: Sequence[str], report: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """What each peer adds to each program at 10 ms; a row with `why` where it cannot be run."""
    for name in names:
        try:
            installed = install(built, name)
        except Absent as error:
            yield from ({"peer": name, "program": program, "why": str(error)} for program in programs)
            continue
        for program in programs:
            report(f"{name} on {program}")
            row: dict[str, Any] = {"peer": name, "program": program, "version": installed.version}
            condition = f"peer:{name}:{INTERVAL_MS}"
            try:
                slices = measure(
                    installed.python,
                    program,
                    [condition],
                    rounds=8 if effort is FULL else 2,
                    slice_ms=2 * effort.slice_ms,
                    prefix=installed.prefix,
                    more=installed.variables,
                    seconds=240,
                )
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                row["why"] = (
                    "no result in 240 s" if isinstance(error, subprocess.TimeoutExpired) else f"failed: {error}"[:200]
                )
            else:
                row.update(_overhead(slices, condition, name))
            yield row


def _overhead(slices: Slices, condition: str, name: str) -> dict[str, Any]:
    of = slices.of(condition)
    found: dict[str, Any] = {
        "noise": vars(slices.noise()),
        "cpu": vars(slices.added(condition)),
        "wall": vars(slices.added(condition, "wall_ns")),
        "note": "" if PEERS[name].is_sampling else "deterministic: counts every call",
    }
    if "samples" in of[0]:
        found["got"] = vars(slices.got_of_asked(condition))
    if "helper_cpu_ns" in of[0]:
        found["helper"] = vars(median_of([100 * each["helper_cpu_ns"] / each["cpu_ns"] for each in of]))
    if name == "scalene":
        # It is in the process from the beginning.
        return found
    rss = max(each["rss_bytes"] + each.get("helper_rss_bytes", 0) for each in of) - slices.rss_before_bytes
    found["rss_mb"] = rss / 1e6
    return found


def splits(
    built: Built, effort: Effort, names: Sequence[str], report: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The largest error of each peer's three shares, over several runs."""
    for name in names:
        peer = PEERS[name]
        for interval_ms in peer.splits_ms:
            row: dict[str, Any] = {"peer": name, "interval_ms": interval_ms}
            report(f"split of {name} at {interval_ms:g} ms")
            try:
                installed = install(built, name)
                errors = [_split_error(installed, name, interval_ms, effort) for _ in range(min(5, effort.splits))]
            except (Absent, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                yield {**row, "why": str(error)[:200]}
                continue
            row["largest"] = vars(span_of(errors))
            if peer.is_sampling:
                row["theory"] = 100 * math.sqrt(0.7 * 0.3 / (effort.split_cpu_s * 1000 / interval_ms))
            yield row


def _scalene_shares(path: Path) -> dict[str, float]:
    """Per cent of each function in the file that Scalene wrote."""
    found: dict[str, float] = {}
    for of_file in json.loads(path.read_text(encoding="utf-8"))["files"].values():
        for function in of_file["functions"]:
            percent = function["n_cpu_percent_python"] + function["n_cpu_percent_c"] + function["n_sys_percent"]
            found[function["line"]] = found.get(function["line"], 0.0) + percent
    return found


def _split_error(installed: Installed, name: str, interval_ms: float, effort: Effort) -> float:
    """The largest error of one run, in percentage points."""
    prefix = installed.prefix or (str(installed.python),)
    command = [*prefix, INSIDE / "split.py", effort.split_cpu_s, f"peer:{name}:{interval_ms:g}"]
    variables = installed.variables
    if name.startswith("ddtrace"):
        variables = {**variables, "DD_PROFILING_OUTPUT_PPROF": str(Path(tempfile.mkdtemp()) / "profile")}
    found = json.loads(last_line(command, 240, variables))
    seen = found["seen"]
    if name == "scalene":
        shares = _scalene_shares(Path(installed.variables["SPPROF_BENCH_SCALENE"]))
        seen = {part: shares.get(part, 0.0) for part in seen}
    total, spent = sum(seen.values()), sum(found["spent_ns"].values())
    if total == 0:
        raise RuntimeError("it saw none of the three functions")
    errors: list[float] = [
        100 * (seen[part] / total - spent_ns / spent) for part, spent_ns in found["spent_ns"].items()
    ]
    return max(map(abs, errors))
