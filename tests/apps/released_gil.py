"""Threads that let go of the GIL all the time, each in one kind of call, with the time that each took by its own clocks.

Prints as JSON for each thread: what it did, its wall and CPU time, ns; what its samples add up to; and the wall time that went to
the line of its call.
"""

import hashlib
import inspect
import json
import os
import socket
import sys
import tempfile
import threading
import time
import zlib

import spprof

INTERVAL_MS = 1

BLOCK = bytes(range(256)) * 4096


# Each loop is one line with its call, so that the line is known and the loop's own share of it too.


def stat(is_over):
    while not is_over[0]: os.stat(os.sep)  # fmt: skip  # noqa: E701


def digest(is_over):
    while not is_over[0]: hashlib.sha256(BLOCK).digest()  # fmt: skip  # noqa: E701


def write_file(is_over):
    with tempfile.TemporaryFile(buffering=0) as file:
        number = file.fileno()
        while not is_over[0]: os.write(number, BLOCK) and os.lseek(number, 0, os.SEEK_SET)  # fmt: skip  # noqa: E701


def sleep(is_over):
    while not is_over[0]: time.sleep(0.005)  # fmt: skip  # noqa: E701


def talk(is_over):
    left, right = socket.socketpair()
    with left, right:
        while not is_over[0]: right.recv(left.send(b"x" * 100))  # fmt: skip  # noqa: E701


def compress(is_over):
    while not is_over[0]: zlib.compress(BLOCK, 1)  # fmt: skip  # noqa: E701


LOOPS = [stat, digest, write_file, sleep, talk, compress]


def loop_line(loop):
    lines, first = inspect.getsourcelines(loop)
    (line,) = [first + index for index, text in enumerate(lines) if "while not is_over" in text]
    return line


def main(wall_s):
    # The threads are there and wait before the session begins, and wait again until it is over: both ends of their time
    # are in the session.
    ready = threading.Barrier(len(LOOPS) + 1)
    begin, finish = threading.Event(), threading.Event()
    is_over = [False]
    measured = {}

    def run(loop):
        native_id = threading.get_native_id()
        ready.wait()
        begin.wait()
        wall_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        loop(is_over)
        measured[loop] = [native_id, time.monotonic_ns() - wall_ns, time.thread_time_ns() - cpu_ns]
        finish.wait()

    threads = [threading.Thread(target=run, args=(loop,)) for loop in LOOPS]
    for thread in threads:
        thread.start()
    ready.wait()
    session_began_ns = time.monotonic_ns()
    spprof.start(interval_ms=INTERVAL_MS)
    begin.set()
    time.sleep(wall_s)
    is_over[0] = True
    while len(measured) < len(LOOPS):
        time.sleep(0.001)
    profile = spprof.stop()
    session_ended_ns = time.monotonic_ns()
    finish.set()
    for thread in threads:
        thread.join()

    threads_seen = {thread.native_id: thread for thread in profile.threads}
    results = []
    for loop, (native_id, wall_ns, cpu_ns) in measured.items():
        samples = [sample for sample in profile.samples if sample.thread_id == native_id]
        in_loop = [sample for sample in samples if loop.__name__ in [frame.function_name for frame in sample.frames]]
        on_line = [sample for sample in in_loop if sample.frames[-1].lineno == loop_line(loop)]
        results.append(
            {
                "loop": loop.__name__,
                "wall_ns": wall_ns,
                "cpu_ns": cpu_ns,
                "profile_wall_ns": threads_seen[native_id].wall_ns,
                "profile_cpu_ns": threads_seen[native_id].cpu_ns,
                "sum_wall_ns": sum(sample.wall_ns for sample in samples),
                "sum_cpu_ns": sum(sample.cpu_ns for sample in samples),
                "loop_wall_ns": sum(sample.wall_ns for sample in in_loop),
                "line_wall_ns": sum(sample.wall_ns for sample in on_line),
                "samples": len(samples),
            }
        )
    json.dump(
        {
            "session_ns": session_ended_ns - session_began_ns,
            "interval_ns": INTERVAL_MS * 1_000_000,
            "torn": profile.counters["torn_stacks"],
            "threads": results,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(float(sys.argv[1]))
