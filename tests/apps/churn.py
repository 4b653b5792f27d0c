"""Four threads that compile, run and drop functions all the time: every function in a profile tells whether it is true.

A generated function is called `made_<thread>_<number>`, lies in the file `<made_<thread>_<number>>`, and does its work on line
`LINE + number % LINES`. Prints, as JSON, what was sampled of them and what was sampled that cannot be.
"""

import gc
import json
import sys
import threading
import time

import spprof

THREADS = 4

#: Functions that each thread makes at least, however long that takes where the machine is slow.
LEAST = 300

#: First line of the work, and how many lines it goes through as the numbers go up.
LINE, LINES = 10, 200


def work_line(number):
    return LINE + number % LINES


def source(name, number):
    """A function with all its work on the line that its number tells."""
    return f"def {name}():\n" + "\n" * (work_line(number) - 2) + "    for _ in range(2000): _ * _\n"


def churn(index, until, made):
    number = 0
    while time.monotonic() < until or number < LEAST:
        name = f"made_{index}_{number}"
        namespace = {}
        exec(compile(source(name, number), f"<{name}>", "exec"), namespace)
        namespace.pop(name)()
        number += 1
    made[index] = number


def churn_over_freed_memory(until):
    """Code objects of many sizes over the memory of those that are gone; never sampled, for they are never run."""
    number = 0
    while time.monotonic() < until:
        compile(f"def other_{number % 97}():\n" + "    x = 1\n" * (number % 50) + "    pass\n", "<other>", "exec")
        number += 1
        if number % 1000 == 0:
            gc.collect()


def wrong(frame, made):
    """Why a frame of a generated file cannot be, or None."""
    name = frame.filename[1:-1]
    _, index, number = name.split("_")
    if frame.function_name == "<module>":
        return None if frame.lineno in {0, 1} else "line of the module"
    if frame.function_name != name:
        return "name"
    if int(number) >= made[int(index)]:
        return "never made"
    return None if frame.lineno in {1, work_line(int(number))} else "line"


def main(wall_s):
    until = time.monotonic() + wall_s
    made = {}
    threads = [threading.Thread(target=churn, args=(index, until, made)) for index in range(THREADS)]
    spprof.start(interval_ms=1)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    churn_over_freed_memory(time.monotonic() + wall_s / 4)
    profile = spprof.stop()

    generated, mistakes, others = 0, [], set()
    for sample in profile.samples:
        for frame in sample.frames:
            if frame.filename.startswith("<made_"):
                generated += 1
                reason = wrong(frame, made)
                if reason:
                    mistakes.append([reason, frame.function_name, frame.filename, frame.lineno])
            else:
                others.add((frame.filename, frame.function_name))
    # The one frame without a file stands for collections, of which there are many.
    others.discard(("", "<GC>"))
    strangers = [pair for pair in others if not pair[0].endswith(".py") and not pair[0].startswith("<frozen ")]
    json.dump(
        {
            "made": sum(made.values()),
            "generated_frames": generated,
            "mistakes": mistakes,
            "strangers": strangers,
            "torn": profile.counters["torn_stacks"],
            "dropped": profile.dropped_count,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(float(sys.argv[1]))
