"""`spprof diff` and `spprof merge`, and what they stand on in Python."""

import json
import math
import os
import subprocess
import sys

import pytest
import spprof
from support import run_python

HEADER = {"interval_ns": 10_000_000, "lines": True, "views": [{"clock": "cpu", "thread": None}]}

BEFORE = {
    "main (/srv/app.py:90);f (/srv/app.py:10)": 50_000,
    "main (/srv/app.py:90);g (/srv/app.py:20)": 40_000,
    "main (/srv/app.py:90);h (/srv/app.py:30)": 30_000,
    "main (/srv/app.py:90);gone (/srv/app.py:40)": 2_000,
    "main (/srv/app.py:90);small (/srv/app.py:50)": 10,
}
AFTER = {
    **BEFORE,
    "main (/srv/app.py:90);g (/srv/app.py:20)": 48_000,
    "main (/srv/app.py:90);new (/srv/app.py:45)": 3_000,
}
del AFTER["main (/srv/app.py:90);gone (/srv/app.py:40)"]


def write(path, samples, header=HEADER):
    """A file in which each of these stacks has so many samples."""
    lines = [] if header is None else ["#spprof:" + json.dumps(header)]
    lines += [f"{stack} {count * 10_000_000}" for stack, count in samples.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "before.collapsed", BEFORE)
    write(tmp_path / "after.collapsed", AFTER)
    return tmp_path


def run(*arguments, cwd):
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "spprof", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


DIFFERENCES = """\
CPU time: 1220 s before, 1310 s after; 122010 and 131010 samples
times after are divided by 1.000: so most functions stand still

Changed by more than 3 %, each and all with 99 % confidence:
  before    after   change ±95 %     sure in total  function
   400 s    480 s  +20.0 % ±2.6    >99.9%  +20.0 %  g  /srv/app.py
    0 ns   30.0 s      new         >99.9%      new  new  /srv/app.py
  20.0 s     0 ns     gone         >99.9% -100.0 %  gone  /srv/app.py

Not certain, the largest of them:
  before    after   change ±95 %     sure in total  function
   500 s    500 s   +0.0 % ±2.1      0.0%   +0.0 %  f  /srv/app.py
   300 s    300 s   +0.0 % ±2.3      0.0%   +0.0 %  h  /srv/app.py
"""


