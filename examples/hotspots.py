"""A program whose profile is known beforehand: 70 % of its CPU time in `parse`, 20 % in `index` and 10 % in `render`.

It reads its own CPU clock, so the split holds on any machine: each function works until it has used its share of the
round, and every round has the same shares. Run it plainly, then under spprof, and compare with what it prints.
"""

from __future__ import annotations

import sys
import time

ROUND_NS = 50_000_000
"""CPU time of one round, in nanoseconds: many rounds in a run, and many ticks of a 10 ms profile in `parse` of each."""


def parse(deadline_ns: int) -> None:
    """70 %: turns text into numbers until this thread's CPU clock reads `deadline_ns`."""
    text = ",".join(map(str, range(2_000)))
    while time.thread_time_ns() < deadline_ns:
        sum(map(int, text.split(",")))


def index(deadline_ns: int) -> None:
    """20 %: puts them in order."""
    numbers = [(number * 7_919) % 2_003 for number in range(2_000)]
    while time.thread_time_ns() < deadline_ns:
        dict(zip(sorted(numbers), numbers))


def render(deadline_ns: int) -> None:
    """10 %: turns numbers back into text."""
    numbers = range(2_000)
    while time.thread_time_ns() < deadline_ns:
        "\n".join(map(str, numbers))


SHARES = ((parse, 0.7), (index, 0.2), (render, 0.1))


def main(cpu_seconds: float) -> None:
    """Use `cpu_seconds` of CPU time in rounds, then print what each function used of it."""
    used_ns = {function.__name__: 0 for function, _ in SHARES}
    start_ns = time.thread_time_ns()
    for round_number in range(max(1, round(cpu_seconds * 1e9 / ROUND_NS))):
        # Deadlines come from the start, not from the last function's end, so that overshoots do not add up.
        deadline_ns = start_ns + round_number * ROUND_NS
        for function, share in SHARES:
            deadline_ns += int(share * ROUND_NS)
            before_ns = time.thread_time_ns()
            function(deadline_ns)
            used_ns[function.__name__] += time.thread_time_ns() - before_ns
    total_ns = sum(used_ns.values())
    for name, ns in used_ns.items():
        print(f"{name:<8}{ns / 1e9:6.2f} s CPU {100 * ns / total_ns:6.1f} %")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
