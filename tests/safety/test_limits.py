"""Where the system gives little: one clear error or a counted loss, and the program goes on."""

import os
import subprocess
import sys

import pytest
import support

IS_ROOT = os.geteuid() == 0

PROLOGUE = """
import os, resource, sys, threading, time
sys.path[:0] = sys.argv[1:]
import spprof
from support import process_state, spin, samples_of
def busy():
    spin(0.1)
# The C library has a signal of its own, which it handles from the first thread on.
first = threading.Thread(target=int)
first.start()
first.join()
"""


def run(program, *, prefix=(), status=0, environment=None):
    """What a program printed that runs in a process of its own, with what these tests share on its path."""
    command = [*prefix, sys.executable, "-c", PROLOGUE + program, os.path.dirname(os.path.abspath(support.__file__))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == status, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_no_pending_signals_allowed():
    # No timer can be made then: the collector ticks the threads itself.
    output = run(
        """
resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
before = process_state()
spprof.start(interval_ms=1)
busy()
profile = spprof.stop()
assert process_state() == before
cpu_ns = sum(sample.cpu_ns for sample in samples_of(profile, os.getpid()) if "busy" in [f.function_name for f in sample.frames])
print(len(profile.samples) > 20, 0.08e9 < cpu_ns < 0.12e9)
"""
    )
    assert output == "True True\n"


@pytest.mark.skipif(not IS_ROOT, reason="root becomes a user whom the limit holds for")
def test_no_more_threads_allowed():
    output = run(
        """
os.setgid(65534)
os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
before = process_state()
try:
    spprof.start(interval_ms=1)
except OSError as error:
    print(error)
assert not spprof.is_active()
assert process_state() == before
busy()
"""
    )
    assert output.startswith("The profiler could not start because the system refused a thread: ")
    assert output.count("\n") == 1


def test_no_more_descriptors_allowed():
    output = run(
        """
resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
spprof.start(interval_ms=1)
busy()
print("busy" in [row.function_name for row in spprof.stop().top()])
"""
    )
    assert output == "True\n"


@pytest.mark.parametrize("room_kib", [0, 256, 1024, 2048, 4096, 16384])
def test_little_address_space(room_kib):
    # Whatever is left: a session, or an error and none; and the program goes on in either case.
    output = run(
        f"""
before = process_state()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used + {room_kib} * 1024, hard))
try:
    spprof.start(interval_ms=1)
    outcome = "started"
except OSError as error:
    assert "the system refused memory" in str(error) or "the system refused a thread" in str(error), error
    outcome = "refused"
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
if outcome == "started":
    busy()
    assert spprof.stop().sample_count > 0
assert process_state() == before
spprof.start(interval_ms=1)
busy()
assert spprof.stop().sample_count > 0
print(outcome)
"""
    )
    assert output == ("refused\n" if room_kib == 0 else output)
    assert output in ("started\n", "refused\n")
    if room_kib >= 16384:
        assert output == "started\n"


def can_mount():
    command = ["unshare", "--mount", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_mounts = pytest.mark.skipif(not can_mount(), reason="a mount namespace cannot be made here")


@needs_mounts
def test_a_system_without_proc():
    output = run(
        """
spprof.start(interval_ms=1)
parked = threading.Thread(target=time.sleep, args=(0.2,))
parked.start()
busy()
parked.join()
profile = spprof.stop()
print(os.path.exists("/proc/self"), "busy" in [row.function_name for row in profile.top()], len(profile.threads))
""",
        prefix=["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"'],
    )
    assert output == "False True 2\n"


@needs_mounts
def test_a_file_system_that_cannot_be_written(tmp_path):
    output = run(
        f"""
try:
    spprof.start(interval_ms=1, output_path={str(tmp_path / "out.json")!r})
except OSError as error:
    print(error.errno == __import__("errno").EROFS, error.filename)
assert not spprof.is_active()
""",
        prefix=["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o ro none {tmp_path} && exec "$0" "$@"'],
    )
    assert output == f"True {tmp_path}/out.json\n"


def test_a_file_system_that_fills_up_at_exit(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    done = subprocess.run(
        [sys.executable, "-c", "import spprof; spprof.start(interval_ms=1, output_path='/dev/full'); print('ran')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == "spprof: the profile could not be written to /dev/full: No space left on device\n"


def test_the_doctor_says_what_a_limit_takes_away():
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "spprof", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0)),
    )
    assert done.returncode == 0
    (timers,) = [line for line in done.stdout.splitlines() if line.startswith("timers")]
    assert "no timers (Resource temporarily unavailable" in timers
