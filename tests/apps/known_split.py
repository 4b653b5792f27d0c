"""Three functions that share one thread's CPU 70 : 20 : 10, with the shares they really had by the thread's own clock.

Prints the spent CPU time of each function, ns, and the samples in which it was innermost, as JSON.
"""

import json
import sys
import threading
import time

import spprof

#: CPU time of one turn of all three. Their true shares are read from a clock, and that of Windows goes in steps of 16 ms.
TURN_MS = 1000 if sys.platform == "win32" else 10


def work(rounds):
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


def rounds_per_ms():
    """How many rounds of the loop take 1 ms of CPU: the best of some tries."""
    rounds = 20_000
    # The CPU clock of Windows may show nothing at all.
    clock_ns = time.perf_counter_ns if sys.platform == "win32" else time.thread_time_ns
    best_ns = min(timed(work, rounds, clock_ns) for _ in range(20))
    return max(1, int(rounds * 1e6 / best_ns))


def timed(function, rounds, clock_ns=time.thread_time_ns):
    before_ns = clock_ns()
    function(rounds)
    return clock_ns() - before_ns


def main(cpu_s, interval_ms):
    tenth = rounds_per_ms() * TURN_MS // 10
    parts = {seventy: 7 * tenth, twenty: 2 * tenth, ten: tenth}
    spent = dict.fromkeys(parts, 0)
    until = time.thread_time() + cpu_s
    spprof.start(interval_ms=interval_ms)
    while time.thread_time() < until:
        for function, rounds in parts.items():
            spent[function] += timed(function, rounds)
    profile = spprof.stop()

    samples = dict.fromkeys((function.__name__ for function in parts), 0)
    cpu_ns = dict(samples)
    squares = 0
    for sample in profile.samples:
        name = sample.frames[-1].function_name if sample.frames else ""
        if sample.thread_id == threading.get_native_id() and name in samples and sample.state.startswith("on-cpu"):
            samples[name] += 1
            cpu_ns[name] += sample.cpu_ns
            squares += sample.cpu_ns**2
    json.dump(
        {
            "spent_ns": {function.__name__: spent_ns for function, spent_ns in spent.items()},
            "samples": samples,
            "cpu_ns": cpu_ns,
            # As many samples of equal weight would say as much: on a busy machine the time from one to the next varies.
            "equal_samples": sum(cpu_ns.values()) ** 2 / max(1, squares),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
