"""The profiler's own reading of /proc is not seen in the program's table of descriptors."""

import os
import threading

import pytest
import spprof
from support import run_python, spin

HAS_CLOSE_RANGE = tuple(map(int, os.uname().release.split(".")[:2])) >= (5, 9)

PROGRAM = """
import os, threading, time, spprof

# A thread that blocks and runs by turns is what the collector reads files for.
over = threading.Event()
def restless():
    while not over.wait(0.0005):
        sum(range(2000))
threads = [threading.Thread(target=restless, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
spprof.start(interval_ms=0.5)
here, there = os.pipe()
own = os.fstat(there)
end = time.monotonic() + 2
rounds = busy = lost = 0
while time.monotonic() < end:
    rounds += 1
    # Descriptor 0 is free for a moment, and a file that any thread opens then gets it.
    os.close(0)
    try:
        os.dup2(there, 0)
    except OSError:
        busy += 1
        os.dup2(there, 0)
    for _ in range(20):
        pass
    try:
        now = os.fstat(0)
        lost += (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino)
    except OSError:
        lost += 1
        os.dup2(there, 0)
over.set()
for thread in threads:
    thread.join()
spprof.stop()
print(rounds > 1000, busy, lost)
"""


@pytest.mark.skipif(not HAS_CLOSE_RANGE, reason="Linux before 5.9 cannot give a thread a table of its own and empty it")
def test_descriptors_that_the_program_frees_and_takes_again():
    assert run_python("-c", PROGRAM) == "True 0 0\n"


def test_a_pipe_that_the_program_closes_is_closed():
    # Were its descriptors copied to the collector's thread, the reader would wait for ever.
    here, there = os.pipe()
    spprof.start(interval_ms=1)
    received = []
    thread = threading.Thread(target=lambda: received.append(os.read(here, 1)))
    thread.start()
    spin(0.02)
    os.close(there)
    thread.join()
    spprof.stop()
    os.close(here)
    assert received == [b""]


KEPT = """
import os, resource, threading, time, spprof

over = threading.Event()
def restless():
    while not over.wait(0.0005):
        sum(range(2000))

def descriptors_of_the_collector():
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as name:
                if name.read() == "spprof\\n":
                    return os.listdir(f"/proc/self/task/{task}/fd")
        except FileNotFoundError:
            pass

def wait_until(is_so):
    while not is_so():
        time.sleep(0.001)

spprof.start(interval_ms=0.5)
most = 0
def look():
    global most
    count = len(descriptors_of_the_collector())
    most = max(most, count)
    return count
threads = [threading.Thread(target=restless) for _ in range(100)]
for thread in threads:
    thread.start()
wait_until(lambda: look() >= 4)
own = os.listdir("/proc/self/fd")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (6, hard))
# Three may stay open now, and one more is open while it is read.
wait_until(lambda: look() <= 4)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
wait_until(lambda: look() >= 5)
over.set()
for thread in threads:
    thread.join()
# This thread sleeps between its looks, so it may be one that is asked about.
wait_until(lambda: look() <= 1)
profile = spprof.stop()
waits = [sample for sample in profile.samples if sample.thread_name.startswith("Thread-") and sample.state.startswith("blocked")]
# Files of what threads are doing, of their states at the end, and the folder of them.
print(most <= 64 + 2, len(own), len(waits) > 100)
"""


@pytest.mark.skipif(not HAS_CLOSE_RANGE, reason="Linux before 5.9 cannot give a thread a table of its own and empty it")
def test_files_that_stay_open_are_few_and_of_threads_that_live():
    # Standard streams and the folder that is listed.
    assert run_python("-c", KEPT) == "True 4 True\n"
