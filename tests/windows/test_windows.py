"""What is different where threads are suspended instead of signalled. `tools/wine.py` runs it under Wine."""

import os
import subprocess
import sys
import threading
import time

import pytest

if sys.platform != "win32":
    pytest.skip("the other systems have tests/integration", allow_module_level=True)

import spprof
from spprof import _native

PACKAGE = os.path.dirname(spprof.__file__)


def leaf(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(200))


def middle(seconds):
    leaf(seconds)


def stacks_of(profile, name):
    """The distinct stacks of a thread, as function names from the outermost."""
    return {
        tuple(frame.function_name.split(".")[-1] for frame in sample.frames)
        for sample in profile.samples
        if sample.thread_name == name
    }


class Worker(threading.Thread):
    """Works until it is told to stop."""

    def __init__(self, work, name):
        super().__init__(name=name)
        self.work = work
        self.has_begun = threading.Event()
        self.stops = threading.Event()

    def run(self):
        self.has_begun.set()
        while not self.stops.is_set():
            self.work()

    def __enter__(self):
        self.start()
        self.has_begun.wait()
        return self

    def __exit__(self, *_):
        self.stops.set()
        self.join()


def profiled(enough, *, interval_ms=5):
    """A session that goes on until `enough(snapshot)` is true."""
    spprof.start(interval_ms=interval_ms)
    try:
        while not enough(spprof.snapshot()):
            time.sleep(0.05)
    finally:
        profile = spprof.stop()
    return profile


def test_stacks_are_whole_and_in_order():
    with Worker(lambda: middle(0.01), "worker"):
        profile = profiled(lambda so_far: sum(s.thread_name == "worker" for s in so_far.samples) > 30)
    below_leaf = [stack for stack in stacks_of(profile, "worker") if "leaf" in stack]
    assert below_leaf
    for stack in below_leaf:
        at = stack.index("leaf")
        assert stack[at - 3 : at] == ("run", "<lambda>", "middle")
    assert profile.dropped_count == 0


def test_the_caller_of_start_is_sampled_too():
    spprof.start(interval_ms=5)
    while spprof.stats().collected_samples < 20:
        middle(0.02)
    profile = spprof.stop()
    main = next(thread for thread in profile.threads if thread.is_main)
    assert main.native_id == threading.main_thread().native_id
    assert any("leaf" in stack for stack in stacks_of(profile, "MainThread"))


def test_frames_of_the_package_are_not_shown():
    profile = profiled(lambda so_far: so_far.sample_count > 10)
    assert not [f for s in profile.samples for f in s.frames if f.filename.startswith(PACKAGE + os.sep)]


def test_a_thread_that_sleeps_is_blocked_and_does_not_hold_the_gil():
    arrived = threading.Event()
    leaves = threading.Lock()
    leaves.acquire()

    def wait():
        arrived.set()
        leaves.acquire()

    waiter = threading.Thread(target=wait, name="waiter")
    waiter.start()
    arrived.wait()
    profile = profiled(lambda so_far: sum(s.thread_name == "waiter" for s in so_far.samples) > 20)
    leaves.release()
    waiter.join()
    states = {sample.state for sample in profile.samples if sample.thread_name == "waiter"}
    # Whether it waits for the GIL is known only if nobody does: never that it holds it.
    assert states <= {"blocked,no-gil", "blocked"}
    waiting = next(thread for thread in profile.threads if thread.name == "waiter")
    assert waiting.gil_ns == 0


def test_a_thread_that_works_in_python_holds_the_gil():
    with Worker(lambda: sum(range(20_000)), "worker"):
        profile = profiled(lambda so_far: sum(s.thread_name == "worker" for s in so_far.samples) > 30)
    worker = next(thread for thread in profile.threads if thread.name == "worker")
    assert worker.gil_ns > worker.wall_ns / 2


def test_wall_time_adds_up():
    began_ns = time.perf_counter_ns()
    spprof.start(interval_ms=5)
    inner_began_ns = time.perf_counter_ns()
    middle(0.2)
    inner_ended_ns = time.perf_counter_ns()
    profile = spprof.stop()
    ended_ns = time.perf_counter_ns()
    main = next(thread for thread in profile.threads if thread.is_main)
    assert inner_ended_ns - inner_began_ns <= main.wall_ns <= ended_ns - began_ns


