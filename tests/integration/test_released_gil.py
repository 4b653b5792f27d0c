"""Threads that let go of the GIL all the time are sampled without harm, and every nanosecond goes to where it was spent."""

import json
import pathlib

from support import CPU_CLOCK_STEP_NS, run_python

APPS = pathlib.Path(__file__).parent.parent / "apps"

#: What is off is so at both ends only, by an interval at most where the processors are free: evenly spread, with a standard
#: deviation of 1 ms / sqrt(12) each. 1 % of so long is two hundred times that of both, and leaves room for a busy machine.
WALL_S = 8

LOOPS = {"stat", "digest", "write_file", "sleep", "talk", "compress"}


def test_time_of_calls_without_the_gil_is_counted_and_goes_to_their_line():
    seen = json.loads(run_python(APPS / "released_gil.py", WALL_S))

    assert {thread["loop"] for thread in seen["threads"]} == LOOPS
    two_intervals_ns = 2 * seen["interval_ns"]
    for thread in seen["threads"]:
        name = thread["loop"]
        assert thread["samples"] > 0, name
        # A thread's totals are what its samples add up to.
        assert thread["sum_wall_ns"] == thread["profile_wall_ns"], name
        assert thread["sum_cpu_ns"] == thread["profile_cpu_ns"], name
        # The wall time is the session's, the CPU time the thread's own; around its loop the thread only waits.
        wall_tolerance_ns = 0.01 * seen["session_ns"] + two_intervals_ns
        assert abs(thread["sum_wall_ns"] - seen["session_ns"]) <= wall_tolerance_ns, name
        cpu_tolerance_ns = 0.01 * thread["cpu_ns"] + two_intervals_ns + CPU_CLOCK_STEP_NS
        assert abs(thread["sum_cpu_ns"] - thread["cpu_ns"]) <= cpu_tolerance_ns, name
        # The loop has the time that it took, and its one line has all of that.
        assert abs(thread["loop_wall_ns"] - thread["wall_ns"]) <= wall_tolerance_ns, name
        assert thread["loop_wall_ns"] - thread["line_wall_ns"] <= wall_tolerance_ns, name
