"""The machine a measurement was made on, without its name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path


def describe(python: Path) -> dict[str, str]:
    """What has to be known to compare: processor, kernel, tick rate, and the interpreter at `python`."""
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version)"], stdout=subprocess.PIPE, text=True, check=True
    )
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "virtual": _hypervisor(),
        # A build's own suffix may name a place.
        "kernel": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "CONFIG_HZ": _config_hz(),
        "python": "CPython " + version.stdout.split(" ", 1)[0],
    }


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8")


def _processor() -> str:
    match = re.search(r"^(?:model name|Model|CPU part)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return match[1] if match is not None else platform.machine()


def _hypervisor() -> str:
    return "yes" if re.search(r"^flags\s*:.*\bhypervisor\b", _cpuinfo(), re.MULTILINE) else "not seen"


def _config_hz() -> str:
    """CONFIG_HZ, from the kernel's configuration where it is shown."""
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{platform.release()}")):
        if path.exists():
            import gzip

            text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            match = re.search(rb"^CONFIG_HZ=(\d+)$", text, re.MULTILINE)
            if match is not None:
                return match[1].decode()
    return "unknown"
