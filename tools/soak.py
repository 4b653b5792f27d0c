"""Runs the mixed program of tests/apps/mixed.py under the profiler for some minutes, with a watchdog.

    python3 tools/soak.py                              ten minutes on every interpreter
    python3 tools/soak.py --minutes 0.33 --python 3.12
    python3 tools/soak.py --minutes 10 --python 3.13t --seed 7

The interpreters are those of the virtual environments that `tools/test.py --only python` leaves in .work/venvs. What the program
checks by itself fails the run, and so do a crash and a hang: the watchdog then has faulthandler print every thread's
stack. The seed of a run is printed, so that it can be run again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import interpreters
from systems import VirtualEnvironment

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".work" / "venvs"
PROGRAM = ROOT / "tests" / "apps" / "mixed.py"
GRACE_SECONDS = 120
"""What a program may take beyond its time before it counts as hanging."""


def soak(name: str, python: Path, seconds: float, seed: int) -> bool:
    """One run; whether it ended as it should."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPPROF"))}
    command = [str(python), str(PROGRAM), str(seconds), str(seed)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    verdict = ""
    try:
        output, _ = process.communicate(timeout=seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        verdict = f"no end after {seconds + GRACE_SECONDS:.0f} s"
        process.send_signal(signal.SIGABRT)
        try:
            output, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
    if process.returncode and not verdict:
        verdict = f"exit status {process.returncode}"
    print(f"{name}, seed {seed}: {'FAILED, ' + verdict if verdict else 'ok'}\n  {output.strip()}", flush=True)
    return not verdict


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="on each interpreter (default: 10)")
    parser.add_argument("--python", action="append", choices=interpreters.NAMES, metavar="NAME", help="default: all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    names = options.python or [name for name in interpreters.NAMES if (VENVS / name).exists()]
    ended_well = True
    for name in names:
        python = VirtualEnvironment(VENVS / name).program("python")
        if not python.exists():
            print(f"{python} is missing; run tools/test.py --only python --python {name} first")
            return 2
        ended_well = soak(name, python, options.minutes * 60, options.seed) and ended_well
    return 0 if ended_well and names else 1


if __name__ == "__main__":
    sys.exit(main())
