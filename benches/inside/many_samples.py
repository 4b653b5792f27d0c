"""N5 and N9: a session of many samples, the time of stop(), and the memory it added. Or the same without it.

Two threads hash with the GIL released, so that both processors are at work, each at stack depths from 1 to 40, sampled
every 0.1 ms until there are as many samples as asked for: no sample is made up.

`python many_samples.py SAMPLES on`, or `… 0 SECONDS` to work for so long without spprof.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time

from conditions import status_bytes

DATA = bytes(64 * 1024)


def hash_once(depth):
    if depth > 0:
        return hash_once(depth - 1)
    return hashlib.sha256(DATA).digest()


def hash_at_depths(is_over, seed):
    draw = random.Random(seed)
    while not is_over.is_set():
        hash_once(draw.randrange(40))


def work_until(is_done):
    is_over = threading.Event()
    threads = [threading.Thread(target=hash_at_depths, args=(is_over, seed)) for seed in range(2)]
    for thread in threads:
        thread.start()
    while not is_done():
        time.sleep(0.05)
    is_over.set()
    for thread in threads:
        thread.join()


def main(samples, seconds):
    if seconds is not None:
        until = time.monotonic() + seconds
        work_until(lambda: time.monotonic() > until)
        print(json.dumps({"rss_anon_bytes": status_bytes("RssAnon")}))
        return
    import spprof

    before = status_bytes("RssAnon")
    began = time.monotonic()
    spprof.start(interval_ms=0.1)
    work_until(lambda: spprof.stats().collected_samples >= samples)
    seconds = time.monotonic() - began
    stats = spprof.stats()
    during = status_bytes("RssAnon")
    called = time.perf_counter_ns()
    profile = spprof.stop()
    stop_ns = time.perf_counter_ns() - called
    print(
        json.dumps(
            {
                "seconds": seconds,
                "samples": stats.collected_samples,
                "kept_samples": profile.sample_count,
                "dropped": stats.dropped_samples,
                "stop_ns": stop_ns,
                "memory_bytes": stats.memory_bytes,
                "rss_anon_before_bytes": before,
                "rss_anon_bytes": during,
                "rss_anon_after_bytes": status_bytes("RssAnon"),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), None if sys.argv[2] == "on" else float(sys.argv[2]))
