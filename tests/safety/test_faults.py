"""Faults: those of the program are reported exactly as without us, and ours never are.

Programs that crash run twice, with a session and without. Whatever can be seen of their end must be the same: the signal,
whether a core was written, what a handler printed (with the address of the fault), the trace of faulthandler.
"""

import ctypes
import functools
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import c_library
import pytest
import spprof

#: What every program begins with. `waits_for_retake` returns when ours is on top of whoever is now.
PRELUDE = """
import ctypes, faulthandler, functools, os, resource, signal, sys, time
import spprof
if sys.version_info >= (3, 14):
    # The stack of C functions, which 3.14 prints too, has the frames of our handler in it, through which theirs was called.
    faulthandler.enable = functools.partial(faulthandler.enable, c_stack=False)
library = ctypes.CDLL(sys.argv[1])
library.handler_of.restype = ctypes.c_size_t
with_session = sys.argv[2] == "with"
_, most = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (most if sys.argv[3] == "core" else 0, most))

def start():
    if with_session:
        spprof.start(interval_ms=1)

def stop():
    if with_session:
        spprof.stop()

def waits_for_retake():
    theirs = library.handler_of(signal.SIGSEGV), library.handler_of(signal.SIGBUS)
    while with_session and (
        library.handler_of(signal.SIGSEGV) == theirs[0] or library.handler_of(signal.SIGBUS) == theirs[1]
    ):
        time.sleep(0.001)

def spin():
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
"""

CRASHES = {
    "null read": "ctypes.string_at(0)",
    "wild read": "library.read_address(ctypes.c_size_t(0x7fff_dead_b000 & 0x7000_0000_0fff | 0x1230))",
    "not canonical": "library.read_address(ctypes.c_size_t(0xdead_beef_dead_beef))",
    "jump to 0": "library.jump_to_zero()",
    "past the end of a file": "library.read_past_end_of_file()",
    "stack overflow": "library.overflow_stack()",
    "sent": "os.kill(os.getpid(), signal.SIGSEGV); time.sleep(60)",
    "sent SIGBUS": "os.kill(os.getpid(), signal.SIGBUS); time.sleep(60)",
}

