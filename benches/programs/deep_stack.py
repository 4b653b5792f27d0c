"""A loop at the bottom of 900 frames."""

import sys

sys.setrecursionlimit(5000)


def loop() -> int:
    total = 0
    for number in range(60_000):
        total += number * number
    return total


def descend(depth: int) -> int:
    return loop() if depth == 0 else descend(depth - 1)


def work() -> None:
    descend(900)
