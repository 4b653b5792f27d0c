"""N17: a hundred threads, 95 of them idle: signals a second, and how often the idle ones were woken. Needs the build for
benchmarks, which counts the calls of the handler.

`python idle_threads.py SECONDS INTERVAL_MS`
"""

from __future__ import annotations

import ctypes
import functools
import json
import resource
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "programs"))

import spprof
from handler_cost import HANDLER_PARTS, native_library
from histogram import Durations


def switches(threads):
    """How often the scheduler has let these threads go on since they began."""
    total = 0
    for thread in threads:
        with open(f"/proc/self/task/{thread.native_id}/status") as status:
            total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
    return total


def floor(native, seconds, interval_ms):
    """The share of a core of a thread that asks the system what every look from outside must ask it, and nothing else."""
    interval_ns, rounds = int(interval_ms * 1e6), int(1000 * seconds / interval_ms)
    ids = [thread.native_id for thread in threading.enumerate()]
    cpu_ns = native.spprof_bench_watch_threads((ctypes.c_uint32 * len(ids))(*ids), len(ids), rounds, interval_ns)
    return {"threads": len(ids), "cpu_share": cpu_ns / (rounds * interval_ns)}


def main(seconds, interval_ms):
    import threads_100_idle as program

    native = native_library()
    durations = Durations(
        native.spprof_bench_buckets,
        functools.partial(native.spprof_bench_handler_durations, HANDLER_PARTS.index("whole")),
        native.spprof_bench_cycles,
    )
    found = {}
    for name, is_busy in (("all idle", False), ("five busy", True)):
        spprof.start(interval_ms=interval_ms)
        time.sleep(0.2)
        before, began = switches(program.POOL.idlers), time.monotonic()
        # Behind what the line above does on CPU.
        durations.take()
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_before = used.ru_utime + used.ru_stime
        stats = spprof.stats()
        if not is_busy:
            time.sleep(seconds)
        while time.monotonic() - began < seconds:
            program.work()
        took = time.monotonic() - began
        after = spprof.stats()
        used = resource.getrusage(resource.RUSAGE_SELF)
        found[name] = {
            "signals_per_s": durations.take()["count"] / took,
            "samples_per_s": (after.collected_samples - stats.collected_samples) / took,
            "handler_share": (after.handler_ns - stats.handler_ns) / 1e9 / took,
            "own_share": (after.profiler_cpu_ns - stats.profiler_cpu_ns) / 1e9 / took,
            "idle_wakeups": switches(program.POOL.idlers) - before,
            "cpu_share": (used.ru_utime + used.ru_stime - cpu_before) / took,
        }
        spprof.stop()
    found["all idle"]["floor"] = floor(native, seconds, interval_ms)
    watcher = threading.Thread(
        target=lambda: found["five busy"].update(floor=floor(native, seconds, interval_ms)), name="watcher"
    )
    watcher.start()
    while watcher.is_alive():
        program.work()
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
