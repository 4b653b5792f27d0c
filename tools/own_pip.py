"""pip for the tools that fetch packages from PyPI: Debian's interpreter comes without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def command(folder: Path) -> list[str | Path]:
    """What runs pip, from a virtual environment in FOLDER that is made if it is not there."""
    program = folder / "pip" / "bin" / "python"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", program.parent.parent], check=True)
    return [program, "-m", "pip", "--disable-pip-version-check", "-q"]
