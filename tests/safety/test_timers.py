"""The numbers of our kernel timers are the program's as soon as they are free, and none of its own timers is touched.

What the program does with its timers is in `timers.c`.
"""

import os
import sys

import c_library
import pytest
from support import run_python

PRELUDE = """
import ctypes, faulthandler, os, sys, threading, time
import spprof

# Whatever waits for ever says where.
faulthandler.dump_traceback_later(300, exit=True)
library = ctypes.CDLL(sys.argv[1])
library.numbers_taken.restype = library.end.restype = ctypes.c_long
library.compute.argtypes = [ctypes.c_long]
# So many numbers that were ours the program shall have had.
ENOUGH = int(sys.argv[2])
if not library.begin():
    print("no numbers")
    raise SystemExit

def finish():
    disturbed = library.end()
    with open("/proc/self/timers") as timers:
        print(library.numbers_taken() >= ENOUGH, disturbed, repr(timers.read()))
"""

#: Threads end and sessions end, both while others are in their handlers.
ENDINGS = """
over = threading.Event()

def mother():
    while not over.is_set():
        thread = threading.Thread(target=library.compute, args=(300_000,))
        thread.start()
        thread.join()

def busy():
    while not over.is_set():
        library.compute(1_000_000)

threads = [threading.Thread(target=body) for body in (mother, mother, busy, busy)]
for thread in threads:
    thread.start()
while library.numbers_taken() < ENOUGH:
    spprof.start(interval_ms=0.1)
    library.compute(2_000_000)
    spprof.stop()
over.set()
for thread in threads:
    thread.join()
finish()
"""

#: Threads are let go that live and compute: their clocks are hidden while they are out of Python.
HIDDEN = """
def compute_in_python():
    for _ in range(30_000):
        pass

def wait_until(is_so):
    while not is_so():
        time.sleep(0.0005)

spprof.start(interval_ms=0.1)
callback = ctypes.CFUNCTYPE(None)(compute_in_python)
library.start_visits(callback)
while library.numbers_taken() < ENOUGH:
    library.hide_clocks(0)
    wait_until(lambda: spprof.stats().threads > 1)
    library.hide_clocks(1)
    wait_until(lambda: spprof.stats().threads == 1)
library.hide_clocks(0)
library.finish_visits()
spprof.stop()
finish()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Path of the built `timers.c`."""
    return c_library.build("timers.c", tmp_path_factory.mktemp("timers"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timers of the system have numbers on Linux only")
@pytest.mark.skipif("SPPROF_TESTS_SYSTEM_CALLS_OF" in os.environ, reason="qemu numbers timers in its own way")
@pytest.mark.parametrize(
    ("program", "numbers"), [(ENDINGS, 1000), (HIDDEN, 500)], ids=["threads and sessions end", "hidden clocks"]
)
def test_a_timer_of_the_program_with_a_number_that_was_ours_is_left_alone(library, program, numbers):
    """A handler that is 50 µs late between looking its timer's number up and setting it sets the program's several times if nobody
    waits for it: in the first program at the end of a session, in the second where a thread is let go.
    """
    printed = run_python("-c", PRELUDE + program, library, numbers, env={"LD_PRELOAD": library})
    if printed == "no numbers\n":
        pytest.skip("this kernel does not let a program ask for the number of a timer (Linux 6.15)")
    assert printed == "True 0 ''\n"
