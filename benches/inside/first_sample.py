"""N4: the time from the call of start() to the first sample's own time, in this process's first session and in later ones."""

from __future__ import annotations

import json
import sys
import time

import spprof


def first_sample_ns(interval_ms):
    called = time.monotonic_ns()
    spprof.start(interval_ms=interval_ms)
    returned = time.monotonic_ns()
    while spprof.stats().collected_samples == 0:
        pass
    profile = spprof.stop()
    return {"start_ns": returned - called, "first_ns": profile.samples[0].timestamp_ns - called}


if __name__ == "__main__":
    print(json.dumps([first_sample_ns(float(sys.argv[1])) for _ in range(int(sys.argv[2]))]))