def test_code_that_dies_is_named_for_ever():
    def churn():
        for number in range(20):
            code = compile(f"def dies_{number}():\n    for _ in range(2000):\n        pass\n", "<churn>", "exec")
            space = {}
            exec(code, space)
            space[f"dies_{number}"]()

    with Worker(churn, "churn"):
        profile = profiled(lambda so_far: sum(s.thread_name == "churn" for s in so_far.samples) > 60)
    names = {frame.function_name for s in profile.samples if s.thread_name == "churn" for frame in s.frames}
    assert any(name.startswith("dies_") for name in names)
    assert not any("unknown" in name for name in names)


def test_a_name_stays_with_a_thread_that_has_ended():
    spprof.start(interval_ms=5)
    ended = threading.Thread(target=lambda: middle(0.05), name="short")
    ended.start()
    ended.join()
    profile = spprof.stop()
    assert "short" in {thread.name for thread in profile.threads}


def test_sessions_follow_each_other_and_leave_no_handle():
    import ctypes

    def handles():
        kernel32 = ctypes.WinDLL("kernel32")
        count = ctypes.c_ulong()
        kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        assert kernel32.GetProcessHandleCount(ctypes.c_void_p(kernel32.GetCurrentProcess()), ctypes.byref(count))
        return count.value

    for _ in range(3):
        spprof.start(interval_ms=5)
        spprof.stop()
    before = handles()
    for _ in range(20):
        spprof.start(interval_ms=5)
        middle(0.005)
        assert spprof.stop().threads
    assert handles() <= before + 2


def test_pause_stops_the_looks():
    spprof.start(interval_ms=5)
    spprof.pause()
    paused = spprof.stats().collected_samples
    middle(0.1)
    assert spprof.stats().collected_samples == paused
    spprof.resume()
    while spprof.stats().collected_samples == paused:
        middle(0.01)
    spprof.stop()


def test_nobody_is_suspended_while_the_process_ends(monkeypatch):
    looks = []

    def end(status):
        before = spprof.stats().collected_samples
        middle(0.1)
        looks.append((status, spprof.stats().collected_samples - before))

    monkeypatch.setattr(os, "_exit", end)
    spprof.start(interval_ms=1)
    os._exit(7)
    spprof.stop()
    assert looks == [(7, 0)]
    assert os._exit is end


def test_a_process_that_ends_at_once_has_its_status():
    program = "import os, time, spprof; spprof.start(interval_ms=1); time.sleep(0.1); os._exit(7)"
    assert subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, check=False).returncode == 7


def test_start_twice_and_stop_without_start():
    spprof.start()
    with pytest.raises(RuntimeError, match="already running"):
        spprof.start()
    spprof.stop()
    with pytest.raises(RuntimeError, match="not running"):
        spprof.stop()


def test_a_file_is_written_and_read_again(tmp_path):
    path = tmp_path / "profile.json"
    with spprof.Profiler(interval_ms=5, output_path=path):
        middle(0.1)
    assert spprof.Profile.load(path).sample_count > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["profile.json"]


def test_the_doctor_has_no_complaint():
    report = _native.doctor()
    assert report["GIL"] == "that a thread waits for it is told"
    assert report["problems"] == []
    assert "suspended" in report["sampling"]


def command(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "spprof", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_run_passes_the_status_on_and_writes_the_profile(tmp_path):
    output = tmp_path / "run.json"
    code = "import sys, time\nuntil = time.time() + 0.3\nwhile time.time() < until: pass\nprint(sys.argv); sys.exit(7)"
    ended = command("run", "-q", "-o", str(output), "-c", code, "one", "two")
    assert (ended.returncode, ended.stdout.strip()) == (7, "['-c', 'one', 'two']"), ended.stderr
    assert spprof.Profile.load(output).sample_count > 0


def test_run_says_what_is_wrong_with_its_output(tmp_path):
    ended = command("run", "-o", str(tmp_path / "no" / "such.json"), "-c", "pass")
    assert ended.returncode == 2
    assert ended.stderr.startswith("spprof run: ")


def test_doctor_on_the_command_line():
    ended = command("doctor")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "This process can be profiled." in ended.stdout
