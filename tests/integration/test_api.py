"""The Python interface: its errors, its files, and the ways a program can end."""

import asyncio
import datetime
import errno
import json
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest
import spprof
from hypothesis import given, settings
from hypothesis import strategies as st
from spprof import _native, cli
from support import INTERRUPTED, not_on_windows, run_python, spin

NO_FULL_DISK = not_on_windows("there is no /dev/full")


@pytest.fixture(autouse=True)
def no_session_is_left():
    yield
    if spprof.is_active():
        spprof.stop()
        pytest.fail("the test left a session running")


@pytest.mark.parametrize("interval_ms", [0, 0.09, -1, 1000.1, math.nan, math.inf, -math.inf, 10**400])
def test_an_interval_out_of_range(interval_ms):
    with pytest.raises(ValueError, match="interval_ms"):
        spprof.start(interval_ms=interval_ms)
    assert not spprof.is_active()


@pytest.mark.parametrize("interval_ms", ["10", None, True, [], 1j])
def test_an_interval_of_another_type(interval_ms):
    with pytest.raises(TypeError, match="interval_ms"):
        spprof.start(interval_ms=interval_ms)


@pytest.mark.parametrize(
    ("memory_limit_mb", "error"),
    [(7, ValueError), (-1, ValueError), (8.0, TypeError), ("8", TypeError), (True, TypeError)],
)
def test_a_memory_limit_that_is_none(memory_limit_mb, error):
    with pytest.raises(error, match="memory_limit_mb"):
        spprof.start(memory_limit_mb=memory_limit_mb)


@given(st.floats(0.1, 1000))
@settings(max_examples=25, deadline=None)
def test_any_interval_in_range_is_what_was_asked(interval_ms):
    spprof.start(interval_ms=interval_ms)
    profile = spprof.stop()
    assert profile.interval_ms == pytest.approx(interval_ms, abs=1e-6)


def test_one_session_at_a_time():
    with pytest.raises(RuntimeError, match=r"^Profiler not running$"):
        spprof.stop()
    for call in (spprof.snapshot, spprof.pause, spprof.resume):
        with pytest.raises(RuntimeError, match=r"^Profiler not running$"):
            call()
    assert spprof.stats() is None
    assert not spprof.register_thread()
    spprof.start()
    with pytest.raises(RuntimeError, match=r"^Profiler already running$"):
        spprof.start()
    assert spprof.is_active()
    spprof.stop()