def test_the_differences(folder):
    done = run("diff", "before.collapsed", "after.collapsed", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == DIFFERENCES


def test_a_profile_does_not_differ_from_itself(folder):
    done = run("diff", "before.collapsed", "before.collapsed", "--fail-over", "0", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No function changed by more than 3 %, as far as the samples can tell." in done.stdout
    assert done.stdout.endswith("No function grew by more than 0 % for certain.\n")


def test_failing_over_a_growth(folder):
    done = run("diff", "before.collapsed", "after.collapsed", "--fail-over", "5%", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    last = "Failed: 2 functions grew by more than 5 %: g (+20.0 %), new (new)"
    assert done.stdout.splitlines()[-1] == last
    # The other way around the same function shrank, and another one is new.
    done = run("diff", "after.collapsed", "before.collapsed", "--fail-over", "5", cwd=folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        1,
        "Failed: 1 function grew by more than 5 %: gone (new)",
    )
    write(folder / "slower.collapsed", {**BEFORE, "main (/srv/app.py:90);g (/srv/app.py:20)": 48_000})
    for limit, status in (("15%", 1), ("25%", 0)):
        done = run("diff", "before.collapsed", "slower.collapsed", "--fail-over", limit, cwd=folder)
        assert (done.returncode, done.stderr) == (status, "")


def test_per_unit(folder):
    write(folder / "twice.collapsed", {stack: 2 * count for stack, count in BEFORE.items()})
    done = run("diff", "before.collapsed", "twice.collapsed", cwd=folder)
    assert "times after are divided by 2.000: so most functions stand still" in done.stdout
    assert "No function changed" in done.stdout
    done = run("diff", "before.collapsed", "twice.collapsed", "--per-unit", "100", "200", cwd=folder)
    assert "times after are divided by 2: per unit of work" in done.stdout
    assert "No function changed" in done.stdout
    done = run("diff", "before.collapsed", "twice.collapsed", "--per-unit", "1", "1", "--fail-over", "5", cwd=folder)
    assert done.returncode == 1
    assert "4 functions grew by more than 5 %: f (+100.0 %)" in done.stdout


def test_the_page(folder):
    done = run("diff", "before.collapsed", "after.collapsed", "-o", "diff.html", cwd=folder)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", DIFFERENCES)
    page = (folder / "diff.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<p>3 of 5 functions changed for certain.</p>" in page
    assert "<title>main (/srv/app.py)\n" in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["diff", "before.collapsed"], "B"),
        (["diff", "before.collapsed", "absent"], "absent cannot be read"),
        (["diff", "before.collapsed", "other.collapsed"], "other.collapsed does not say at what interval"),
        (["diff", "before.collapsed", "after.collapsed", "--per-unit", "0", "1"], "'0' is not a number above 0"),
        (["diff", "before.collapsed", "after.collapsed", "--per-unit", "nan", "1"], "'nan' is not a number above 0"),
        (["diff", "before.collapsed", "after.collapsed", "--fail-over", "x%"], "'x%' is not a percentage"),
        (["diff", "before.collapsed", "after.collapsed", "--at-least", "-1"], "'-1' is not a percentage"),
        (["diff", "before.collapsed", "after.collapsed", "-o", "x.svg"], "a name that ends in .html: not x.svg"),
        (["diff", "before.collapsed", "after.collapsed", "-o", "absent/x.html"], "absent/x.html cannot be written"),
        (["merge", "before.collapsed"], "-o"),
        (["merge", "before.collapsed", "absent", "-o", "c.json"], "absent cannot be read"),
        (["merge", "before.collapsed", "-o", "absent/c.json"], "absent/c.json cannot be written"),
        (["merge", "before.collapsed", "-o", "c", "--format", "svgz"], "svgz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_one_sentence(folder, arguments, sentence):
    write(folder / "other.collapsed", {"f": 5}, header=None)
    done = run(*arguments, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert sentence in done.stderr


def test_diff_in_python(folder):
    before, after = (spprof.Profile.load(folder / name) for name in ("before.collapsed", "after.collapsed"))
    difference = before.diff(after)
    assert (difference.clock, round(difference.scale, 3)) == ("cpu", 1.0)
    assert (difference.before_ns, difference.after_ns) == (before.time_ns(), after.time_ns())
    changes = {row.function_name: row for row in difference.changes}
    assert list(changes) == ["g", "new", "gone"]
    g = changes["g"]
    assert (g.filename, g.origin, g.is_certain) == ("/srv/app.py", "own code", True)
    assert (g.self_before_ns, g.self_after_ns) == (400_000_000_000, 480_000_000_000)
    assert (g.total_before_ns, g.total_after_ns) == (400_000_000_000, 480_000_000_000)
    assert g.ratio_low < 1.2 < g.ratio_high
    assert g.confidence > 0.99
    assert (changes["new"].ratio, changes["gone"].ratio) == (math.inf, 0.0)
    # `small` is left out, and `main` has no time of its own.
    assert {row.function_name for row in difference.functions} == {"f", "g", "h", "new", "gone"}
    assert before.diff(after, at_least=0.25, units=(1, 1)).changes[0].function_name != "g"
    assert "3 changed" in repr(difference)
    for wrong in ({"units": (0, 1)}, {"units": (1, math.inf)}, {"at_least": -0.1}, {"clock": "moon"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            before.diff(after, **wrong)


def test_merge_in_python_and_on_the_command_line(tmp_path):
    totals = {}
    for pid, weight in ((17, 3), (18, 4)):
        threads = [{"name": "MainThread", "native_id": pid, "is_main": True}]
        header = {**HEADER, "pid": pid, "thread_roots": True, "threads": threads, "samples": weight, "dropped": 1}
        write(tmp_path / f"{pid}.collapsed", {"MainThread;main (a.py:1);f (a.py:5)": weight}, header)
        totals[pid] = weight * 10_000_000
    one, two = (spprof.Profile.load(tmp_path / f"{pid}.collapsed") for pid in (17, 18))
    merged = one.merge(two)
    assert [(thread.name, thread.cpu_ns) for thread in merged.threads] == [
        ("MainThread (pid 17)", totals[17]),
        ("MainThread (pid 18)", totals[18]),
    ]
    assert merged.time_ns() == sum(totals.values())
    assert (merged.counters["samples"], merged.counters["dropped"]) == (7, 2)
    assert one.merge().time_ns() == one.time_ns()

    done = run("merge", "17.collapsed", "18.collapsed", "-o", "all.speedscope.json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    loaded = spprof.Profile.load(tmp_path / "all.speedscope.json")
    assert [(thread.name, thread.cpu_ns) for thread in loaded.threads] == [
        (thread.name, thread.cpu_ns) for thread in merged.threads
    ]
    with pytest.raises(TypeError):
        one.merge(3)


ROUNDS = """
import sys
import spprof
def first(rounds):
    total = 0
    for number in range(rounds):
        total += number % 7
    return total
def second(rounds):
    total = 0
    for number in range(rounds):
        total += number % 5
    return total
def third(rounds):
    total = 0
    for number in range(rounds):
        total += number % 3
    return total
def fourth(rounds):
    total = 0
    for number in range(rounds):
        total += number % 9
    return total
slow = int(sys.argv[2])
spprof.start(interval_ms=1, output_path=sys.argv[1])
# Until there is enough to tell: a busy machine takes longer, and gives each run as many rounds as it can. It is not asked often,
# so that the asking is not a function that has samples enough to be compared.
while spprof.stats().collected_samples < 2_500:
    for _ in range(10):
        first(20_000)
        second(20_000 * slow)
        third(20_000)
        fourth(20_000)
spprof.stop()
"""


def test_a_real_function_that_became_slower(tmp_path):
    (tmp_path / "rounds.py").write_text(ROUNDS)
    for name, slow in (("a", 1), ("b", 1), ("slower", 3)):
        run_python(tmp_path / "rounds.py", tmp_path / f"{name}.json", slow)
    # That one takes three times as long is far beyond what other programs on the machine do to its share.
    done = run("diff", "a.json", "slower.json", "--at-least", "30%", "--fail-over", "30%", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert "Failed: 1 function grew by more than 30 %: second (" in done.stdout
    done = run("diff", "a.json", "b.json", "--at-least", "30%", "--fail-over", "30%", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "No function changed by more than 30 %" in done.stdout