#: What happens before the crash: who comes and goes, in which order.
ORDERS = {
    "in a session": "start(); spin()",
    "after a session": "start(); spin(); stop()",
    "faulthandler before": "faulthandler.enable(); start(); spin()",
    "faulthandler before, session over": "faulthandler.enable(); start(); spin(); stop()",
    "faulthandler disabled during": "faulthandler.enable(); start(); faulthandler.disable(); spin()",
    "faulthandler during, at once": "start(); spin(); faulthandler.enable()",
    "faulthandler during": "start(); faulthandler.enable(); waits_for_retake(); spin()",
    "faulthandler during, session over": "start(); faulthandler.enable(); waits_for_retake(); stop()",
    "faulthandler during, session over at once": "start(); faulthandler.enable(); stop()",
    "faulthandler during and disabled": (
        "start(); faulthandler.enable(); waits_for_retake(); faulthandler.disable(); spin()"
    ),
    "faulthandler during and disabled, session over": (
        "start(); faulthandler.enable(); waits_for_retake(); faulthandler.disable(); stop()"
    ),
    "faulthandler after": "start(); spin(); stop(); faulthandler.enable()",
    "faulthandler between two sessions": "start(); stop(); faulthandler.enable(); start(); spin()",
    "faulthandler over two sessions": (
        "start(); faulthandler.enable(); waits_for_retake(); stop(); start(); spin(); faulthandler.disable(); stop()"
    ),
    "their handler before": "library.handle(b'report', 0); start(); spin()",
    "their handler before, on its own stack": "library.handle(b'report', 1); start(); spin()",
    "their handler before, session over": "library.handle(b'report', 0); start(); stop()",
    "their handler during": "start(); library.handle(b'report', 1); waits_for_retake(); spin()",
    "their handler during, session over": "start(); library.handle(b'report', 1); waits_for_retake(); stop()",
    "their handler during, gone": (
        "start(); library.handle(b'report', 1); waits_for_retake(); library.unhandle(); spin()"
    ),
    "their chain before": "library.handle(b'chain', 1); start(); spin()",
    "their chain during": "start(); library.handle(b'chain', 1); waits_for_retake(); spin()",
    "their chain over faulthandler": (
        "faulthandler.enable(); start(); library.handle(b'chain', 1); waits_for_retake(); spin()"
    ),
    "faulthandler over their chain": (
        "library.handle(b'chain', 1); start(); faulthandler.enable(); waits_for_retake(); spin()"
    ),
    "their handler for one signal": "library.handle(b'once', 0); start(); spin()",
    "their handler that faults": "library.handle(b'fault_again', 1); start(); spin()",
    "ignored": "signal.signal(signal.SIGSEGV, signal.SIG_IGN); start(); spin()",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Path of the built `faults.c`."""
    return c_library.build("faults.c", tmp_path_factory.mktemp("faults"), "-fno-optimize-sibling-calls")


@pytest.fixture(scope="module")
def end_of(library, tmp_path_factory):
    """Runs a program to its end: `(signal or status, whether a core was written, stderr)`."""
    folder = tmp_path_factory.mktemp("cores")

    @functools.cache
    def run(program, session, core="none"):
        with open(folder / "stderr", "w+") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", PRELUDE + program, library, session, core],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
            _, status = os.waitpid(process.pid, 0)
            # subprocess need not wait for what has been waited for.
            process.returncode = status
            stderr.seek(0)
            text = stderr.read()
        for core in folder.glob("*core*"):
            core.unlink()
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
        return ended_by, os.WIFSIGNALED(status) and os.WCOREDUMP(status), re.sub(r"0x[0-9a-f]{9,}", "0x...", text)

    return run


def assert_same_end(end_of, program, core="none"):
    without = end_of(program, "without", core)
    assert end_of(program, "with", core) == without
    return without


@pytest.mark.parametrize("crash", CRASHES)
@pytest.mark.parametrize("order", ["in a session", "faulthandler before"])
def test_every_crash(end_of, order, crash):
    # To write cores takes most of the time: half of them will do.
    core = "core" if order == "in a session" else "none"
    signal_number, _, stderr = assert_same_end(end_of, f"{ORDERS[order]}\n{CRASHES[crash]}", core)
    assert signal_number in (7, 11)
    assert ("Fatal Python error: " in stderr) == ("faulthandler" in order)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order(end_of, order):
    signal_number, _, stderr = assert_same_end(end_of, f"{ORDERS[order]}\nlibrary.read_address(ctypes.c_size_t(0x128))")
    assert signal_number == 11
    # Whoever is asked is asked once.
    handlers = [] if "unhandle" in ORDERS[order] else re.findall(r"handle\(b'(\w+)'", ORDERS[order])
    assert [stderr.count(handler) for handler in handlers] == [1] * len(handlers)


def test_a_signal_that_was_sent(end_of):
    assert assert_same_end(end_of, f"{ORDERS['faulthandler during']}\n{CRASHES['sent']}")[0] == 11


def test_a_crash_in_another_thread(end_of):
    program = (
        "import threading\n"
        "faulthandler.enable(all_threads=False); start()\n"
        "thread = threading.Thread(target=lambda: (spin(), library.read_address(ctypes.c_size_t(0x128))))\n"
        "thread.start(); thread.join()"
    )
    assert assert_same_end(end_of, program)[0] == 11


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("alternate_stack", [0, 1])
@pytest.mark.parametrize("how", ["repair", "go_back"])
def test_faults_that_the_program_lives_on(end_of, how, alternate_stack, when):
    # As under a garbage collector that protects pages, and in libraries that jump out of their handler.
    handle = f"assert library.handle(b'{how}', {alternate_stack}) == 0"
    order = f"{handle}; start()" if when == "before" else f"start(); {handle}; waits_for_retake()"
    program = (
        f"{order}\n"
        f"library.fault_and_{how}.restype = ctypes.c_long\n"
        f"print(library.fault_and_{how}(ctypes.c_long(20000)))\n"
        "spin(); stop()\n"
        f"print(library.fault_and_{how}(ctypes.c_long(1000)))"
    )
    assert assert_same_end(end_of, program) == (0, False, "20000\n1000\n")


class WildPointer:
    """Leads a code object's file name to memory that is not there."""

    def __init__(self, code):
        self._code = code
        size = sys.getsizeof(code) // 8
        words = (ctypes.c_size_t * size).from_address(id(code))
        (self._place,) = [index for index in range(size) if words[index] == id(code.co_filename)]
        self._words = words

    def __enter__(self):
        # Read before it is changed: the interpreter would follow the pointer too.
        self._right = self._words[self._place]
        self._words[self._place] = 0x1110
        return self

    def __exit__(self, *_):
        self._words[self._place] = self._right


def own_code(name):
    """A code object that nobody else has, of a function that spins."""
    source = f"def {name}(seconds, clock):\n    until = clock() + seconds\n    while clock() < until:\n        pass\n"
    module = compile(source, "file-of-" + name + ".py", "exec")
    (code,) = [constant for constant in module.co_consts if isinstance(constant, types.CodeType)]
    return code


def test_a_wild_pointer_is_an_error():
    code = own_code("unreadable")
    with WildPointer(code), pytest.raises(RuntimeError, match="the code object points to memory that is not there"):
        spprof._native.code_lines(code)
    assert spprof._native.code_lines(code)[1] == "file-of-unreadable.py"


def test_a_wild_pointer_in_a_sampled_stack():
    import time

    code = own_code("misled")
    function = types.FunctionType(code, {})
    spprof.start(interval_ms=1)
    with WildPointer(code):
        # The collector's thread reads it many times meanwhile, and so does the snapshot.
        function(0.2, time.thread_time)
        spprof.snapshot()
    function(0.05, time.thread_time)
    profile = spprof.stop()

    files = {frame.filename for sample in profile.samples for frame in sample.frames}
    assert "file-of-misled.py" in files


def test_faults_of_ours_while_faulthandler_comes_and_goes(end_of):
    program = (
        "import types\n"
        "sys.path.insert(0, " + repr(str(Path(__file__).parent)) + ")\n"
        "from test_faults import WildPointer, own_code\n"
        "code = own_code('misled')\n"
        "function = types.FunctionType(code, {})\n"
        "start()\n"
        "for _ in range(3):\n"
        "    faulthandler.enable(); waits_for_retake()\n"
        "    with WildPointer(code):\n"
        "        function(0.05, time.thread_time)\n"
        "    faulthandler.disable()\n"
        "    with WildPointer(code):\n"
        "        function(0.05, time.thread_time)\n"
        "stop()\n"
        "print('alive')"
    )
    assert assert_same_end(end_of, program) == (0, False, "alive\n")


def test_dispositions_after_a_session(library):
    handler_of = ctypes.CDLL(library).handler_of
    handler_of.restype = ctypes.c_size_t
    before = handler_of(11), handler_of(7)
    for _ in range(3):
        spprof.start(interval_ms=1)
        during = handler_of(11), handler_of(7)
        spprof.stop()
        assert (handler_of(11), handler_of(7)) == before
        assert during[0] != before[0]
        assert during[1] != before[1]
