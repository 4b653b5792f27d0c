"""SPPROF_AUTOSTART: every interpreter that begins with it profiles itself, and nothing else changes."""

import os
import subprocess
import sys

import pytest
import spprof
from support import not_on_windows

#: Not a clock alone in the loop: under Windows looking at it is a system call, and the thread would be in no other place.
BUSY = """
import time
def busy(cpu_s=0.05):
    end = time.thread_time() + cpu_s
    while time.thread_time() < end:
        sum(range(20_000))
"""


def run(value, *arguments, cwd, **more):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "SPPROF_AUTOSTART": value},
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def profiles_in(folder):
    """By process id: every profile that was written there, each under the name that was asked for."""
    profiles = {}
    for name in os.listdir(folder):
        pid = name.split(".")[0]
        profiles[int(pid)] = spprof.Profile.load(folder / name)
    return profiles


def functions_of(profile):
    return {frame.function_name for stack in profile.aggregate() for frame in stack.frames}


@pytest.mark.parametrize("value", [None, "", "0"])
def test_it_is_off_by_default(tmp_path, value):
    environment = {name: text for name, text in os.environ.items() if name != "SPPROF_AUTOSTART"}
    if value is not None:
        environment["SPPROF_AUTOSTART"] = value
    program = "import sys; print('spprof' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert os.listdir(tmp_path) == []


def test_one_means_the_defaults(tmp_path):
    done = run("1", "-c", BUSY + "busy(); import os; print(os.getpid(), os.environ['SPPROF_AUTOSTART'])", cwd=tmp_path)
    pid, value = done.stdout.split()
    assert (done.returncode, done.stderr, value) == (0, "", "1")
    assert os.listdir(tmp_path) == [f"spprof-{pid}.speedscope.json"]
    profile = spprof.Profile.load(tmp_path / f"spprof-{pid}.speedscope.json")
    assert profile.interval_ms == 10
    assert "busy" in functions_of(profile)


