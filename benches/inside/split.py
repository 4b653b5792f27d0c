"""A known split under a profiler: three functions share one thread's CPU 70 : 20 : 10, by the thread's own clock.

`python split.py CPU_S CONDITION`; prints the CPU time of each and what the profiler says, as JSON on the last line.
"""

from __future__ import annotations

import json
import sys
import time


def loop_once(rounds):
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def seventy(rounds):
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def twenty(rounds):
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def ten(rounds):
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def timed(function, rounds):
    before = time.thread_time_ns()
    function(rounds)
    return time.thread_time_ns() - before


def main(cpu_s, name):
    import conditions

    per_ms = max(1, int(20_000 * 1e6 / min(timed(loop_once, 20_000) for _ in range(20))))
    parts = {seventy: 7 * per_ms, twenty: 2 * per_ms, ten: per_ms}
    spent = dict.fromkeys(parts, 0)
    condition = conditions.make(name)
    condition.begin()
    condition.mark()
    began = time.perf_counter_ns()
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        for function, rounds in parts.items():
            spent[function] += timed(function, rounds)
    condition.end(time.perf_counter_ns() - began)
    shares = condition.shares()
    names = [function.__name__ for function in parts]
    print(
        json.dumps(
            {
                "spent_ns": {function.__name__: spent_ns for function, spent_ns in spent.items()},
                "seen": {name: shares.get(name, 0) for name in names},
            }
        )
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
