"""Every frame of a stack is the one that `sys._getframe` saw at that place: file, qualified name and line."""

import asyncio
import ctypes
import dis
import functools
import os
import sys
import threading
import time

import pytest
import spprof
from support import (
    INTERVAL_MS,
    Parking,
    codes_in,
    frames_of,
    function_name,
    run_python,
    samples_of,
    spin,
    stack_here,
    thread_of,
)

#: Frames of a stack that are kept, innermost first (spec 4).
MAX_DEPTH = 1024

#: Enough for 5000 calls where each takes some C stack (up to 3.10); only what is used is memory. Windows takes no more.
DEEP_STACK_BYTES = 255 << 20

#: Calls after which the interpreter has specialised a call site; 3.13+ then enters `__init__` by a frame of its own.
WARM_UP_CALLS = 100


def in_plain_calls(park):
    def second():
        return park()

    def first():
        return second()

    return first()


class Thing:
    def __init__(self, action):
        action()

    def method(self, action):
        return action()

    @classmethod
    def of_class(cls, action):
        return action()

    @staticmethod
    def of_nobody(action):
        return action()

    @property
    def as_property(self):
        return self.action()

    def __getattr__(self, name):
        return {"looked_up": self.__dict__["action"]}[name]()

    def __call__(self, action):
        return action()


def in_methods(park):
    thing = Thing(int)
    return thing.method(lambda: Thing.of_class(lambda: Thing.of_nobody(lambda: thing(park))))


def in_a_property(park):
    thing = Thing(int)
    thing.action = park
    return thing.as_property


def in_getattr(park):
    thing = Thing(int)
    thing.__dict__["action"] = park
    return thing.looked_up


def in_an_initialiser(park):
    for action in [int] * WARM_UP_CALLS + [park]:
        Thing(action)


class Derived(Thing):
    def __init__(self, action):
        super().__init__(action)


def in_a_derived_initialiser(park):
    for action in [int] * WARM_UP_CALLS + [park]:
        Derived(action)


def in_a_list_comprehension(park):
    return [
        action()
        for action in [park]
    ]  # fmt: skip


def in_a_dict_comprehension(park):
    return {name: action() for name, action in {"a": park}.items()}


def in_a_set_comprehension(park):
    return {
        action()
        for action in (park,)
    }  # fmt: skip


def in_a_generator_expression(park):
    return sum(
        action()
        for action in (park,)
    )  # fmt: skip


def numbers(park):
    yield 1
    yield park()


def in_a_generator(park):
    return [number for number in numbers(park)]  # noqa: C416 - a comprehension is what is tested


def delegating(park):
    yield from numbers(park)


def in_yield_from(park):
    for _ in delegating(park):
        pass


def in_a_generator_being_closed(park):
    def closed():
        try:
            yield 1
        finally:
            park()

    generator = closed()
    next(generator)
    generator.close()


async def leaf(park):
    return park()


async def awaiting(park):
    return await leaf(park)


def in_a_coroutine_that_is_sent_to(park):
    try:
        awaiting(park).send(None)
    except StopIteration as done:
        return done.value


def in_asyncio(park):
    async def gathered():
        await asyncio.sleep(0)
        await asyncio.gather(awaiting(park))

    asyncio.run(gathered())


def in_an_async_generator(park):
    async def ticks():
        yield park()

    async def consume():
        async for tick in ticks():
            return tick

    asyncio.run(consume())


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


@decorated
@decorated
def in_decorators(park):
    return park()


def in_a_key_of_sorted(park):
    return sorted(
        [1],
        key=lambda _: park(),
    )


def in_map(park):
    return list(map(park, [1]))


def in_reduce_and_partial(park):
    return functools.reduce(functools.partial(park), [1, 2])


def in_a_c_callback(park):
    callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: park())
    return callback()


def in_qsort(park):
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    parked = []

    def compare(_left, _right):
        if not parked:
            parked.append(park())
        return 0

    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    library.qsort((ctypes.c_int * 2)(2, 1), 2, ctypes.sizeof(ctypes.c_int), compare_type(compare))


def in_exec(park):
    exec(compile("\n\ndef made():\n    return park()\n\nmade()\n", "<made of text>", "exec"), {"park": park})


def in_eval(park):
    return eval("[0, park()][1]", {"park": park})


def in_a_lambda(park):
    return (lambda: park())()


def in_a_class_body(park):
    class Body:
        class Inner:
            value = park()

    return Body


def in_a_context_manager(park):
    class Context:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            park()

    with Context():
        pass


def in_an_except_block(park):
    try:
        raise KeyError(1)
    except KeyError:
        return park()
    finally:
        del park


def in_a_destructor(park):
    class Last:
        def __del__(self):
            park()

    last = Last()
    del last


def in_names_of_every_kind(park):
    source = "def größe():\n    return 测试()\ndef 测试():\n    return 𝒳()\ndef 𝒳():\n    return park()\ngröße()\n"
    exec(compile(source, "<größe 测试 😀>", "exec"), {"park": park})


