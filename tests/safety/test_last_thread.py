"""A process ends with its last thread: the profiler's own must not be the one that keeps it."""

import os
import subprocess
import sys

import pytest
import spprof

# The first thread of the child is the forking one. It ends like any thread, and nobody calls stop or exit.
FORKED_BY_A_THREAD = """
import os, sys, threading, time, warnings
import spprof
warnings.simplefilter("ignore", DeprecationWarning)

def child_work():
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass

def fork():
    child = os.fork()
    if child == 0:
        spprof.start(interval_ms=1, output_path=sys.argv[1] or None)
        if len(sys.argv) > 2:
            spprof.pause()
        child_work()
        return
    statuses.append(os.waitpid(child, 0)[1])

statuses = []
thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(os.waitstatus_to_exitcode(statuses[0]))
"""


@pytest.mark.parametrize("more", [[], ["paused"]], ids=["sampling", "paused"])
def test_a_child_of_a_thread_ends_with_that_thread(tmp_path, more):
    command = [sys.executable, "-c", FORKED_BY_A_THREAD, str(tmp_path / "child.collapsed"), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    profile = spprof.Profile.load(tmp_path / "child.collapsed")
    names = {frame.function_name for stack in profile.aggregate() for frame in stack.frames}
    assert ("child_work" in names) == (more == [])


def test_and_without_a_file(tmp_path):
    done = subprocess.run([sys.executable, "-c", FORKED_BY_A_THREAD, ""], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert os.listdir(tmp_path) == []
