"""What `spprof report` prints, to the letter, from files written by hand."""

import os
import re
import subprocess
import sys

import pytest
import spprof
from handwritten import STACKS, collapsed
from spprof import _report, cli
from spprof.cli import _files


def report(path, *arguments, columns=80, env=None):
    """The lines of a report, without what is the environment's."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "spprof", "report", path.name, *arguments],
        cwd=path.parent,
        env={**environment, "COLUMNS": str(columns), "PYTHONIOENCODING": "utf-8", **(env or {})},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def profile_path(tmp_path):
    path = tmp_path / "a.collapsed"
    path.write_text(collapsed(STACKS), encoding="utf-8")
    return path


HEAD = """\
4.00 s, 2 threads, Python 3.13.1
"""

COMPUTING = """\
  computing    3.00 s  100.0 %
  CPU time by thread: MainThread 66.7 %, worker 33.3 %
"""

NUMBERS = """\
300 samples; asked 100 Hz, got 99.34 of threads that ran; 2 missed;
the profiler took 12.0 ms of CPU time (0.40 %); 3.4 MB of memory

"""

TREE = """\
  total    self  call tree of the CPU time, what is below 1 % folded
 66.0 %          ├─<module>  /srv/app/main.py
 66.0 %   0.3 %  │ serve  /srv/app/main.py
 60.0 %  40.0 %  │ ├─parse  /srv/app/parse.py
 20.0 %  20.0 %  │ │ JSONDecoder.decode  json/decoder.py
  5.7 %   0.7 %  │ └─index  /srv/app/main.py
  5.0 %   5.0 %  │   dot  numpy/core.py
 33.3 %  33.3 %  └─job  /srv/app/main.py
"""

HOTTEST = """\
CPU time: of its own, ± standard error; in total
own code    40.0 % ±2.8   60.0 %  parse  /srv/app/parse.py
            33.3 % ±2.7   33.3 %  job  /srv/app/main.py
             0.7 % ±0.5    5.7 %  index  /srv/app/main.py
libraries   20.0 % ±2.3   20.0 %  JSONDecoder.decode  json/decoder.py
             5.0 % ±1.3    5.0 %  dot  numpy/core.py
lines       33.3 % ±2.7   53.3 %  /srv/app/parse.py:20
            33.3 % ±2.7   33.3 %  /srv/app/main.py:60
            20.0 % ±2.3   20.0 %  json/decoder.py:30
             0.7 %                in no Python function
"""

BY_TOTAL = """\
CPU time: of its own, ± standard error; in total
own code     0.3 % ±0.3   66.0 %  serve  /srv/app/main.py
             0.0 %        66.0 %  <module>  /srv/app/main.py
libraries   20.0 % ±2.3   20.0 %  JSONDecoder.decode  json/decoder.py
             5.0 % ±1.3    5.0 %  dot  numpy/core.py
lines        0.3 % ±0.3   66.0 %  /srv/app/main.py:12
             0.0 %        66.0 %  /srv/app/main.py:90
             0.7 %                in no Python function
"""

WORKER = """\
shown: 33.3 % of the CPU time (--thread 8)
  computing    1.00 s  100.0 %
CPU time: of its own, ± standard error; in total
own code   100.0 % ±0.0  100.0 %  job  /srv/app/main.py
lines      100.0 % ±0.0  100.0 %  /srv/app/main.py:60
"""

WORKER_TREE = """\
  total    self  call tree of the CPU time, what is below 1 % folded
100.0 % 100.0 %  job  /srv/app/main.py
"""

PARSE = """\
shown: 40.0 % of the CPU time (--focus ^parse$ --ignore decoder)
  computing    1.20 s  100.0 %
CPU time: of its own, ± standard error; in total
own code   100.0 % ±0.0  100.0 %  parse  /srv/app/parse.py
lines       83.3 % ±3.4   83.3 %  /srv/app/parse.py:20
            16.7 % ±3.4   16.7 %  /srv/app/parse.py:21
"""

PARSE_TREE = """\
  total    self  call tree of the CPU time, what is below 1 % folded