def in_a_line_far_from_the_definition(park):
    exec(compile("def far():\n" + "\n" * 70_000 + "    return park()\nfar()\n", "<far>", "exec"), {"park": park})


def in_a_call_over_many_lines(park):
    return max(
        1,
        2,
        park(
            3,
            4,
        ),
    )


PLACES = [value for name, value in list(globals().items()) if name.startswith("in_")]


def recurse(depth, park):
    if depth == 1:
        return park()
    return recurse(depth - 1, park)


def profile_parked(place, stack_bytes=0):
    """Parks a thread at `place` before a session and lets the session see it for a while.

    Returns the profile, the parking, and the least and most time that the session can have seen, ns.
    """
    parking = Parking()
    before = threading.stack_size(stack_bytes)
    try:
        thread = threading.Thread(target=place, args=(parking.park,))
        thread.start()
    finally:
        threading.stack_size(before)
    parking.wait_until_parked()
    asked_ns = time.perf_counter_ns()
    spprof.start(interval_ms=INTERVAL_MS)
    try:
        started_ns = time.perf_counter_ns()
        spin(0.05)
        stopping_ns = time.perf_counter_ns()
    finally:
        profile = spprof.stop()
        ended_ns = time.perf_counter_ns()
        parking.leave()
        thread.join()
        parking.close()
    return profile, parking, stopping_ns - started_ns, ended_ns - asked_ns


def assert_parked_at(expected, profile, parking, least_ns, most_ns):
    samples = samples_of(profile, parking.native_id)
    assert samples
    for sample in samples:
        assert frames_of(sample) == expected
        assert not any(frame.is_native for frame in sample.frames)
        assert sample.state.startswith("blocked")
    two_intervals_ns = 2 * INTERVAL_MS * 1_000_000
    assert least_ns - two_intervals_ns <= sum(sample.wall_ns for sample in samples) <= most_ns
    assert sum(sample.cpu_ns for sample in samples) == 0
    assert thread_of(profile, parking.native_id).wall_ns == sum(sample.wall_ns for sample in samples)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_parked_thread_is_where_python_says(place):
    profile, parking, least_ns, most_ns = profile_parked(place)

    assert parking.expected[-1][1].endswith("park")
    assert_parked_at(parking.expected, profile, parking, least_ns, most_ns)


@pytest.fixture
def high_recursion_limit():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("high_recursion_limit")
def test_a_thousand_calls_are_all_there():
    profile, parking, least_ns, most_ns = profile_parked(lambda park: recurse(1000, park), DEEP_STACK_BYTES)

    assert 1000 < len(parking.expected) <= MAX_DEPTH
    assert_parked_at(parking.expected, profile, parking, least_ns, most_ns)
    assert profile.counters["truncated_stacks"] == 0


@pytest.mark.usefixtures("high_recursion_limit")
def test_of_five_thousand_calls_the_innermost_are_kept():
    profile, parking, least_ns, most_ns = profile_parked(lambda park: recurse(5000, park), DEEP_STACK_BYTES)

    assert len(parking.expected) > 5000
    expected = [("", "<truncated>", 0), *parking.expected[-MAX_DEPTH:]]
    assert_parked_at(expected, profile, parking, least_ns, most_ns)
    assert profile.counters["truncated_stacks"] >= 1


@pytest.mark.usefixtures("high_recursion_limit")
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_depth_limit_to_the_frame(over):
    def base(park):
        # This frame and those of threading below it are not part of the recursion.
        recurse(MAX_DEPTH + over - len(stack_here()) - 1, park)

    profile, parking, least_ns, most_ns = profile_parked(base, DEEP_STACK_BYTES)

    assert len(parking.expected) == MAX_DEPTH + over
    truncated = [("", "<truncated>", 0)] if over > 0 else []
    assert_parked_at(truncated + parking.expected[-MAX_DEPTH:], profile, parking, least_ns, most_ns)


def test_the_thread_that_stops_is_seen_outside_of_the_package():
    spprof.start(interval_ms=1)
    spin(0.05)
    profile = spprof.stop()

    samples = samples_of(profile, threading.get_native_id())
    assert samples
    here = stack_here()
    for sample in samples:
        frames = frames_of(sample)
        assert frames[: len(here) - 1] == here[:-1]
        if len(frames) >= len(here):
            assert frames[len(here) - 1][:2] == here[-1][:2]
        assert not any(file.startswith(os.path.dirname(spprof.__file__) + os.sep) for file, _, _ in frames)


# Loops whose thread never leaves Python code of known lines.


def loop_of_statements(running):
    total = 0
    while running:
        total += 1
        if total % 2:
            total += 2
        for _ in range(3):
            total -= 1


def loop_of_comprehensions(running):
    while running:
        _ = [
            number * number
            for number in range(50)
        ]  # fmt: skip


def loop_of_generators(running):
    def squares():
        for number in range(20):
            yield number * number

    while running:
        sum(squares())


def loop_of_initialisers(running):
    class Point:
        def __init__(self, x):
            self.x = x

    while running:
        Point(1)


def loop_of_callbacks(running):
    def key(number):
        return -number

    while running:
        sorted(range(20), key=key)