@pytest.mark.parametrize("option", ["-E", "-I", "-B", "-O"])
def test_interpreters_that_ignore_their_environment_too(tmp_path, option):
    done = run(f"interval_ms=1,output={tmp_path}/%p.collapsed", option, "-c", BUSY + "busy()", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (profile,) = profiles_in(tmp_path).values()
    assert "busy" in functions_of(profile)


def test_each_interpreter_of_a_tree_of_processes_writes_its_own(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "work.py").write_text(
        BUSY
        + """
import multiprocessing, os, subprocess, sys
def task(_):
    busy()
    return os.getpid()
if __name__ == "__main__":
    spawned = multiprocessing.get_context("spawn").Process(target=task, args=(0,))
    spawned.start()
    spawned.join()
    # A path of its own and no PYTHONPATH: the interpreter alone decides.
    # It says its number itself: the `python` of an environment on Windows begins the interpreter as a process of its own.
    program = "import os, sys; sys.path.clear(); print(os.getpid())\\n" + sys.argv[1] + "busy()"
    child = subprocess.run([sys.executable, "-I", "-c", program], stdout=subprocess.PIPE, text=True)
    busy()
    print(os.getpid(), spawned.pid, child.stdout, spawned.exitcode, child.returncode)
"""
    )
    value = f"interval_ms=1,memory_limit_mb=20,output={tmp_path}/out/%p.speedscope.json"
    done = run(value, "work.py", BUSY, cwd=tmp_path)
    assert done.stderr == ""
    own, spawned, child, *statuses = map(int, done.stdout.split())
    assert statuses == [0, 0]
    profiles = profiles_in(tmp_path / "out")
    # And multiprocessing's tracker of resources, which is an interpreter of its own, and not needed on Windows.
    assert profiles.keys() >= {own, spawned, child}
    assert len(profiles) == (3 if sys.platform == "win32" else 4)
    for pid in (own, spawned, child):
        assert profiles[pid].interval_ms == 1
        assert "busy" in functions_of(profiles[pid])


FORKING = (
    BUSY
    + """
import multiprocessing, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
def in_child():
    busy()
busy()
pid = os.fork()
if pid == 0:
    in_child()
    sys.exit(0)
os.waitpid(pid, 0)
worker = multiprocessing.get_context("fork").Process(target=in_child)
worker.start()
worker.join()
print(os.getpid(), pid, worker.pid)
"""
)


@not_on_windows("there is no fork")
def test_the_children_of_a_fork_are_not_profiled(tmp_path):
    done = run(f"interval_ms=1,output={tmp_path}/%p.collapsed", "-c", FORKING, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(profiles_in(tmp_path)) == [int(done.stdout.split()[0])]


@not_on_windows("there is no fork")
def test_with_forks_they_are(tmp_path):
    done = run(f"forks=1,interval_ms=1,output={tmp_path}/%p.collapsed", "-c", FORKING, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    own, *children = map(int, done.stdout.split())
    profiles = profiles_in(tmp_path)
    assert profiles.keys() == {own, *children}
    assert "in_child" not in functions_of(profiles[own])
    for pid in children:
        assert "in_child" in functions_of(profiles[pid])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("yes", "'yes' is none of 1, interval_ms=MS"),
        ("interval_ms", "interval_ms= is no number"),
        ("interval_ms=", "interval_ms= is no number"),
        ("interval_ms=ten", "interval_ms=ten is no number"),
        ("interval_ms=nan", "interval_ms must be from 0.1 to 1000, not nan"),
        ("interval_ms=0", "interval_ms must be from 0.1 to 1000, not 0.0"),
        ("memory_limit_mb=1", "memory_limit_mb must be at least 8, not 1"),
        ("memory_limit_mb=1.5", "memory_limit_mb=1.5 is no number"),
        ("forks=maybe", "forks=maybe is no number"),
        ("rate=3,output=%p", "'rate' is none of"),
        ("output=one.json", "output=one.json needs %p"),
        ("output=absent/%p.json", "No such file or directory"),
        ("output=%p/", "Is a directory"),
        ("output=", "needs %p"),
    ],
)
def test_a_bad_value_is_one_sentence_and_the_program_runs(tmp_path, value, sentence):
    done = run(value, "-c", "import sys; print('ran'); sys.exit(7)", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "ran\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("spprof: SPPROF_AUTOSTART: ")
    assert line.endswith("; this process is not profiled")
    assert sentence in line
    assert os.listdir(tmp_path) == []


def test_a_native_module_that_is_missing_is_a_sentence_too(tmp_path):
    (tmp_path / "spprof").mkdir()
    (tmp_path / "spprof" / "__init__.py").write_text("raise ImportError('no such luck')")
    environment = {**os.environ, "SPPROF_AUTOSTART": "1", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", "print('ran')"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ran\n"
    assert done.stderr == "spprof: SPPROF_AUTOSTART: no such luck; this process is not profiled\n"


@not_on_windows("there is no sh")
def test_a_closed_standard_error_is_not_written_to(tmp_path):
    # Descriptor 2 then belongs to the first file that the program opens.
    line = 'exec "$0" -c "import os; print(os.path.exists(\'/proc/self/fd/2\'))" 2>&-'
    environment = {**os.environ, "SPPROF_AUTOSTART": "nonsense"}
    done = subprocess.run(["sh", "-c", line, sys.executable], env=environment, capture_output=True, check=True)
    assert done.stdout == b"False\n"


def test_run_and_the_command_itself_stay_as_they_are(tmp_path):
    (tmp_path / "out").mkdir()
    value = f"interval_ms=1,output={tmp_path}/out/%p.collapsed"
    (tmp_path / "work.py").write_text(BUSY + "busy()\n")
    done = run(value, "-m", "spprof", "run", "-o", "run.collapsed", "work.py", cwd=tmp_path)
    assert done.returncode == 0
    written = tmp_path / "run.collapsed"
    assert done.stderr.splitlines()[-1] == f"spprof: the profile is in {written}; `spprof view {written}` shows it"
    assert "busy" in functions_of(spprof.Profile.load(tmp_path / "run.collapsed"))
    assert run(value, "-m", "spprof", "report", "run.collapsed", cwd=tmp_path).returncode == 0
    assert os.listdir(tmp_path / "out") == []


def test_the_program_may_stop_it_and_start_its_own(tmp_path):
    program = """
import spprof
assert spprof.is_active()
profile = spprof.stop()
spprof.start(interval_ms=1, output_path="own.collapsed")
"""
    done = run(f"output={tmp_path}/%p.collapsed", "-c", program, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = os.listdir(tmp_path)
    assert len(names) == 2
    assert "own.collapsed" in names


def test_a_second_interpreter_in_the_process_says_nothing(tmp_path):
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
number = interpreters.create()
print(interpreters.run_string(number, "import sys; assert 'spprof_autostart' in sys.modules"))
interpreters.destroy(number)
"""
    done = run(f"interval_ms=1,output={tmp_path}/%p.collapsed", "-W", "ignore", "-c", program, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")
    assert len(os.listdir(tmp_path)) == 1