100.0 %          <module>  /srv/app/main.py
100.0 %          serve  /srv/app/main.py
100.0 % 100.0 %  parse  /srv/app/parse.py
"""

LINES_TREE = """\
  total    self  call tree of the CPU time, what is below 1 % folded
 66.0 %          ├─<module>  /srv/app/main.py:90
 66.0 %   0.3 %  │ serve  /srv/app/main.py:12
 53.3 %  33.3 %  │ ├─parse  /srv/app/parse.py:20
 20.0 %  20.0 %  │ │ JSONDecoder.decode  json/decoder.py:30
  6.7 %   6.7 %  │ ├─parse  /srv/app/parse.py:21
  5.0 %          │ └─index  /srv/app/main.py:40
  5.0 %   5.0 %  │   dot  numpy/core.py:77
 33.3 %  33.3 %  └─job  /srv/app/main.py:60
"""

NOTHING = """\
shown: 0.0 % of the CPU time (--focus nothing)
No CPU time was recorded in any Python function.
300 samples; asked 100 Hz, got 99.34 of threads that ran; 2 missed;
the profiler took 12.0 ms of CPU time (0.40 %); 3.4 MB of memory
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], HEAD + COMPUTING + HOTTEST + NUMBERS + TREE),
        (["--clock", "cpu"], HEAD + COMPUTING + HOTTEST + NUMBERS + TREE),
        (["--sort", "total", "--limit", "2"], HEAD + COMPUTING + BY_TOTAL + NUMBERS + TREE),
        (["--thread", "8"], HEAD + WORKER + NUMBERS + WORKER_TREE),
        (["--focus", "^parse$", "--ignore", "decoder"], HEAD + PARSE + NUMBERS + PARSE_TREE),
        (["--lines"], HEAD + COMPUTING + HOTTEST + NUMBERS + LINES_TREE),
        (["--focus", "nothing"], HEAD + NOTHING),
    ],
    ids=" ".join,
)
def test_the_report(profile_path, arguments, expected):
    assert report(profile_path, *arguments) == expected


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("/usr/lib/python3.12/json/decoder.py", "json/decoder.py"),
        ("/srv/.venv/lib64/python3.12/site-packages/numpy/core.py", "numpy/core.py"),
        ("/usr/lib/python3/dist-packages/apt/cache.py", "apt/cache.py"),
        (r"C:\Python312\Lib\json\decoder.py", r"json\decoder.py"),
        (r"C:\uv\cpython-3.11.9-windows-x86_64-none\Lib\os.py", "os.py"),
        (r"D:\a b\.venv\Lib\site-packages\numpy\core.py", r"numpy\core.py"),
        (r"C:\srv\lib\x.py", r"C:\srv\lib\x.py"),
        ("/srv/lib/python", "/srv/lib/python"),
        ("/srv/site-packages", "/srv/site-packages"),
        ("<string>", "<string>"),
        (os.path.join(os.getcwd(), "app", "main.py"), os.path.join("app", "main.py")),
    ],
)
def test_a_place_is_short_whatever_system_it_is_of(filename, shown):
    assert _report.place(filename, 0) == shown
    assert _report.place(filename, 7) == f"{shown}:7"


def test_a_limit_of_0_shows_all(profile_path):
    shown = report(profile_path, "--limit", "0").splitlines()
    assert "             0.0 %        66.0 %  <module>  /srv/app/main.py" in shown
    assert "             0.3 % ±0.3   66.0 %  /srv/app/main.py:12" in shown


@pytest.mark.parametrize("columns", [48, 66, 80, 200])
def test_no_line_is_wider_than_the_terminal(profile_path, columns):
    shown = report(profile_path, columns=columns).splitlines()
    assert max(map(len, shown)) <= columns
    # Names are kept, places cut before them.
    assert any("JSONDecoder" in line for line in shown)
    assert ("/srv/app/parse.py:20" in "\n".join(shown)) == (columns >= 60)


def test_wide_characters_take_two_columns(tmp_path):
    path = tmp_path / "wide.collapsed"
    path.write_text(collapsed({f"MainThread;{'長' * 60} (a.py:1)": 10**9}), encoding="utf-8")
    for line in report(path).splitlines():
        assert len(line) + line.count("長") <= 80
    assert "長" * 22 + "…" in report(path)


