"""Runs pyperformance's benchmarks with every process profiling itself, and those that fail once more without.

    python3 tools/pyperformance_suite.py                     all benchmarks on 3.12
    python3 tools/pyperformance_suite.py --python 3.14 -b nbody,chaos

Each benchmark computes a single value, which is enough to see whether it ends as it should; its programs are those of
others, with what they need from PyPI. Each process samples itself at 1 ms (SPPROF_AUTOSTART) and writes a profile at its end.
The interpreter is that of the virtual environment that `tools/test.py --only python` leaves in .work/venvs, for its wheel as well.

Exit status: 0 if every benchmark ends as without the profiler, 1 if not, 2 if something is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cpython_suite

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work" / "pyperformance"
INTERVAL_MS = 1
BENCHMARK_LIMIT_SECONDS = 600


def prepare(name: str) -> tuple[Path, Path]:
    """An interpreter with pyperformance, and a folder that starts spprof in each interpreter whose PYTHONPATH has it.

    The benchmarks run in environments that pyperformance makes, so spprof comes to them by the path.
    """
    source = ROOT / ".work" / "venvs" / name / "bin" / "python"
    environment = WORK / f"{name}-environment"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([source, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pyperformance"], check=True)
    program = "import spprof_autostart, sysconfig; print(sysconfig.get_path('platlib'))"
    installed = Path(subprocess.run([source, "-c", program], capture_output=True, text=True, check=True).stdout.strip())
    path = WORK / f"{name}-path"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(installed / "spprof", path / "spprof")
    shutil.copy(installed / "spprof_autostart.py", path)
    (path / "sitecustomize.py").write_text("import spprof_autostart\n\nspprof_autostart.start()\n")
    return python, path


def run(python: Path, folder: Path, benchmarks: Sequence[str], path: Path | None, profiles: Path) -> set[str]:
    """The benchmarks that gave a value; with the profiler if `path` says where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPPROF"))}
    command = [python, "-m", "pyperformance", "run", "--debug-single-value", "--output", result]
    command += ["--timeout", str(BENCHMARK_LIMIT_SECONDS)]
    if benchmarks:
        command += ["--benchmarks", ",".join(benchmarks)]
    if path is not None:
        environment["PYTHONPATH"] = str(path)
        environment["SPPROF_AUTOSTART"] = (
            f"interval_ms={INTERVAL_MS},memory_limit_mb=20,forks=1,output={profiles}/%p.collapsed"
        )
        command += ["--inherit-environ", "PYTHONPATH,SPPROF_AUTOSTART"]
    with (folder / "output.txt").open("wb") as output:
        # The environments of the benchmarks are made in the current folder, the same with the profiler and without.
        subprocess.run(
            [str(part) for part in command],
            cwd=WORK,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not result.exists():
        return set()
    common = json.loads(result.read_text())
    return {entry.get("metadata", common.get("metadata", {}))["name"] for entry in common["benchmarks"]}


def ran(folder: Path) -> tuple[set[str], set[str]]:
    """The benchmarks that were begun, and those of them that failed, as pyperformance prints it."""
    lines = (folder / "output.txt").read_text(errors="replace").splitlines()
    begun = {
        line.split("]")[1].split()[0].rstrip(".")
        for line in lines
        if line.startswith("[") and "/" in line.split("]")[0]
    }
    failed = {line.split()[2] for line in lines if line.startswith("ERROR: Benchmark ")}
    return begun, failed


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", metavar="NAME", help="default: 3.12")
    parser.add_argument("-b", "--benchmarks", default="", metavar="NAMES", help="separated by commas; default: all")
    options = parser.parse_args()
    if not (ROOT / ".work" / "venvs" / options.python / "bin" / "python").exists():
        print(f"run tools/test.py --only python --python {options.python} first")
        return 2
    began = time.monotonic()
    python, path = prepare(options.python)
    profiles = WORK / f"{options.python}-profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    profiles.mkdir(parents=True)
    wanted = [name for name in options.benchmarks.split(",") if name]
    values = run(python, WORK / "profiled", wanted, path, profiles)
    begun, failed = ran(WORK / "profiled")
    missing = sorted(set(wanted) - begun)
    own: set[str] = set()
    if failed:
        run(python, WORK / "plain", sorted(failed), None, profiles)
        own = failed - ran(WORK / "plain")[1]
    for name in missing:
        print(f"{name} was not begun; {WORK / 'profiled' / 'output.txt'} says why")
    for name in sorted(failed):
        print(f"{name} fails {'WITH THE PROFILER ONLY' if name in own else 'without the profiler as well'}")
    count, wrong = cpython_suite.check_profiles(ROOT / ".work" / "venvs" / options.python / "bin" / "python", profiles)
    for line in wrong:
        print(f"profile {line}")
    print(
        f"{options.python}: {len(begun)} benchmarks, {len(failed)} failed, {len(own)} of them with the profiler only; "
        f"{len(values)} values, {count} processes wrote a profile, {time.monotonic() - began:.0f} s"
    )
    shutil.rmtree(profiles, ignore_errors=True)
    return 0 if values and count and not own and not wrong and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
