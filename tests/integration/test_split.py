"""A program whose split of CPU time is known is reported with that split, within what sampling allows."""

import json
import math
import pathlib

import pytest
from support import run_python

APPS = pathlib.Path(__file__).parent.parent / "apps"

#: CPU time of the program, s.
CPU_S = 4


@pytest.mark.parametrize("interval_ms", [1, 10])
def test_seventy_twenty_ten(interval_ms):
    seen = json.loads(run_python(APPS / "known_split.py", CPU_S, interval_ms))

    spent_ns, samples, cpu_ns = seen["spent_ns"], seen["samples"], seen["cpu_ns"]
    count = sum(samples.values())
    # At least half of the samples asked for: on a machine that others use, the CPU is not the program's all the time.
    assert count > 0.5 * CPU_S * 1000 / interval_ms
    for name in ("seventy", "twenty", "ten"):
        truth = spent_ns[name] / sum(spent_ns.values())
        # The standard deviation of a share `truth` seen in `count` independent samples.
        deviation = math.sqrt(truth * (1 - truth) / count)
        assert abs(samples[name] / count - truth) <= 3 * deviation, f"{name}, by samples"
        assert abs(cpu_ns[name] / sum(cpu_ns.values()) - truth) <= 3 * deviation, f"{name}, by CPU time"
