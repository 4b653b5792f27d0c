"""The machine a measurement was made on, without its name."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import time
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


class Others:
    """What everybody else uses of the processors meanwhile, the hypervisor's other guests included."""

    def __init__(self) -> None:
        self._began, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def percent(self) -> float:
        """Since it was made, of all processors together, in per cent."""
        elapsed_s = time.monotonic() - self._began
        others_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        # The kernel counts the machine's time in hundredths of a second.
        return max(0.0, 100 * others_s / (elapsed_s * (os.cpu_count() or 1)))


def _busy_s() -> float:
    """Time of all processors since boot that was not idle, s (proc(5): user to steal, without idle and iowait)."""
    words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, words)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """CPU time of this process and of its children that have ended, s."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


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
