"""N16: the CPU and wall time of each thread in the profile against the clocks that the thread itself reads.

Four threads: one spins, one spins and sleeps, one sleeps, one hashes without the GIL. Each reads its clocks when all have
begun and when all have finished, with the session running over exactly that.

`python totals.py SECONDS INTERVAL_MS`
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time

import spprof


def spin(until):
    while time.monotonic() < until:
        pass


def spin_and_sleep(until):
    while time.monotonic() < until:
        busy = time.thread_time() + 0.003
        while time.thread_time() < busy:
            pass
        time.sleep(0.004)


def sleep(until):
    time.sleep(max(0.0, until - time.monotonic()))


def hashing(until):
    data = bytes(1 << 20)
    while time.monotonic() < until:
        hashlib.sha256(data).digest()


def main(seconds, interval_ms):
    works = (spin, spin_and_sleep, sleep, hashing)
    ready, go, finished, over = (threading.Barrier(len(works) + 1) for _ in range(4))
    clocks = {}

    def run(work):
        ready.wait()
        go.wait()
        cpu = time.thread_time_ns()
        work(time.monotonic() + seconds)
        clocks[threading.get_native_id()] = (work.__name__, cpu, time.thread_time_ns())
        finished.wait()
        over.wait()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    ready.wait()
    before = time.monotonic_ns()
    spprof.start(interval_ms=interval_ms)
    between = time.monotonic_ns()
    go.wait()
    finished.wait()
    after = time.monotonic_ns()
    profile = spprof.stop()
    last = time.monotonic_ns()
    over.wait()
    for thread in threads:
        thread.join()
    found = []
    for thread in profile.threads:
        if thread.native_id in clocks:
            name, cpu, cpu_after = clocks[thread.native_id]
            found.append(
                {
                    "work": name,
                    "cpu_ns": thread.cpu_ns,
                    "clock_cpu_ns": cpu_after - cpu,
                    "wall_ns": thread.wall_ns,
                    "clock_wall_ns": ((after + last) - (before + between)) // 2,
                }
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
