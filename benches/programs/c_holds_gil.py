"""C code that holds the GIL for milliseconds: sorting a large list."""

import random

NUMBERS = [random.Random(number).random() for number in range(40_000)]


def work() -> None:
    sorted(NUMBERS)
