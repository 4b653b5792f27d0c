"""What the tests of whole sessions share: stacks as Python tells them, waiting on events, the state of the process."""

import dis
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import traceback
import types

import pytest
import spprof

if sys.platform == "win32":
    import windows_state

#: One sampling interval of the tests, ms, unless a test says otherwise.
INTERVAL_MS = 2

#: Where the package lies: its own frames are never in a profile.
PACKAGE_DIRECTORY = os.path.dirname(os.path.abspath(spprof.__file__)) + os.sep

#: What `spin` does between two looks at its clock. On Windows a look is a system call, and the thread would be in it all the time.
WORK = range(20_000 if sys.platform == "win32" else 1)

#: The exit status of an interpreter that Ctrl-C ended; STATUS_CONTROL_C_EXIT on Windows.
INTERRUPTED = 0xC000013A if sys.platform == "win32" else -signal.SIGINT

#: A thread's CPU clock may be behind by so much: Windows sets it forward in steps of 15.6 ms.
CPU_CLOCK_STEP_NS = 16_000_000 if sys.platform == "win32" else 0

#: Under qemu-user, the machine below: its are the system calls in /proc/self/task/*/syscall (tools/cross.py).
MACHINE_BELOW = os.environ.get("SPPROF_TESTS_SYSTEM_CALLS_OF")

#: The number of read(2), as /proc/self/task/*/syscall shows it.
READ_CALL = {"x86_64": 0, "aarch64": 63}.get(MACHINE_BELOW or platform.machine())

#: Threads that are neither the program's nor ours: qemu-user has one in each process, in the child of a fork too.
EMULATOR_THREADS = 1 if MACHINE_BELOW else 0

#: What may come to the process's memory in many sessions. qemu-user keeps 280 kB of each thread that has ended, whoever's it was.
MOST_GROWTH_BYTES = float("inf") if MACHINE_BELOW else 1 << 20


def waited_for_a_processor_ns():
    """How long the calling thread could have run and did not; 0 where the system does not say."""
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/schedstat") as schedstat:
            return int(schedstat.read().split()[1])
    except OSError:
        return 0


def not_on_windows(reason):
    """Marks a test of something that is not there."""
    return pytest.mark.skipif(sys.platform == "win32", reason=reason)


def function_name(code):
    """What the profiler calls a function: the qualified name, where code objects have one (3.11)."""
    return getattr(code, "co_qualname", code.co_name)


