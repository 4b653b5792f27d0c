"""Compares the ways to tick a thread on CPU: `python3 benches/ticks.py`. The same as `run.py --only ticks`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv[1:1] = ["--only", "ticks"]
    runpy.run_path(str(Path(__file__).with_name("run.py")), run_name="__main__")
