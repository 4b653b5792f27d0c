"""Libraries that do with threads, stacks, signals and processes what others do not, under a session at 1 ms.

They come from PyPI and are installed by `tools/test.py` in an environment of their own.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
import spprof


def needs(*modules):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} has no wheel for this interpreter")


START = "import spprof; spprof.start(interval_ms=1)\n"
END = """
profile = spprof.stop()
names = {frame.function_name.rsplit(".", 1)[-1] for stack in profile.aggregate() for frame in stack.frames}
print(sorted(names & WANTED))
"""


def run(program, wanted, **environment):
    """Runs `program` in a session; returns what it printed last: those of the `wanted` functions that were sampled."""
    done = subprocess.run(
        [sys.executable, "-c", f"WANTED = {wanted!r}\n" + START + program + END],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def profiles_in(folder):
    return {int(name.split(".")[0]): spprof.Profile.load(folder / name) for name in os.listdir(folder)}


def functions_of(profile):
    return {frame.function_name.rsplit(".", 1)[-1] for stack in profile.aggregate() for frame in stack.frames}


@needs("greenlet")
def test_greenlets_that_switch_deep_in_their_stacks():
    program = """
import greenlet
def deep(levels, other, rounds):
    if levels:
        return deep(levels - 1, other, rounds)
    total = 0
    for number in range(rounds):
        total += sum(range(200))
        other().switch()
    return total
main = greenlet.getcurrent()
one = greenlet.greenlet(lambda: deep(100, lambda: two, 20_000))
two = greenlet.greenlet(lambda: deep(30, lambda: one, 20_000))
print(one.switch())
"""
    assert run(program, {"deep"}) == [str(20_000 * 19_900), "['deep']"]


@needs("gevent")
def test_gevent_patched_through():
    program = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, threading, time
def task(number):
    for _ in range(20):
        time.sleep(0.001)
        sum(range(2000))
    return number
jobs = [gevent.spawn(task, number) for number in range(50)]
gevent.joinall(jobs)
print(sum(job.value for job in jobs))
thread = threading.Thread(target=task, args=(1,))
thread.start()
thread.join()
"""
    assert run(program, {"task"}) == ["1225", "['task']"]


@needs("uvloop")
def test_uvloop_with_servers_and_signals():
    program = """
import asyncio, os, signal, uvloop
async def handle(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        busy()
    writer.close()
def busy():
    sum(range(5000))
async def client(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(100):
        writer.write(b"line\\n")
        assert await reader.readline() == b"LINE\\n"
    writer.close()
    await writer.wait_closed()
async def main():
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(client(port, number) for number in range(10)))
    os.kill(os.getpid(), signal.SIGUSR1)
    await heard.wait()
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
    server.close()
uvloop.install()
loop = uvloop.new_event_loop()
loop.run_until_complete(main())
loop.close()
print("done")
"""
    assert run(program, {"busy"}, PYTHONWARNINGS="ignore") == ["done", "['busy']"]


@needs("numpy")
def test_numpy_with_its_threads():
    program = """
import numpy, threading
def multiply():
    one = numpy.arange(250_000, dtype=float).reshape(500, 500) % 7
    for _ in range(30):
        product = one @ one
    return float(product[3, 4])
expected = float(sum((3 * 500 + k) % 7 * ((k * 500 + 4) % 7) for k in range(500)))
results = []
threads = [threading.Thread(target=lambda: results.append(multiply())) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(set(results) == {expected})
"""
    assert run(program, {"multiply"}) == ["True", "['multiply']"]


@needs("numpy")
def test_the_threads_that_a_blas_made_in_c():
    # They run no Python: they have no frames, and are counted for nobody.
    program = """
import numpy, os, threading
one = numpy.arange(1_000_000, dtype=float).reshape(1000, 1000) % 7
expected = [sum((3 * 1000 + k) % 7 * ((k * 1000 + j) % 7) for k in range(1000)) for j in range(5)]
def multiply():
    for _ in range(5):
        product = one @ one
    return product
print(multiply()[3, :5].tolist() == expected)
"""
    listing = """
sampled = {thread.native_id for thread in spprof.snapshot().threads}
ours = {tid for tid in os.listdir("/proc/self/task") if open(f"/proc/self/task/{tid}/comm").read() == "spprof\\n"}
theirs = {int(tid) for tid in set(os.listdir("/proc/self/task")) - ours} - {os.getpid()}
print(len(theirs), sorted(theirs & sampled))
"""
    *printed, made, names = run(program + listing, {"multiply"}, OPENBLAS_NUM_THREADS="4")
    assert printed == ["True"]
    # OpenBLAS makes no more threads than there are processors, and the caller is one of them.
    assert made == f"{min(len(os.sched_getaffinity(0)), 4) - 1} []"
    assert names == "['multiply']"


