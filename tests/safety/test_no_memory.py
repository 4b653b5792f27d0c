"""Memory that runs out: the program goes on. A recording ends and says where; a view or a file is right, or a MemoryError.

An allocator that refuses (`refuse.c`) is put before the C library's. It refuses the extension only, from its n-th call on or
that one alone, for every n up to as many calls as a session makes.
"""

import os
import platform
import subprocess
import sys
import sysconfig

import c_library
import pytest

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
        assert profile.ending == ("out of memory" if messages else "stop")
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
    return c_library.build("refuse.c", tmp_path_factory.mktemp("refuse"))


def run(library, program, *arguments, **environment):
    """What a program printed under the allocator that refuses."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, library, *arguments],
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
# How often the collector comes round, and so how many calls there are, is the scheduler's to say.
calls = max(session(0, 0, {refused_from!r})[1] for _ in range(5))
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


def test_a_limit_of_address_space_that_is_hit_while_recording(library, tmp_path):
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
profile.save(sys.argv[2])
print(spprof.Profile.load(sys.argv[2]).ending, profile.merge(profile, spprof.Profile.load(sys.argv[2])).ending)
""",
        str(tmp_path / "p.spprof"),
        # One heap for all threads, which has no address space of its own in store.
        MALLOC_ARENA_MAX="1",
    )
    assert output == "1 True True\nout of memory out of memory\n"


# All that can be asked of a finished profile. Each returns what can be compared, made when there is memory again.
OPERATIONS = """
import glob, shutil

folder = sys.argv[2]
number_of_stacks, frames_of_a_stack = int(sys.argv[3]), int(sys.argv[4])

def function(number):
    return f"function_{number} (/srv/app/module_{number % 97}.py)"

lines = []
for stack in range(number_of_stacks):
    frames = [function((stack * 31 + level) % 5_000) for level in range(frames_of_a_stack)]
    lines.append(";".join(frames) + f" {1_000_000 + stack}")
with open(folder + "/made.collapsed", "w") as file:
    file.write("\\n".join(lines))
profile = spprof.Profile.load(folder + "/made.collapsed")
for ending in ("spprof", "speedscope.json", "pb.gz"):
    profile.save(f"{folder}/loaded.{ending}")
shutil.copy(folder + "/made.collapsed", folder + "/loaded.collapsed")

def rows(values):
    return lambda: [repr(value) for value in values]

def stacks(values):
    return lambda: [(value.frames, value.samples, value.cpu_ns, value.wall_ns) for value in values]

def content(found):
    return lambda: sorted((row.function_name, row.self_wall_ns, row.total_wall_ns) for row in found.top(None, clock="wall"))

def loaded(ending):
    return lambda: content(spprof.Profile.load(f"{folder}/loaded.{ending}"))

def saved(ending, save_to=None):
    path = f"{folder}/saved.{ending}"
    def save():
        (save_to or profile.save)(path)
        def read():
            with open(path, "rb") as file:
                data = file.read()
            os.unlink(path)
            return data
        return read
    return save

OPERATIONS = {
    "top": lambda: rows(profile.top(None, clock="wall")),
    "lines": lambda: rows(profile.lines(None, clock="wall")),
    "calls": lambda: rows(profile.calls(clock="wall", min_share=0)),
    "activities": lambda: rows(profile.activities()),
    "aggregate": lambda: stacks(profile.aggregate()),
    "threads": lambda: rows(profile.threads),
    "samples": lambda: rows(list(profile.samples)),
    "filter": lambda: content(profile.filter(focus="function_7")),
    "merge": lambda: content(profile.merge(profile)),
    "diff": lambda: rows(profile.diff(profile, clock="wall").functions),
    "to_speedscope": lambda: (lambda found: lambda: found)(profile.to_speedscope()),
    "to_collapsed": lambda: (lambda found: lambda: found)(profile.to_collapsed()),
    "page": lambda: (lambda found: lambda: found)(profile._repr_html_()),
    "losses": lambda: (lambda found: lambda: found)(profile.losses("svg")),
}
difference = profile.diff(profile, clock="wall")
OPERATIONS["save difference"] = saved("difference.html", difference.save)
for ending in ("spprof", "speedscope.json", "pb.gz", "collapsed"):
    OPERATIONS["load " + ending] = loaded(ending)
for _, (ending, *_), *_ in spprof._native.formats():
    OPERATIONS["save " + ending] = saved(ending.lstrip("."))

expected = {name: operation()() for name, operation in OPERATIONS.items()}

def attempt(name, without, again):
    # Returns whether the answer was right; else it was a MemoryError of one sentence.
    found = None
    without()
    try:
        found = OPERATIONS[name]()
    except MemoryError as error:
        again()
        assert str(error).startswith("There is no memory "), (name, error)
        assert "\\n" not in str(error)
    finally:
        again()
    if found is not None:
        assert found() == expected[name], name
    assert not glob.glob(folder + "/saved.*") and not glob.glob(folder + "/.saved.*"), "a file that is not whole"
    return found is not None
"""


#: What is refused memory here reads none of the interpreter's, and is one binary for all with a GIL: the oldest and the newest do.
some_interpreters = pytest.mark.skipif(
    sys.version_info[:2] not in ((3, 9), (3, 15)) and not sysconfig.get_config_var("Py_GIL_DISABLED"),
    reason="views and files are the same code under every interpreter: tried under 3.9, 3.15, and without the GIL",
)


@some_interpreters
@pytest.mark.parametrize("kind", ["one", "all"])
def test_every_call_for_memory_of_a_view_or_a_file_may_fail(library, tmp_path, kind):
    output = run(
        library,
        OPERATIONS
        + f"""
count = {1 if kind == "one" else 10**9}
right = 0
for name in OPERATIONS:
    refuse(0, 0)
    OPERATIONS[name]()()
    calls = library.calls_seen()
    first = 1
    while first <= calls:
        right += attempt(name, lambda: refuse(first, count), allow)
        first += 1 + first // 2
assert not spprof.is_active()
print(right > 0)
""",
        str(tmp_path),
        "1000",
        "12",
    )
    assert output == "True\n"


@some_interpreters
def test_views_and_files_at_many_limits_of_address_space(library, tmp_path):
    output = run(
        library,
        OPERATIONS
        + """
hard = resource.getrlimit(resource.RLIMIT_AS)[1]

def limit(more):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))

outcomes = {name: [] for name in OPERATIONS}
for name in OPERATIONS:
    for more in (0, *(4096 * 6**power for power in range(8))):
        outcomes[name].append(attempt(name, lambda: limit(more), lambda: resource.setrlimit(resource.RLIMIT_AS, (hard, hard))))
print([name for name, right in outcomes.items() if not right[-1]])
print(sum(right.count(False) for right in outcomes.values()) > len(outcomes))
""",
        str(tmp_path),
        "6000",
        "20",
        # One heap for all threads, which has no address space of its own in store.
        MALLOC_ARENA_MAX="1",
    )
    assert output == "[]\nTrue\n"
