"""How threads, interpreters and processes begin and end, with a session running all the while."""

import ctypes
import os
import subprocess
import sys
import sysconfig
import threading

import pytest
import spprof
from support import frames_of, in_thread, process_state, resident_bytes, spin

BUSY = """
import os, sys, threading, time
def busy(cpu_s=0.05):
    end = time.thread_time() + cpu_s
    while time.thread_time() < end:
        pass
"""
START = "import spprof; spprof.start(interval_ms=1, output_path=sys.argv[1])\n"

# Name: program, exit status, what is in standard error (None: what is without the profiler), whether a file is written.
ENDINGS = {
    "daemon threads that compute": (
        """
def forever():
    while True:
        sum(range(100))
for _ in range(4):
    threading.Thread(target=forever, daemon=True).start()
busy()
print("end", flush=True)
""",
        True,
    ),
    "daemon threads inside C": (
        """
for _ in range(4):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
lock = threading.Lock()
lock.acquire()
threading.Thread(target=lock.acquire, daemon=True).start()
busy()
""",
        True,
    ),
    "os._exit": ("busy(); os._exit(9)", False),
    "os._exit in a thread": ("threading.Thread(target=os._exit, args=(9,)).start(); time.sleep(3600)", False),
    "os.abort": ("import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); busy(); os.abort()", False),
    "os.execv": ("busy(); os.execv(sys.executable, [sys.executable, '-c', 'print(7)'])", False),
    "an exception in a thread": (
        """
def fail():
    busy()
    raise ValueError("in a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
""",
        True,
    ),
    "exceptions in main, threads and exit handlers": (
        """
import atexit
@atexit.register
def at_exit():
    raise KeyError("at exit")
class Last:
    def __del__(self):
        raise OSError("in __del__")
last = Last()
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("in main")
""",
        True,
    ),
    "exit handlers in their order": (
        """
import atexit
for number in range(3):
    atexit.register(print, number, flush=True)
atexit.register(busy)
""",
        True,
    ),
    "a thread that outlives main": (
        """
def late():
    threading.main_thread().join()
    busy()
    print("late", flush=True)
threading.Thread(target=late).start()
""",
        True,
    ),
    "sys.exit in a thread": (
        "thread = threading.Thread(target=sys.exit, args=(3,)); thread.start(); thread.join()",
        True,
    ),
    "a recursion without end": (
        """
def down():
    down()
try:
    down()
except RecursionError:
    print("caught", flush=True)
""",
        True,
    ),
}