def loop_of_coroutines(running):
    async def inner(number):
        return number

    async def outer():
        return await inner(1)

    while running:
        try:
            outer().send(None)
        except StopIteration:
            pass


LOOPS = [value for name, value in list(globals().items()) if name.startswith("loop_of_")]


def lines_of(code):
    """Every line that a frame of this code can be on: of an instruction (0 if it has none), or of one not begun yet."""
    if hasattr(code, "co_lines"):
        return {line or 0 for _, _, line in code.co_lines()} | {code.co_firstlineno}
    return {line for _, line in dis.findlinestarts(code)} | {code.co_firstlineno}


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_busy_thread_is_only_on_lines_of_its_own(loop):
    begun = threading.Event()
    running = [True]
    seen = {}

    def run():
        seen["base"] = stack_here()
        seen["id"] = threading.get_native_id()
        begun.set()
        loop(running)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    spprof.start(interval_ms=1)
    time.sleep(0.3)
    # On a machine that others use as well that may be few samples.
    while len(samples_of(spprof.snapshot(), seen["id"])) < 50:
        time.sleep(0.05)
    profile = spprof.stop()
    running.clear()
    thread.join()

    codes = list(codes_in(loop.__code__))
    possible = {(code.co_filename, function_name(code), line) for code in codes for line in lines_of(code)}
    outer = seen["base"][:-1]
    file, name, _ = seen["base"][-1]
    samples = samples_of(profile, seen["id"])
    assert len(samples) > 10
    inside = 0
    for sample in samples:
        frames = frames_of(sample)
        assert frames[: len(outer)] == outer
        assert frames[len(outer)][:2] == (file, name)
        rest = frames[len(outer) + 1 :]
        if not rest:
            # The thread was still between `begun.set()` and the loop.
            continue
        if rest[0][1] not in {"Event.set", "set"}:
            inside += 1
            assert rest[0][:2] == (loop.__code__.co_filename, loop.__name__)
            assert set(rest) <= possible
            assert len(rest) <= len(codes)
    assert inside > 10


def test_every_frame_was_called_by_the_one_outside_of_it():
    # Calls of every kind, at the same depths of the data stack with other callers: a link that was not made yet shows the
    # caller of the call before. Each function has one caller, so such a pair is seen to be wrong.
    callers = {}

    def callee(name, caller, source):
        callers[name] = caller
        return source.format(name=name)

    # Bodies of different sizes, so that frames begin and end at other places for each way down.
    leaf = "def {name}(a, b=0, *rest):\n    c = a + b\n    return c\n"
    generator = "def {name}(a):\n    yield a\n    yield a + 1\n"
    source = "\n".join(
        [
            callee("leaf_1", "plain", leaf),
            callee("leaf_2", "wide", leaf),
            callee("leaf_3", "by_c", leaf),
            callee("leaf_4", "deeper", leaf),
            callee("generator_1", "plain", generator),
            callee("generator_2", "deeper", generator),
            callee(
                "plain",
                "loop",
                "def {name}(a):\n    leaf_1(a)\n    for _ in generator_1(a): pass\n    return leaf_1(a)",
            ),
            callee(
                "wide",
                "loop",
                "def {name}(a, b=1, c=2, d=3, e=4):\n    f = g = h = i = a\n    return leaf_2(leaf_2(a, b), c) + d + e",
            ),
            callee("by_c", "loop", "def {name}(a):\n    return sorted([a, a], key=leaf_3)"),
            callee("middle", "loop", "def {name}(a):\n    b = a\n    return deeper(b)"),
            callee("deeper", "middle", "def {name}(a):\n    return leaf_4(a, 1) + sum(generator_2(a))"),
            "def loop(running):\n    while running:\n        plain(1); wide(1); by_c(1); middle(1)",
        ]
    )
    namespace = {}
    exec(compile(source, "<calls>", "exec"), namespace)
    running = [True]
    thread = threading.Thread(target=namespace["loop"], args=(running,))
    thread.start()
    spprof.start(interval_ms=0.2)
    until = time.monotonic() + 1
    # Where looks are slow, a second is not enough.
    while time.monotonic() < until or spprof.stats().collected_samples < 1000:
        time.sleep(0.05)
    profile = spprof.stop()
    running.clear()
    thread.join()

    inside = 0
    for sample in samples_of(profile, thread.native_id):
        names = [frame.function_name for frame in sample.frames]
        if "loop" not in names:
            # The thread was not there yet.
            assert set(names).isdisjoint(callers)
            continue
        below = names[names.index("loop") :]
        assert below[0] == "loop"
        for caller, name in zip(below, below[1:]):
            assert callers[name] == caller, below
        inside += len(below) > 1
    assert inside > 100


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the JIT compiler is in builds of 3.14 and later")
@pytest.mark.skipif("PYTHON_JIT" in os.environ, reason="this is the run with the JIT compiler")
def test_all_of_this_with_the_jit_compiler():
    if not sys._jit.is_available():
        pytest.skip("this interpreter was built without the JIT compiler")
    run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, env={"PYTHON_JIT": "1"})