def codes_in(code):
    """A code object and all that are made inside it."""
    pending = [code]
    while pending:
        code = pending.pop()
        yield code
        pending += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def stack_here():
    """The caller's stack as `(file, function, line)`, outermost first, without frames of spprof."""
    frame = sys._getframe(1)
    stack = []
    while frame is not None:
        if not frame.f_code.co_filename.startswith(PACKAGE_DIRECTORY):
            stack.append((frame.f_code.co_filename, function_name(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    return stack[::-1]


def forked(body):
    """Runs `body()` in a child made by fork; returns the child's id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return child


def ends_well(child):
    """Waits for a child; whether it ended with success."""
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


class Parking:
    """A place where a thread waits in a system call, with its stack written down."""

    def __init__(self):
        self._inlet, self._outlet = os.pipe()
        self._arrived = threading.Event()
        self.expected = None
        self.native_id = None
        self._thread = None

    def park(self, *_):
        """Blocks the calling thread until `leave`. All on one line, so that the stack is the same all the while."""
        self.native_id, self._thread = threading.get_native_id(), threading.get_ident()
        self.expected, _, _ = stack_here(), self._arrived.set(), os.read(self._inlet, 1)
        return 0

    def wait_until_parked(self):
        """Returns when the thread is inside the system call, having no more to do with the GIL."""
        self._arrived.wait()
        if sys.platform == "win32":
            _wait_until_let_go(self._thread)
            return
        while True:
            with open(f"/proc/self/task/{self.native_id}/syscall") as call:
                if call.read().split()[0] == str(READ_CALL):
                    return

    def leave(self):
        """Lets the thread go on."""
        os.write(self._outlet, b".")

    def close(self):
        """Gives the descriptors back; the thread has to be gone."""
        os.close(self._inlet)
        os.close(self._outlet)


def wait_until_blocked(thread):
    """Returns when the system knows the thread to be waiting in a call."""
    if sys.platform == "win32":
        _wait_until_let_go(thread.ident)
        return
    while True:
        with open(f"/proc/self/task/{thread.native_id}/syscall") as file:
            if not file.read().startswith("running"):
                return


def _wait_until_let_go(ident):
    """Returns when the thread is in a call of a C function that let go of the GIL; Windows says no more.

    Whoever looks has the GIL, so the thread has not; if it only waited for it, it had its turn between two looks.
    """
    before = None
    while True:
        frame = sys._current_frames().get(ident)
        seen = frame and (frame, frame.f_lasti)
        # 3.11 has PRECALL as well, which does the whole call where it is specialised.
        if seen and seen == before and "CALL" in dis.opname[frame.f_code.co_code[frame.f_lasti]]:
            return
        before = seen
        time.sleep(0.001)


def sample_clock_ns():
    """The clock of `Sample.timestamp_ns`."""
    return windows_state.performance_counter_ns() if sys.platform == "win32" else time.monotonic_ns()


def frames_of(sample):
    """The frames of a sample as `(file, function, line)`, outermost first."""
    return [(frame.filename, frame.function_name, frame.lineno) for frame in sample.frames]


def samples_of(profile, native_id):
    """The samples of one thread, in the order of time."""
    return [sample for sample in profile.samples if sample.thread_id == native_id]


def thread_of(profile, native_id):
    """The one thread of that native id in the profile."""
    (thread,) = [thread for thread in profile.threads if thread.native_id == native_id]
    return thread


def spin(cpu_s):
    """Uses that much CPU time of the calling thread."""
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        sum(WORK)


def in_thread(target, stack_bytes=0, name=None):
    """Runs `target()` in a new thread to its end and returns what it returns or raises what it raises."""
    outcome = []

    def run():
        try:
            outcome.append((target(), None))
        except BaseException as error:
            outcome.append((None, error))

    before = threading.stack_size(stack_bytes)
    try:
        thread = threading.Thread(target=run, name=name)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def process_state():
    """What a session must leave as it was: kernel timers, threads, descriptors, and signals handled, ignored, blocked.

    A thread that was joined is still the kernel's for a moment, so threads that `threading` does not know are waited for;
    one that stays, as one of ours would, is in the result.
    """
    if sys.platform == "win32":
        return _process_state_of_windows()
    known = {str(thread.native_id) for thread in threading.enumerate()}
    for _ in range(2000):
        if len(set(os.listdir("/proc/self/task")) - known) == EMULATOR_THREADS:
            break
        time.sleep(0.001)
    with open("/proc/self/timers") as file:
        timers = file.read()
    with open("/proc/self/status") as status:
        signals = [line.strip() for line in status if line.startswith(("SigCgt", "SigIgn", "SigBlk"))]
    return {
        "timers": timers,
        "threads": sorted(os.listdir("/proc/self/task")),
        "descriptors": descriptors(),
        "signals": signals,
    }


def _process_state_of_windows():
    known = {thread.native_id for thread in threading.enumerate()}
    for _ in range(2000):
        if known.issuperset(windows_state.thread_ids()):
            break
        time.sleep(0.001)
    return {"threads": sorted(windows_state.thread_ids()), "handles": windows_state.handle_count()}


def descriptors():
    """What each open descriptor is, without the one that this takes itself."""
    open_files = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            open_files[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass
    return open_files


def resident_bytes():
    """Memory of the process that is in RAM and its own: without the pages of files, which come and go."""
    if sys.platform == "win32":
        return windows_state.private_bytes()
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("/proc/self/status has no RssAnon line")


def run_python(*arguments, env=None):
    """Runs this interpreter with `arguments` and returns what it printed; its exit status is asserted to be 0."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
