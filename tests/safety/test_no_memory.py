"""Memory that runs out while a session records: the program goes on, and the profile says where it ends.

An allocator that refuses (`refuse.c`) is put before the C library's. It refuses the extension only, from its n-th call on or
that one alone, for every n up to as many calls as a session makes.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("refuse.c")
CC = next((found for found in map(shutil.which, (os.environ.get("CC", "cc"), "cc", "gcc", "clang")) if found), None)

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator passes on to glibc's")

PROGRAM = """
import ctypes, os, resource, sys, threading, time, warnings
import spprof

library = ctypes.CDLL(sys.argv[1])
with open("/proc/self/maps") as maps:
    fields = [line.split() for line in maps]
ranges = [field[0].split("-") for field in fields if "/_native." in field[-1] and field[1] == "r-xp"]
start, end = (int(address, 16) for address in ranges[0])
assert len(ranges) == 1

def refuse(first, count):
    library.refuse(ctypes.c_size_t(start), ctypes.c_size_t(end), ctypes.c_long(first), ctypes.c_long(count))

def allow():
    refuse(0, 0)

def deep(levels, function):
    return deep(levels - 1, function) if levels else function()

made = 0

def work(rounds):
    # Functions that are new each time and die, on new lines, in threads that come and go.
    global made
    total = 0
    for _ in range(rounds):
        made += 1
        scope = {}
        loop = "".join(f"    total += sum(range({500 + line}))\\n" for line in range(30))
        exec(compile(f"def made_{made}():\\n    total = 0\\n{loop}    return total\\n", f"<made_{made}>", "exec"), scope)
        results = []
        thread = threading.Thread(target=lambda: results.append(deep(made % 50, scope[f"made_{made}"])), name=f"thread {made}")
        thread.start()
        results.append(deep(10, scope[f"made_{made}"]))
        thread.join()
        assert results == [sum(sum(range(500 + line)) for line in range(30))] * 2
        total += results[0]
    return total

def check(profile):
    sums = {}
    for sample in profile.samples:
        cpu, wall = sums.get(sample.thread_id, (0, 0))
        sums[sample.thread_id] = cpu + sample.cpu_ns, wall + sample.wall_ns
        for frame in sample.frames:
            # A name that is wrong would be that of another function.
            if frame.function_name.startswith("made_"):
                assert frame.filename == f"<{frame.function_name}>", frame
            elif frame.filename.startswith("<made_"):
                assert frame.function_name == "<module>", frame
    totals = {}
    for thread in profile.threads:
        cpu, wall = totals.get(thread.native_id, (0, 0))
        totals[thread.native_id] = cpu + thread.cpu_ns, wall + thread.wall_ns
    assert all(totals[native] == seen for native, seen in sums.items()), (totals, sums)
    main = [thread for thread in profile.threads if thread.native_id == os.getpid()]
    assert all(thread.wall_ns <= profile.total_duration_ms * 1e6 + 1 for thread in main)

def session(first, count, refused_from):
    # Returns how it ended, the calls seen, and the calls refused before its end.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if refused_from == "before":
                refuse(first, count)
            spprof.start(interval_ms=0.2)
        except OSError as error:
            allow()
            assert not spprof.is_active()
            assert str(error).startswith("The profiler could not start because the system refused "), error
            work(1)
            return "no start", 0, 0
        if refused_from == "started":
            refuse(first, count)
        work(2)
        no_snapshot = False
        try:
            spprof.snapshot()
        except MemoryError:
            no_snapshot = True
        calls, refused = library.calls_seen(), library.calls_refused()
        try:
            profile = spprof.stop()
        except MemoryError:
            # Python's own: there was no memory for the object.
            profile = None
        refused_at_end = library.calls_refused()
        allow()
    assert not spprof.is_active()
    messages = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
    assert all(message.startswith("The profiler ran out of memory after ") for message in messages), messages
    if profile is not None:
        check(profile)
        # What was refused before the session began has hurt nobody, and a block that could not grow may move instead.
        if refused and refused_from == "started" and count > 1:
            assert messages or no_snapshot, "what was refused has its consequence, and it is said"
    if not refused_at_end:
        assert not messages
    return "ended early" if messages else "whole", calls, refused
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Path of the built `refuse.c`."""
    assert CC, "a C compiler is needed"
    built = tmp_path_factory.mktemp("refuse") / "refuse.so"
    subprocess.run([CC, "-O1", "-w", "-shared", "-fPIC", "-o", str(built), str(SOURCE)], check=True)
    return str(built)


def run(library, program, **environment):
    """What a program printed under the allocator that refuses."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, library],
        env={**os.environ, "LD_PRELOAD": library, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("refused_from", ["before", "started"])
@pytest.mark.parametrize("kind", ["one", "all"])
def test_every_call_for_memory_may_fail(library, refused_from, kind):
    # The first calls one by one, then ever larger steps, up to more calls than a session makes.
    output = run(
        library,
        f"""
session(0, 0, {refused_from!r})
_, calls, _ = session(0, 0, {refused_from!r})
assert calls > 100
ends = {{}}
first, sessions = 1, 0
while first <= calls:
    how, _, refused = session(first, {1 if kind == "one" else 10**9}, {refused_from!r})
    ends[how] = ends.get(how, 0) + 1
    sessions += 1
    first += 1 if first < 40 else first // 20
# And with memory again, all is as before.
assert session(0, 0, {refused_from!r})[0] == "whole"
print(sorted(ends), sessions)
""",
    )
    ends, sessions = output.rsplit(" ", 1)
    assert "'ended early'" in ends
    assert ("'no start'" in ends) == (refused_from == "before")
    assert int(sessions) > 50


def test_a_limit_of_address_space_that_is_hit_while_recording(library):
    # The recording needs memory for thousands of functions and stacks that are new to it, and the program needs none.
    output = run(
        library,
        """
functions = []
for number in range(20_000):
    scope = {}
    exec(compile(f"def made_{number}():\\n    return sum(range(300))\\n", f"<made_{number}>", "exec"), scope)
    functions.append(scope[f"made_{number}"])
functions.append(lambda: 44_850)

def run_all(times):
    total = 0
    for _ in range(times):
        for function in functions:
            total += function()
    return total

expected = run_all(1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    spprof.start(interval_ms=0.1, memory_limit_mb=500)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used, hard))
    # As long as it takes to fill what the C library holds in store: the recording ends, and no sample is added.
    samples = -1
    while samples != spprof.stats().collected_samples:
        samples = spprof.stats().collected_samples
        assert run_all(3) == 3 * expected
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    profile = spprof.stop()
check(profile)
messages = [str(warning.message) for warning in caught]
print(len(messages), profile.sample_count > 0, "run_all" in {row.function_name for row in profile.top(None)})
""",
        # One heap for all threads, which has no address space of its own in store.
        MALLOC_ARENA_MAX="1",
    )
    assert output == "1 True True\n"