@needs("cffi")
def test_callbacks_of_cffi():
    program = """
import cffi
ffi = cffi.FFI()
ffi.cdef("void qsort(void *base, size_t nmemb, size_t size, int (*compar)(const void *, const void *));")
libc = ffi.dlopen(None)
@ffi.callback("int(const void *, const void *)")
def compare(one, other):
    return ffi.cast("int *", one)[0] - ffi.cast("int *", other)[0]
for _ in range(10):
    numbers = ffi.new("int[]", [number * 7919 % 10007 for number in range(5000)])
    libc.qsort(numbers, len(numbers), 4, compare)
    assert list(numbers) == sorted(numbers)
print("sorted")
"""
    assert run(program, {"compare"}) == ["sorted", "['compare']"]


@needs("coverage")
def test_coverage_counts_the_same_lines(tmp_path):
    (tmp_path / "covered.py").write_text(
        "def branch(number):\n    if number % 2:\n        return 1\n    return 0\n\n\ndef never():\n    return 2\n\n\n"
        "total = sum(branch(number) for number in range(300_000))\n"
    )
    program = """
import coverage, sys
sys.path.insert(0, FOLDER)
measured = coverage.Coverage(data_file=None, include=[FOLDER + "/*"])
measured.start()
import covered
measured.stop()
print(covered.total, measured.analysis2(FOLDER + "/covered.py")[3])
"""
    assert run(f"FOLDER = {str(tmp_path)!r}\n" + program, {"branch"}) == ["150000 [8]", "['branch']"]


@needs("gunicorn")
def test_a_preloading_gunicorn(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "app.py").write_text(
        "import os, time\n"
        "def compute():\n"
        "    end = time.thread_time() + 0.02\n"
        "    while time.thread_time() < end:\n"
        "        pass\n"
        "def application(environ, start_response):\n"
        "    compute()\n"
        "    start_response('200 OK', [])\n"
        "    return [str(os.getpid()).encode()]\n"
    )
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--preload", "--workers", "2", "--bind"]
    command += ["127.0.0.1:0", "app"]
    environment = {**os.environ, "SPPROF_AUTOSTART": f"forks=1,interval_ms=1,output={out}/%p.collapsed"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    port = None
    for line in process.stderr:
        if "http://127.0.0.1:" in line:
            port = line.split("http://127.0.0.1:")[1].split(",")[0].split()[0].rstrip(")")
            break
    assert port is not None
    workers = set()
    while len(workers) < 2:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            workers.add(int(answer.read()))
    process.send_signal(signal.SIGTERM)
    process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    profiles = profiles_in(out)
    assert {process.pid, *workers} <= profiles.keys()
    for worker in workers:
        assert "compute" in functions_of(profiles[worker])
    assert "compute" not in functions_of(profiles[process.pid])


@needs("xdist")
def test_pytest_xdist(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "test_many.py").write_text(
        "import pytest\n@pytest.mark.parametrize('number', range(40))\ndef test_one(number):\n    assert sum(range(100_000)) > 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_many.py"],
        cwd=tmp_path,
        env={**os.environ, "SPPROF_AUTOSTART": f"interval_ms=1,output={out}/%p.collapsed"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 passed" in done.stdout
    profiles = profiles_in(out)
    assert len(profiles) >= 3
    assert sum("test_one" in functions_of(profile) for profile in profiles.values()) == 2


@needs("xdist", "pytest_cov")
def test_coverage_and_xdist_in_one_run(tmp_path):
    # Workers that trace every line, each with a session, and one report of all.
    (tmp_path / "covered.py").write_text(
        "def branch(number):\n    if number % 2:\n        return 1\n    return 0\n\n\ndef never():\n    return 2\n"
    )
    (tmp_path / "test_many.py").write_text(
        "import covered, pytest\n@pytest.mark.parametrize('number', range(20))\ndef test_one(number):\n"
        "    assert sum(covered.branch(other) for other in range(20_000)) == 10_000\n"
    )

    def run_tests(**environment):
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "--cov=covered"]
        done = subprocess.run(
            [*command, "--cov-report=json:report.json", "test_many.py"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "20 passed" in done.stdout
        files = json.loads((tmp_path / "report.json").read_text())["files"]
        return files["covered.py"]["executed_lines"], files["covered.py"]["missing_lines"]

    out = tmp_path / "out"
    out.mkdir()
    assert run_tests() == ([1, 2, 3, 4, 7], [8])
    assert run_tests(SPPROF_AUTOSTART=f"interval_ms=1,output={out}/%p.collapsed") == ([1, 2, 3, 4, 7], [8])
    assert sum("branch" in functions_of(profile) for profile in profiles_in(out).values()) == 2