def test_many_threads_start_and_stop_at_once():
    barrier = threading.Barrier(8)
    outcomes = []
    errors = set()

    def work():
        barrier.wait()
        for _ in range(20):
            try:
                spprof.start(interval_ms=1)
                outcomes.append("started")
            except RuntimeError as error:
                errors.add(str(error))
            spprof.stats()
            try:
                spprof.stop()
                outcomes.append("stopped")
            except RuntimeError as error:
                errors.add(str(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors <= {"Profiler already running", "Profiler not running"}
    assert outcomes.count("started") == outcomes.count("stopped") > 0


@pytest.mark.parametrize(
    ("path", "number"),
    [
        # A folder cannot be opened on Windows, and it tells no path below a file from one that is not there.
        (".", errno.EACCES if sys.platform == "win32" else errno.EISDIR),
        ("file/below", errno.ENOENT if sys.platform == "win32" else errno.ENOTDIR),
        ("absent/below", errno.ENOENT),
        ("locked/new", errno.EACCES),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path, path, number):
    (tmp_path / "file").write_text("before")
    (tmp_path / "locked").mkdir(mode=0o555)
    if number == errno.EACCES and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("root may write anywhere")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is asserted
        spprof.start(output_path=tmp_path / path)
    assert raised.value.errno == number
    assert not spprof.is_active()
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_text() == "before"


def test_a_file_appears_at_stop_and_not_before(tmp_path):
    path = tmp_path / "out.speedscope.json"
    spprof.start(interval_ms=1, output_path=path)
    assert os.listdir(tmp_path) == []
    spin(0.05)
    profile = spprof.stop()
    assert os.listdir(tmp_path) == [path.name]
    assert spprof.Profile.load(path).sample_count == profile.sample_count > 0


@NO_FULL_DISK
def test_what_was_sampled_survives_a_full_disk(tmp_path):
    spprof.start(interval_ms=1, output_path="/dev/full")
    spin(0.05)
    with pytest.raises(OSError, match="No space left") as raised:
        spprof.stop()
    assert raised.value.errno == errno.ENOSPC
    profile = raised.value.profile
    assert profile.sample_count > 0
    profile.save(tmp_path / "saved.json")
    assert spprof.Profile.load(tmp_path / "saved.json").sample_count == profile.sample_count


@not_on_windows("there is no mount")
def test_a_full_file_system_keeps_the_file_that_was_there(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "spprof-test", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system can only be mounted by root")
    try:
        path = folder / "out.json"
        path.write_text("before")
        (folder / "filler").write_bytes(b"x" * 56 * 1024)
        spprof.start(interval_ms=1, output_path=path)
        spin(0.2)
        with pytest.raises(OSError, match="No space left") as raised:
            spprof.stop()
        assert raised.value.profile.sample_count > 0
        assert path.read_text() == "before"
        assert sorted(os.listdir(folder)) == ["filler", "out.json"]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@not_on_windows("there is no /dev/stdout")
def test_the_program_s_own_output_is_not_replaced(tmp_path):
    program = "import spprof; print('before', flush=True); spprof.start(output_path='/dev/stdout'); spprof.stop()"
    with open(tmp_path / "output", "w") as output:
        subprocess.run([sys.executable, "-c", program], stdout=output, check=True)
    first, document = (tmp_path / "output").read_text().split("\n", 1)
    assert first == "before"
    assert json.loads(document)["exporter"] == f"spprof@{spprof.__version__}"


ENDINGS = {
    "return": ("", 0, "exit"),
    "exit": ("import sys; sys.exit(3)", 3, "exit"),
    "exception": ("raise KeyError('x')", 1, "exit"),
    "stop": ("spprof.stop()", 0, "stop"),
    "interrupt": ("import signal, time; signal.raise_signal(signal.SIGINT); time.sleep(60)", INTERRUPTED, "exit"),
}
if sys.platform != "win32":
    ENDINGS["termination"] = ("import os, signal; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -15, "SIGTERM")


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_file_is_written_however_the_program_ends(tmp_path, ending):
    last, status, reason = ENDINGS[ending]
    program = f"""
import time, spprof
spprof.start(interval_ms=1, output_path={str(tmp_path / "out.json")!r})
def busy():
    end = time.thread_time() + 0.2
    while time.thread_time() < end: sum(range(5000))
busy()
{last}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    profile = spprof.Profile.load(tmp_path / "out.json")
    assert "busy" in [row.function_name for row in profile.top()]
    assert profile.ending == reason


@not_on_windows("SIGTERM ends a process without a word there")
def test_every_file_says_that_sigterm_ended_the_recording(tmp_path, capsys):
    for name, extensions, is_readable, _ in _native.formats():
        path = tmp_path / ("p" + extensions[0])
        program = f"""
import os, signal, time, spprof
spprof.start(output_path={str(path)!r})
os.kill(os.getpid(), signal.SIGTERM)
while True: time.sleep(60)
"""
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGTERM
        if is_readable:
            profile = spprof.Profile.load(path)
            assert profile.ending == "SIGTERM", name
            assert cli.main(["report", str(path)]) == 0
            assert "recorded until SIGTERM ended the process" in capsys.readouterr().out.replace("\n", " ")
        # The page is packed; pstats has no place for any number.
        elif name not in ("html", "pstats"):
            assert b"SIGTERM" in path.read_bytes(), name


def test_why_a_recording_ended_and_files_that_do_not_say(tmp_path):
    spprof.start()
    snapshot = spprof.snapshot()
    profile = spprof.stop()
    assert (snapshot.ending, profile.ending) == ("snapshot", "stop")
    assert profile.filter(ignore="nothing is called so").ending == "stop"
    assert (profile.merge(profile).ending, profile.merge(snapshot).ending) == ("stop", None)
    path = tmp_path / "p.json"
    profile.save(path)
    document = json.loads(path.read_text())
    # As a version before this one wrote it, and one after this one may.
    del document["spprof"]["ending"]
    path.write_text(json.dumps(document))
    assert spprof.Profile.load(path).ending is None
    document["spprof"]["ending"] = "power cut"
    path.write_text(json.dumps(document))
    assert spprof.Profile.load(path).ending is None


def test_an_unwritable_file_at_exit_is_said_and_harms_nothing(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    program = f"""
import os, spprof
spprof.start(output_path={str(folder / "out.json")!r})
os.rmdir({str(folder)!r})
raise SystemExit(5)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("spprof: the profile could not be written")
    assert len(done.stderr.splitlines()) == 1


def test_no_samples_is_a_valid_profile(tmp_path):
    spprof.start(interval_ms=1000)
    spprof.pause()
    profile = spprof.stop()
    document = profile.to_speedscope()
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert document["profiles"][0]["name"].startswith("All threads")
    profile.save(tmp_path / "a.json")
    profile.save(tmp_path / "a.collapsed")
    assert spprof.Profile.load(tmp_path / "a.json").sample_count == profile.sample_count


def test_a_profile_says_what_it_is():
    before = datetime.datetime.now(datetime.timezone.utc)
    started_ns = time.perf_counter_ns()
    with spprof.Profiler(interval_ms=1) as profiler:
        assert profiler.profile is None
        spin(0.1)
    ended_ns = time.perf_counter_ns()
    profile = profiler.profile
    # The two clocks are read one after the other; a millisecond is a thousand times what that takes.
    assert before - datetime.timedelta(milliseconds=1) <= profile.start_time < profile.end_time
    assert profile.start_time.tzinfo is datetime.timezone.utc
    assert profile.total_duration_ms <= (ended_ns - started_ns) / 1e6
    assert profile.python_version.startswith(".".join(map(str, sys.version_info[:3])))
    assert profile.platform.startswith(platform.system())
    assert profile.sample_count == len(profile.samples) == sum(thread.sample_count for thread in profile.threads)
    assert profile.effective_rate_hz == pytest.approx(profile.sample_count / (profile.total_duration_ms / 1000))
    assert next(iter(profile.samples)).timestamp_ns == profile.samples[0].timestamp_ns
    assert profile.samples[-1].timestamp_ns == profile.samples[len(profile.samples) - 1].timestamp_ns
    assert [sample.timestamp_ns for sample in profile.samples[::7]] == [
        s.timestamp_ns for s in list(profile.samples)[::7]
    ]
    with pytest.raises(IndexError):
        profile.samples[len(profile.samples)]
    whole = sum(stack.cpu_ns for stack in profile.aggregate())
    assert whole == sum(thread.cpu_ns for thread in profile.threads) == sum(sample.cpu_ns for sample in profile.samples)
    assert sum(row.self_cpu_ns for row in profile.top(None)) <= whole


def test_frames_are_values():
    frame = spprof.Frame("f", "a.py", 3)
    assert frame == spprof.Frame(function_name="f", filename="a.py", lineno=3, is_native=False)
    assert frame != spprof.Frame("f", "a.py", 4)
    assert len({frame, spprof.Frame("f", "a.py", 3)}) == 1
    assert repr(frame) == "Frame(function_name='f', filename='a.py', lineno=3, is_native=False)".replace("'", '"')
    with pytest.raises(AttributeError):
        frame.lineno = 5


@NO_FULL_DISK
def test_an_exception_in_the_block_goes_on_and_the_profile_stays(tmp_path):
    profiler = spprof.Profiler(interval_ms=1, output_path="/dev/full")

    def block(error):
        with profiler:
            spin(0.02)
            if error is not None:
                raise error

    with pytest.raises(KeyError, match="mine"):
        block(KeyError("mine"))
    assert profiler.profile.sample_count > 0
    with pytest.raises(OSError, match="No space left"):
        block(None)
    assert profiler.profile.sample_count > 0


def test_a_session_that_was_begun_in_the_block_is_not_its_to_stop():
    with spprof.Profiler() as profiler:
        own = spprof.stop()
        spprof.start(interval_ms=20)
    assert profiler.profile is None
    assert own.interval_ms == 10
    assert spprof.stop().interval_ms == 20


def test_a_signal_handler_that_stops_the_session_leaves_no_hooks():
    before = dict(threading.Thread.__dict__)

    class StopsAtOnce:
        """Stands in for `_native.is_active` with a handler that ran just before it."""

        def __call__(self):
            if active():
                spprof.stop()
            return active()

    active = spprof._session._native.is_active
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spprof._session._native, "is_active", StopsAtOnce())
        spprof.start()
    assert not spprof.is_active()
    assert dict(threading.Thread.__dict__) == before


@spprof.profile(interval_ms=1)
def descend(depth):
    """Documented."""
    spin(0.01)
    return descend(depth - 1) if depth else "bottom"


def test_a_decorated_function_is_profiled_from_its_outermost_call():
    assert descend(3) == "bottom"
    assert (descend.__name__, descend.__doc__) == ("descend", "Documented.")
    deepest = max((stack.frames for stack in descend.last_profile.aggregate()), key=len)
    assert [frame.function_name for frame in deepest].count("descend") == 4


@NO_FULL_DISK
def test_a_decorated_function_keeps_its_result_and_its_exception():
    @spprof.profile(output_path="/dev/full")
    def work(fail):
        if fail:
            raise LookupError
        return 42

    assert work(False) == 42
    with pytest.raises(LookupError):
        work(True)


def test_decorated_coroutines_and_generators():
    @spprof.profile(interval_ms=1)
    async def coroutine():
        await asyncio.sleep(0)
        spin(0.02)
        return 1

    @spprof.profile(interval_ms=1)
    def generator():
        received = yield 1
        spin(0.02)
        yield received

    @spprof.profile(interval_ms=1)
    async def async_generator():
        try:
            received = yield 1
        except ValueError:
            received = "thrown"
        spin(0.02)
        yield received

    assert asyncio.run(coroutine()) == 1
    assert coroutine.last_profile.sample_count > 0

    made = generator()
    assert next(made) == 1
    assert spprof.is_active()
    assert made.send("sent") == "sent"
    made.close()
    assert generator.last_profile.sample_count > 0

    async def drive(step):
        made = async_generator()
        first = await made.__anext__()
        second = await step(made)
        await made.aclose()
        return first, second

    assert asyncio.run(drive(lambda made: made.asend("sent"))) == (1, "sent")
    assert asyncio.run(drive(lambda made: made.athrow(ValueError()))) == (1, "thrown")
    assert async_generator.last_profile.sample_count > 0


def test_arguments_of_the_decorator_are_judged_where_they_stand():
    with pytest.raises(ValueError, match="interval_ms"):
        spprof.profile(interval_ms=0)


def test_stats_are_measured():
    spprof.start(interval_ms=1)
    spin(0.2)
    stats = spprof.stats()
    profile = spprof.stop()
    assert 0 < stats.collected_samples <= profile.sample_count
    assert 200 <= stats.duration_ms <= profile.total_duration_ms
    assert 0 < stats.profiler_cpu_ns < stats.duration_ms * 1e6
    # Where threads are suspended there are no handlers.
    assert 0 < stats.handler_ns < stats.profiler_cpu_ns or (sys.platform == "win32" and stats.handler_ns == 0)
    assert 0 < stats.memory_bytes < 100 << 20
    assert stats.threads == threading.active_count()


def test_importing_is_cheap():
    loaded = run_python(
        "-c", "import sys; before = set(sys.modules); import spprof; print(*sorted(set(sys.modules) - before))"
    )
    costly = {"dataclasses", "inspect", "argparse", "json", "datetime", "asyncio", "typing"}
    assert costly.isdisjoint(loaded.split())


def test_a_native_module_that_is_missing_is_an_import_error(tmp_path):
    import shutil

    package = tmp_path / "spprof"
    shutil.copytree(
        os.path.dirname(spprof.__file__), package, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    done = subprocess.run(
        [sys.executable, "-c", "import spprof"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ImportError: the native module of spprof cannot be loaded, so nothing could be profiled" in done.stderr


@pytest.mark.parametrize(
    ("system", "untested", "says"),
    [
        ("sunos5", "", "ImportError: spprof runs on Linux, macOS and Windows, not on sunos5"),
        ("darwin", "", "ImportError: spprof for macOS has been compiled but never run"),
        ("darwin", "1", ""),
    ],
)
def test_a_system_that_it_was_never_run_on_is_refused(system, untested, says):
    code = f"import sys; sys.platform = {system!r}; import spprof"
    environment = {**os.environ, "SPPROF_UNTESTED": untested}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert says in done.stderr
    assert (done.returncode == 0) == (not says)