def test_what_would_move_the_cursor_is_escaped(tmp_path):
    path = tmp_path / "hostile.collapsed"
    path.write_text(collapsed({"MainThread;\\x{1b}[2Jf\u202e (a.py:1)": 10**9}), encoding="utf-8")
    shown = report(path)
    assert "\\x1b[2Jf\\u202e  a.py" in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_a_terminal_that_only_knows_ascii(profile_path):
    shown = report(profile_path, env={"PYTHONIOENCODING": "ascii"})
    assert shown.isascii()
    assert " 60.0 %  40.0 %  | |-parse  /srv/app/parse.py" in shown.splitlines()
    assert "own code    40.0 % +-2.8  60.0 %  parse  /srv/app/parse.py" in shown.splitlines()


def test_a_file_that_says_no_interval_has_no_errors(tmp_path):
    path = tmp_path / "other.collapsed"
    path.write_text(collapsed({"main (a.py:3);f (b.py:4)": 30, "main (a.py:3)": 10}, header=None), encoding="utf-8")
    expected = """\
40 ns, 1 thread
  waiting     40 ns  100.0 %  most in f (b.py:4)
wall time: of its own, ± standard error; in total
own code    75.0 %        75.0 %  f  b.py
            25.0 %       100.0 %  main  a.py
lines       75.0 %        75.0 %  b.py:4
            25.0 %       100.0 %  a.py:3
2 samples; none dropped, missed, truncated or torn

  total    self  call tree of the wall time, what is below 1 % folded
100.0 %  25.0 %  main  a.py
 75.0 %  75.0 %  f  b.py
"""
    assert report(path) == expected


def test_speedscope_keeps_both_clocks(profile_path):
    profile = spprof.Profile.load(profile_path)
    path = profile_path.with_name("a.speedscope.json")
    profile.save(path, lines=True)
    shown = report(path)
    assert shown.startswith(HEAD + COMPUTING + HOTTEST)


def test_lines_of_files_that_are_still_as_they_were(tmp_path):
    source = tmp_path / "source.py"
    source.write_text("first\n    second = 'é'\n", encoding="latin-1")
    path = tmp_path / "a.collapsed"
    path.write_text(collapsed({f"MainThread;f ({source}:2)": 10**9}), encoding="utf-8")
    profile = spprof.Profile.load(path)
    end = profile.end_time.timestamp()
    os.utime(source, (end - 10, end - 10))
    assert "lines      100.0 % ±0.0  100.0 %  source.py:2  second = '\ufffd'" in report(path).splitlines()
    os.utime(source, (end + 10, end + 10))
    assert "lines      100.0 % ±0.0  100.0 %  source.py:2" in report(path).splitlines()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--thread", "nobody"], 'no thread is called "nobody"; there are: "MainThread" (7), "worker" (8)'),
        (["--focus", "("], "'(' is not a regular expression"),
        (["--ignore", "*"], "'*' is not a regular expression"),
        (["--clock", "moon"], "moon"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_shown_is_one_sentence(profile_path, arguments, sentence):
    command = [sys.executable, "-m", "spprof", "report", profile_path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert sentence in done.stderr


def on_a_terminal(path, **more):
    """What a report writes to a terminal of 80 columns."""
    pty = pytest.importorskip("pty", reason="there is no terminal to be had here")
    controller, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    environment.update({"TERM": "xterm", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}, **more)
    command = [sys.executable, "-m", "spprof", "report", path]
    process = subprocess.Popen(command, stdout=terminal, env=environment)
    os.close(terminal)
    written = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(controller)
    assert process.wait() == 0
    return written.decode().replace("\r\n", "\n")


def test_colours_on_a_terminal_only(profile_path):
    plain = HEAD + COMPUTING + HOTTEST + NUMBERS + TREE
    coloured = on_a_terminal(profile_path)
    assert "\x1b[31m" in coloured
    assert "\x1b[32mparse\x1b[0m" in coloured
    assert re.sub("\x1b\\[[0-9]+m", "", coloured) == plain
    assert on_a_terminal(profile_path, NO_COLOR="1") == plain
    assert on_a_terminal(profile_path, TERM="dumb") == plain


def test_memory_that_runs_out_is_one_sentence(profile_path, monkeypatch, capsys):
    def refuse(path):
        raise MemoryError(f"There is no memory to read {path}")

    monkeypatch.setattr(_files, "load", refuse)
    assert cli.main(["report", str(profile_path)]) == 1
    assert capsys.readouterr().err == f"spprof report: There is no memory to read {profile_path}\n"