def outcome(program, argument):
    done = subprocess.run([sys.executable, "-c", program, argument], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_as_without(tmp_path, ending):
    program, is_written = ENDINGS[ending]
    path = tmp_path / "profile.collapsed"
    # As many lines, so that tracebacks are the same.
    expected = outcome(BUSY + "pass\n" + program, "")
    seen = outcome(BUSY + START + program, str(path))

    def without_thread_numbers(result):
        return [part for part in result if not isinstance(part, str)] + [
            "\n".join(line for line in part.splitlines() if "Thread-" not in line and " at 0x" not in line)
            for part in result
            if isinstance(part, str)
        ]

    assert without_thread_numbers(seen) == without_thread_numbers(expected)
    assert os.listdir(tmp_path) == (["profile.collapsed"] if is_written else [])
    if is_written:
        assert spprof.Profile.load(path).interval_ms == 1


STOPPING_LATE = """
import atexit, sys, threading
import spprof
class Last:
    def __del__(self, spprof=spprof):
        for ask in (spprof.stop, spprof.snapshot, spprof.pause, spprof.start, spprof.stop):
            try:
                ask()
            except RuntimeError as error:
                print(error)
        print(spprof.is_active(), spprof.stats(), flush=True)
last = Last()
spprof.start(interval_ms=1)
"""


def test_stop_and_start_while_the_interpreter_ends():
    done = subprocess.run([sys.executable, "-c", STOPPING_LATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        *["Profiler not running"] * 3,
        "The profiler cannot start because the interpreter is shutting down",
        "Profiler not running",
        "False None",
    ]


def test_an_exit_handler_that_stops_the_session():
    for order in ("atexit.register(stop); import spprof", "import spprof; atexit.register(stop)"):
        program = f"""
import atexit
def stop():
    import spprof
    try:
        print(spprof.stop().sample_count > 0)
    except RuntimeError as error:
        print(error)
{order}
spprof.start(interval_ms=1)
sum(range(2_000_000))
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        # Exit handlers run in the reverse order: ours is the one of the import.
        expected = "Profiler not running\n" if order.startswith("atexit") else "True\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def interpreters_module():
    try:
        import _interpreters
    except ImportError:
        import _xxsubinterpreters as _interpreters
    return _interpreters


IN_INTERPRETER = """
import time
def inside_interpreter():
    end = time.thread_time() + 0.03
    while time.thread_time() < end:
        pass
inside_interpreter()
"""


@pytest.mark.filterwarnings("ignore")
def test_interpreters_that_come_and_go():
    # From 3.12 on each has a GIL of its own.
    interpreters = interpreters_module()

    def use_one():
        number = interpreters.create()
        try:
            interpreters.run_string(number, IN_INTERPRETER)
        finally:
            interpreters.destroy(number)

    def use_some():
        for _ in range(4):
            use_one()

    spprof.start(interval_ms=1)
    threads = [threading.Thread(target=use_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    use_some()
    profile = spprof.stop()
    inside = [
        sample for sample in profile.samples if "inside_interpreter" in [name for _, name, _ in frames_of(sample)]
    ]
    # Sixteen times 30 ms of CPU time.
    assert sum(sample.cpu_ns for sample in inside) > 0.2e9
    assert "<unknown>" not in {frame.function_name for sample in inside for frame in sample.frames}


@pytest.mark.filterwarnings("ignore")
def test_a_second_interpreter_cannot_take_the_session():
    interpreters = interpreters_module()
    number = interpreters.create()
    spprof.start(interval_ms=1)
    try:
        interpreters.run_string(
            number,
            "try:\n"
            "    import spprof\n"
            "    assert spprof.is_active()\n"
            "    spprof.stats()\n"
            "except ImportError:\n"
            "    pass\n",
        )
        spin(0.02)
        assert spprof.is_active()
    finally:
        interpreters.destroy(number)
        profile = spprof.stop()
    assert profile.sample_count > 0


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "pthread_create"), reason="pthread_create is in another library here"
)
def test_threads_of_c_that_enter_python_and_leave():
    libc = ctypes.CDLL(None)
    entered = []
    start = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)

    def work(_):
        entered.append(threading.get_native_id())
        spin(0.001)
        return 0

    callback = start(work)
    before = process_state()
    spprof.start(interval_ms=0.5)
    for _ in range(30):
        threads = [ctypes.c_ulong() for _ in range(10)]
        for thread in threads:
            assert libc.pthread_create(ctypes.byref(thread), None, callback, None) == 0
        for thread in threads:
            assert libc.pthread_join(thread, None) == 0
    profile = spprof.stop()
    assert len(entered) == 300
    assert profile.sample_count > 0
    assert process_state() == before


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "pthread_create"), reason="pthread_create is in another library here"
)
def test_threads_that_never_have_a_thread_state():
    libc = ctypes.CDLL(None)
    usleep = ctypes.cast(libc.usleep, ctypes.c_void_p)
    threads = [ctypes.c_ulong() for _ in range(50)]
    spprof.start(interval_ms=0.5)
    for thread in threads:
        assert libc.pthread_create(ctypes.byref(thread), None, usleep, ctypes.c_void_p(100_000)) == 0
    spin(0.05)
    profile = spprof.stop()
    for thread in threads:
        libc.pthread_join(thread, None)
    assert [thread.is_main for thread in profile.threads] == [True]


# Ten thousand on the interpreters of the two kinds; the others show in fewer that they are no different.
CYCLES = 10_000 if sys.version_info[:2] == (3, 12) or sysconfig.get_config_var("Py_GIL_DISABLED") else 2_000


def test_thousands_of_sessions_from_many_threads_leave_memory_as_it_was():
    done = 0
    counted = threading.Lock()

    def cycle(until):
        nonlocal done
        while True:
            with counted:
                if done >= until:
                    return
            try:
                spprof.start(interval_ms=0.5)
            except RuntimeError:
                continue
            try:
                profile = spprof.stop()
            except RuntimeError:
                # Another thread took it for its own.
                continue
            assert profile.interval_ms == 0.5
            with counted:
                done += 1

    def run(until):
        threads = [threading.Thread(target=cycle, args=(until,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run(500)
    before, resident = process_state(), resident_bytes()
    run(500 + CYCLES)
    assert process_state() == before
    assert resident_bytes() - resident <= 2 << 20


def test_a_thread_that_ends_while_it_is_asked_about():
    # Born and gone within a tick, hundreds of times, while snapshots are taken.
    spprof.start(interval_ms=0.2)
    over = threading.Event()

    def look():
        while not over.is_set():
            spprof.snapshot()
            spprof.stats()

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(300):
        in_thread(lambda: None, name=f"short {number}")
    over.set()
    looking.join()
    profile = spprof.stop()
    assert {f"short {number}" for number in range(300)} <= {thread.name for thread in profile.threads}
