"""Reports of programs that were really profiled, and the ways to get one."""

import os
import signal
import subprocess
import sys
import threading
import time

import profiles
import pytest
import spprof
from test_report import rows, text


def wait_a_while(seconds):
    time.sleep(seconds)


def test_waiting_is_told_from_running(page, tmp_path):
    with spprof.Profiler(interval_ms=2) as profiler:
        thread = threading.Thread(target=wait_a_while, args=(0.3,), name="sleeper")
        thread.start()
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        thread.join()
    report = tmp_path / "report.html"
    profiler.profile.save(report)
    page.open(report)
    page.run("spprof.setClock(spprof.data.clocks.findIndex(clock => clock.label === 'wall'))")
    sleeper = page.run("spprof.data.threads.findIndex(thread => thread.label === 'sleeper')")
    page.run(f"spprof.setThread({sleeper})")
    waiting, everything = page.run("[spprof.sums.byActivity[1], spprof.sums.all]")
    assert waiting >= 0.9 * 0.3e9
    assert waiting <= everything
    # The time that it waited is the end of its stack.
    assert page.run("Array.from(spprof.flame.kind.subarray(0, spprof.flame.levelStart.at(-1))).includes(1)")
    page.run("spprof.setThread(-1)")
    labels = page.run("spprof.data.clocks.map(clock => clock.label.toLowerCase())")
    for clock in ("cpu", "wall"):
        page.run(f"spprof.setClock({labels.index(clock)})")
        totals = profiler.profile.top(None, clock=clock)
        expected = sorted((total.function_name, getattr(total, f"total_{clock}_ns")) for total in totals)
        shown = [(name, round(total * profiles.MS)) for name, _, total, _ in rows(page)]
        assert sorted(shown) == [total for total in expected if total[1] > 0]


def test_run_writes_a_report_with_the_source(page, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import time\n\ndef busy():\n    until = time.thread_time() + 0.2\n"
        "    while time.thread_time() < until:\n        pass\n\nbusy()\n"
    )
    os.utime(program, (1, 1))
    report = tmp_path / "report.html"
    subprocess.run([sys.executable, "-m", "spprof", "run", "-o", report, program], check=True, capture_output=True)
    page.open(report)
    assert text(page, "#title") == "program.py"
    page.click("#functions-body tr[data-function] button[title='busy']")
    lines = page.run("Array.from(document.querySelectorAll('#source code'), line => line.textContent)")
    assert lines == program.read_text().splitlines()[2:6]


def test_a_program_that_is_terminated_leaves_a_report(page, tmp_path):
    # The collector's thread writes it then, and has little stack.
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal\n\ndef end():\n    os.kill(os.getpid(), signal.SIGTERM)\n\nend()\nsignal.pause()\n"
    )
    report = tmp_path / "report.html"
    command = [sys.executable, "-m", "spprof", "run", "-o", report, program]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGTERM
    page.open(report)
    assert text(page, "#title") == "program.py"


@pytest.fixture
def fake_browser(tmp_path, monkeypatch):
    """A browser that only writes down what it is to open."""
    opened = tmp_path / "opened"
    script = tmp_path / "fake-browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}"\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    return opened


def view(*arguments):
    """`spprof view` with these arguments."""
    command = [sys.executable, "-m", "spprof", "view", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_view(page, known, tmp_path, fake_browser, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    profile = tmp_path / "service.speedscope.json"
    profiles.load(profiles.known("/nowhere/app.py"), tmp_path).save(profile)
    done = view(profile)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.strip()
    assert os.path.basename(shown) == "service.html"
    assert fake_browser.read_text() == f"file://{shown}"
    assert os.stat(os.path.dirname(shown)).st_mode & 0o077 == 0
    page.open(tmp_path / os.path.relpath(shown, tmp_path))
    assert rows(page)[0][:2] == ["fib", 500]

    # A report is opened as it is.
    done = view(known)
    assert (done.returncode, done.stdout.strip()) == (0, str(known))
    assert fake_browser.read_text() == known.as_uri()

    done = view(profile, "-o", tmp_path / "mine.html")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "mine.html"))
    assert "<!doctype html>" in (tmp_path / "mine.html").read_text()


def test_view_says_what_it_cannot_do(known, tmp_path, fake_browser):
    for arguments, sentence in [
        ([tmp_path / "none.json"], f"{tmp_path}/none.json cannot be read: No such file or directory"),
        ([tmp_path / "none.html"], f"{tmp_path}/none.html cannot be read: there is no such file"),
        ([known, "-o", tmp_path / "x.html"], f"{known} is a report already: leave out -o to open it"),
    ]:
        done = view(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"spprof view: {sentence}\n"
    assert not fake_browser.exists()


def test_no_browser(known, monkeypatch):
    monkeypatch.setenv("BROWSER", "/nowhere/no-such-browser %s")
    monkeypatch.setenv("PATH", "/nowhere")
    done = view(known)
    assert done.returncode == 0
    assert done.stdout == f"{known}\n"
    assert done.stderr == "spprof view: no browser could be started here: open that file yourself\n"


def test_a_report_cannot_be_read_back(known):
    with pytest.raises(ValueError, match="a file of the format html is to be looked at: it cannot be read"):
        spprof.Profile.load(known)


def test_convert(known, tmp_path):
    profile = tmp_path / "profile.json"
    profiles.load(profiles.known("/nowhere/app.py"), tmp_path).save(profile)
    for arguments in (["-o", tmp_path / "a.html"], ["--format", "html", "-o", tmp_path / "b"]):
        command = [sys.executable, "-m", "spprof", "convert", profile, *arguments]
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "spprof", "convert", known, "-o", tmp_path / "c.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "to be looked at" in done.stderr
