"""Other tools of the interpreter at work at the same time count what they count without us."""

import cProfile
import faulthandler
import os
import pstats
import subprocess
import sys
import tempfile
import time

import pytest
import spprof


def leaf(number):
    return number * number


def work():
    total = 0
    for number in range(20_000):
        total += leaf(number)
    return total


@pytest.fixture
def session():
    spprof.start(interval_ms=0.5)
    yield
    if spprof.is_active():
        spprof.stop()


def names(profile):
    return {frame.function_name for stack in profile.aggregate() for frame in stack.frames}


def test_a_trace_function_sees_every_line(session):
    events = {"call": 0, "line": 0, "return": 0}

    def trace(frame, event, argument):
        if frame.f_code in (leaf.__code__, work.__code__):
            events[event] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = work()
    finally:
        sys.settrace(before)
    profile = spprof.stop()
    assert result == sum(number * number for number in range(20_000))
    assert events == {"call": 20_001, "line": 20_000 + 1 + 20_001 + 20_000 + 1, "return": 20_001}
    assert {"work", "leaf"} <= names(profile)


def test_cprofile_counts_every_call(session):
    profiler = cProfile.Profile()
    profiler.runcall(work)
    profile = spprof.stop()
    calls = {key[2]: value[0] for key, value in pstats.Stats(profiler).stats.items()}
    assert (calls["work"], calls["leaf"]) == (1, 20_000)
    assert "work" in names(profile)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="sys.monitoring came with 3.12")
def test_sys_monitoring_counts_every_call(session):
    monitoring, tool = sys.monitoring, 4
    counted = []
    monitoring.use_tool_id(tool, "test")
    try:
        monitoring.register_callback(tool, monitoring.events.PY_START, lambda code, offset: counted.append(code))
        monitoring.set_local_events(tool, leaf.__code__, monitoring.events.PY_START)
        work()
    finally:
        monitoring.set_local_events(tool, leaf.__code__, 0)
        monitoring.free_tool_id(tool)
    profile = spprof.stop()
    assert counted == [leaf.__code__] * 20_000
    assert "work" in names(profile)


def test_faulthandler_dumps_on_time(session):
    work()
    with tempfile.TemporaryFile("w+") as file:
        # faulthandler reads the frames of running threads as they change, and up to 3.10 crashes of it within seconds with
        # or without us. So this thread stands still.
        faulthandler.dump_traceback_later(0.05, repeat=True, file=file)
        try:
            while os.fstat(file.fileno()).st_size < 1000:
                time.sleep(0.2)
        finally:
            faulthandler.cancel_dump_traceback_later()
        profile = spprof.stop()
        file.seek(0)
        text = file.read()
    assert "Timeout (0:00:00.050000)!" in text
    assert "test_faulthandler_dumps_on_time" in text
    assert "work" in names(profile)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the JIT compiler is in the builds of 3.14 and later")
def test_the_jit_compiler():
    # The stack tests run whole with it (tools/test.py); this is that both are there at once.
    program = """
import sys, spprof
def leaf(number):
    return number * number
def work():
    total = 0
    for number in range(3_000_000):
        total += leaf(number)
    return total
spprof.start(interval_ms=0.5)
assert work() == sum(number * number for number in range(3_000_000))
profile = spprof.stop()
assert {"work", "leaf"} <= {frame.function_name for stack in profile.aggregate() for frame in stack.frames}
print("alive")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHON_JIT": "1"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
