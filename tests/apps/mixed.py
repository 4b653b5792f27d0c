"""Everything at once for some time, sampled at 1 ms, with sessions that come and go; each profile is checked.

    python mixed.py SECONDS SEED

Threads are born and die, code is made and thrown away, processes are forked, garbage is collected, calls recurse, raise,
await and go into C. The exit status is 0 if every profile was right, and a line says what was done.
"""

import asyncio
import collections
import ctypes
import faulthandler
import gc
import hashlib
import json
import os
import random
import re
import sys
import threading
import time
import warnings
import zlib

import spprof

if sys.platform == "win32":
    sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
    import windows_state

INTERVAL_MS = 1
SESSION_S = 3


def births(rng):
    threads = [threading.Thread(target=zlib.compress, args=(bytes(50_000),), name=f"short {n}") for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def churn(rng):
    name = f"made_{rng.randrange(10**9)}"
    scope = {}
    exec(compile(f"def {name}(n):\n    return sum(i * i for i in range(n))\n", f"<{name}>", "exec"), scope)
    assert scope[name](300) == sum(i * i for i in range(300))


def fork(rng):
    child = os.fork()
    if child == 0:
        try:
            if rng.random() < 0.3:
                spprof.start(interval_ms=INTERVAL_MS)
                churn(rng)
                spprof.stop()
            os._exit(0 if not spprof.is_active() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


class Node:
    def __init__(self, other):
        self.other = other
        self.more = [other] * 10

    def __del__(self):
        COUNTS["deleted"] += 1


def garbage(rng):
    for _ in range(200):
        one = Node(None)
        one.other = Node(one)
    gc.collect()


def recurse(rng, depth=None):
    depth = rng.randrange(50, 400) if depth is None else depth
    return recurse(rng, depth - 1) if depth else 0


def raising(rng):
    def fail(levels):
        if levels:
            try:
                fail(levels - 1)
            except ValueError as error:
                raise KeyError(levels) from error
            finally:
                COUNTS["finally"] += 1
        raise ValueError(rng.random())

    for _ in range(20):
        try:
            fail(10)
        except (KeyError, ValueError):
            pass


async def awaiting(rng):
    async def sleeper(number):
        await asyncio.sleep(0.001 * (number % 3))
        return number

    async def counting(until):
        for number in range(until):
            yield number
            await asyncio.sleep(0)

    assert await asyncio.gather(*(sleeper(n) for n in range(20))) == list(range(20))
    assert [n async for n in counting(20)] == list(range(20))


def asynchronous(rng):
    asyncio.run(awaiting(rng))


def extension(rng):
    data = rng.getrandbits(80_000).to_bytes(10_000, "little")
    hashlib.sha256(data * 50).hexdigest()
    assert zlib.decompress(zlib.compress(data)) == data
    assert json.loads(json.dumps({"a": list(range(500))}))["a"][-1] == 499
    re.sub(r"(\d+)", lambda match: match[1] * 2, "1 a 22 b 333 " * 50)
    sorted(range(300), key=lambda number: -number)
    collections.Counter("mississippi" * 50)


C_LIBRARY = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def callback(rng):
    numbers = (ctypes.c_int * 100)(*(rng.randrange(1000) for _ in range(100)))
    C_LIBRARY.qsort(numbers, 100, ctypes.sizeof(ctypes.c_int), COMPARE(lambda a, b: a[0] - b[0]))
    assert list(numbers) == sorted(numbers)


def generators(rng):
    def inner(n):
        yield from range(n)

    def outer(n):
        for part in range(n):
            yield from inner(part)

    assert sum(outer(40)) == sum(sum(range(n)) for n in range(40))


def names(rng):
    threading.current_thread().name = threading.current_thread().name


KINDS = (births, churn, garbage, recurse, raising, extension, callback, generators, names)
COUNTS = collections.Counter()


def mix(rng, over):
    while not over.is_set():
        kind = rng.choice(KINDS)
        kind(rng)
        COUNTS[kind.__name__] += 1
        if rng.random() < 0.1:
            time.sleep(0.002)


def clocks():
    return time.monotonic_ns(), time.thread_time_ns()


def check(profile, native_id, began, ended):
    """Asserts what is true of every profile: totals are the clocks', weights add up to them, every function has a name.

    `began` and `ended` are the clocks read on either side of `start` and of `stop`.
    """
    by_thread = collections.defaultdict(lambda: [0, 0])
    for sample in profile.samples:
        of_thread = by_thread[sample.thread_id]
        of_thread[0] += sample.cpu_ns
        of_thread[1] += sample.wall_ns
        for frame in sample.frames:
            assert frame.function_name not in ("", "<unknown>"), frame
    totals = collections.defaultdict(lambda: [0, 0])
    for thread in profile.threads:
        # An id may be another thread's later.
        totals[thread.native_id][0] += thread.cpu_ns
        totals[thread.native_id][1] += thread.wall_ns
    for native, (cpu, wall) in by_thread.items():
        assert (cpu, wall) == tuple(totals[native]), (native, cpu, wall, totals[native])
    (main,) = [thread for thread in profile.threads if thread.native_id == native_id]
    # A session counts from a moment within `start` to one within `stop`, however long either takes on a busy machine.
    for clock, measured_ns in enumerate((main.wall_ns, main.cpu_ns)):
        (earliest, start_done), (stop_begun, latest) = [(one[clock], other[clock]) for one, other in (began, ended)]
        assert stop_begun - start_done <= measured_ns <= latest - earliest, (clock, measured_ns, began, ended)


def resident_kib():
    if sys.platform == "win32":
        return windows_state.private_bytes() // 1024
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


def main():
    over = threading.Event()
    try:
        run(over)
    finally:
        # A check that fails ends the program too.
        over.set()


def run(over):
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    faulthandler.enable()
    warnings.simplefilter("ignore", DeprecationWarning)
    rng = random.Random(seed)
    workers = [threading.Thread(target=mix, args=(random.Random(seed + n), over), name=f"mix {n}") for n in range(3)]
    for worker in workers:
        worker.start()
    end = time.monotonic() + seconds
    sessions = samples = dropped = 0
    resident = []
    while time.monotonic() < end:
        before_start = clocks()
        spprof.start(interval_ms=INTERVAL_MS, memory_limit_mb=rng.choice((8, 50)))
        after_start = clocks()
        until = min(time.monotonic() + SESSION_S, end)
        while time.monotonic() < until:
            if hasattr(os, "fork") and rng.random() < 0.05:
                fork(rng)
                COUNTS["fork"] += 1
            elif rng.random() < 0.05:
                asynchronous(rng)
                COUNTS["asynchronous"] += 1
            else:
                rng.choice(KINDS)(rng)
        if rng.random() < 0.3:
            spprof.snapshot()
        before_stop = clocks()
        profile = spprof.stop()
        check(profile, threading.get_native_id(), (before_start, after_start), (before_stop, clocks()))
        sessions += 1
        samples += profile.sample_count
        dropped += profile.dropped_count
        del profile
        resident.append(resident_kib())
    over.set()
    for worker in workers:
        worker.join()
    done = ", ".join(f"{name} {count}" for name, count in sorted(COUNTS.items()))
    print(
        f"{sessions} sessions, {samples} samples, {dropped} dropped; resident KiB {resident[0]} to {resident[-1]}; {done}"
    )


main()
