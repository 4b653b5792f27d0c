"""Files of every format: saved, loaded, converted; cut short and hostile ones."""

import gzip
import marshal
import os
import pstats
import re
import subprocess
import sys
import threading
import warnings

import pytest
import spprof
from spprof import _native, cli
from support import spin

FORMATS = {name: extensions for name, extensions, _, _ in _native.formats()}
READABLE = [name for name, _, is_readable, _ in _native.formats() if is_readable]


def recurse(depth):
    if depth:
        recurse(depth - 1)
    spin(0.01)


@pytest.fixture(scope="module")
def profile():
    """Two threads, one of which waits, and recursion."""
    done = threading.Event()
    with spprof.Profiler(interval_ms=1) as profiler:
        waiting = threading.Thread(target=done.wait, name="waiting")
        waiting.start()
        spin(0.05)
        recurse(3)
        done.set()
        waiting.join()
    return profiler.profile


def run(*arguments, cwd):
    command = [sys.executable, "-m", "spprof", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def rows(profile, clock="cpu"):
    """What each function took, itself and in all."""
    return sorted(
        (row.function_name, row.filename, row.self_cpu_ns, row.total_cpu_ns, row.self_wall_ns, row.total_wall_ns)
        for row in profile.top(None, clock=clock)
    )


def test_the_names_and_endings():
    assert READABLE == ["speedscope", "collapsed", "spprof", "pprof"]
    assert {"firefox", "svg", "pstats", "callgrind", "chrome"} <= set(FORMATS)
    for name, extensions in FORMATS.items():
        for extension in extensions:
            assert _native.format_of(f"a{extension}") == name
    assert _native.format_of("callgrind.out.12") == "callgrind"
    assert _native.format_of("anything") == "speedscope"
    assert all(opened_by for _, _, _, opened_by in _native.formats())


def test_an_spprof_file_keeps_everything(profile, tmp_path):
    path = tmp_path / "a.spprof"
    profile.save(path)
    back = spprof.Profile.load(path)

    def said(profile):
        samples = [
            (s.timestamp_ns, s.thread_id, s.thread_name, s.frames, s.wall_ns, s.cpu_ns, s.state)
            for s in profile.samples
        ]
        threads = [(t.native_id, t.python_id, t.name, t.is_main, t.sample_count) for t in profile.threads]
        return samples, threads, profile.counters, profile.start_time, profile.end_time, profile.interval_ms

    assert said(back) == said(profile)
    assert len({sample.state for sample in back.samples}) > 1


def test_a_file_that_is_cut_short_is_read_up_to_there_with_a_warning(profile, tmp_path):
    path = tmp_path / "a.spprof"
    profile.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.warns(UserWarning, match=r"a\.spprof: the file is cut short at byte \d+: \d+ samples could be read"):
        back = spprof.Profile.load(path)
    assert back.counters == profile.counters
    report = run("report", "a.spprof", cwd=tmp_path)
    assert report.returncode == 0
    assert re.match(r"spprof: a\.spprof: the file is cut short at byte \d+: ", report.stderr)
    assert len(report.stderr.splitlines()) == 1
    path.write_bytes(content[:20])
    with pytest.raises(ValueError, match="nothing to read"):
        spprof.Profile.load(path)


@pytest.mark.parametrize("source", READABLE)
@pytest.mark.parametrize("target", FORMATS)
def test_convert_between_all_pairs(profile, tmp_path, capsys, source, target):
    profile.save(tmp_path / "source", source)
    original = spprof.Profile.load(tmp_path / "source")
    path = tmp_path / f"target{FORMATS[target][0]}"
    # Not as a process: there are forty pairs.
    assert cli.main(["convert", str(tmp_path / "source"), "-o", str(path)]) == 0
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    losses = original.losses(target)
    assert stderr.splitlines() == [f"spprof convert: {loss}" for loss in losses]
    assert all(re.match(rf"{target} [^.\n]+$", loss) for loss in losses)
    assert path.stat().st_size > 0
    if target in READABLE:
        back = spprof.Profile.load(path)
        clock = "cpu" if original.top()[0].self_cpu_ns else "wall"
        # Functions of one name and file are one in collapsed stacks, and a stack with both counts once for it.
        numbers = [f"{kind}_{clock}_ns" for kind in (("self",) if target == "collapsed" else ("self", "total"))]

        def by_name(profile):
            totals = {}
            for row in profile.top(None):
                of_name = totals.setdefault((row.function_name, row.filename), [0] * len(numbers))
                for position, number in enumerate(numbers):
                    of_name[position] += getattr(row, number)
            return {key: values for key, values in totals.items() if any(values)}

        assert by_name(back) == by_name(original)
    else:
        with pytest.raises(ValueError, match=r"target"):
            spprof.Profile.load(path)


def test_what_a_target_cannot_hold_is_said(profile):
    assert profile.losses("spprof") == []
    losses = profile.losses("collapsed")
    assert losses[0].startswith("collapsed holds one clock: CPU time is written, ")
    assert any("--threads" in loss for loss in losses)
    assert not any("one clock" in loss for loss in profile.losses("collapsed", clock="wall"))
    assert not any("--threads" in loss for loss in profile.losses("collapsed", threads=True))
    with pytest.raises(ValueError, match=r"format must be one of speedscope, collapsed, .*, not \"gif\""):
        profile.losses("gif")


@pytest.mark.parametrize("name", FORMATS)
def test_run_writes_every_format_and_says_what_opens_it(tmp_path, name):
    # Not a clock alone in the loop: under Windows looking at it is a system call, and the thread would be in no other place.
    program = "import time\nuntil = time.thread_time() + 0.2\nwhile time.thread_time() < until: sum(range(20_000))"
    done = run("run", "--interval", "1", "--format", name, "-c", program, cwd=tmp_path)
    assert done.returncode == 0
    where = rf"spprof: the profile is in (.+{re.escape(FORMATS[name][0])}); (.+)\n"
    path, opened_by = re.search(where, done.stderr).groups()
    if name in READABLE:
        assert opened_by == f"`spprof view {path}` shows it"
    else:
        assert opened_by == next(row[3] for row in _native.formats() if row[0] == name)
    (written,) = tmp_path.iterdir()
    assert re.fullmatch(rf"spprof-c-\d+{re.escape(FORMATS[name][0])}", written.name)
    if name in READABLE:
        assert spprof.Profile.load(written).sample_count > 0


def test_pstats_loads_our_files(profile, tmp_path):
    path = tmp_path / "a.pstats"
    profile.save(path, clock="cpu")
    stats = pstats.Stats(str(path)).stats
    recorded = {(row.filename or "~", row.lineno, row.function_name): row for row in profile.top(None)}
    assert set(stats) == set(recorded)
    for key, (primitive, calls, own_s, whole_s, callers) in stats.items():
        row = recorded[key]
        assert primitive == calls == row.total_samples
        assert (own_s, whole_s) == (row.self_cpu_ns / 1e9, row.total_cpu_ns / 1e9)
        # A function that is the outermost of its thread has no caller for that part.
        assert sum(caller[3] for caller in callers.values()) <= whole_s + 1e-9
    (recursion,) = [key for key in stats if key[2] == "recurse"]
    assert recursion in stats[recursion][4]
    assert stats[recursion][4][recursion][3] == 0
    with open(os.devnull, "w") as output:
        pstats.Stats(str(path), stream=output).sort_stats("cumulative").print_stats().print_callers().print_callees()


def test_pstats_loads_a_file_of_nothing(tmp_path):
    spprof.start(interval_ms=1000)
    spprof.pause()
    empty = spprof.stop()
    collapsed = tmp_path / "empty.collapsed"
    collapsed.write_text("")
    for number, profile in enumerate([empty, spprof.Profile.load(collapsed)]):
        path = tmp_path / f"{number}.pstats"
        profile.save(path)
        assert len(pstats.Stats(str(path)).stats) >= 1


def test_a_large_number_is_marshalled_as_python_does(tmp_path):
    (tmp_path / "a.collapsed").write_text("f 5\n")
    profile = spprof.Profile.load(tmp_path / "a.collapsed")
    profile.save(tmp_path / "a.pstats")
    content = (tmp_path / "a.pstats").read_bytes()
    assert marshal.loads(content) == {("~", 0, "f"): (1, 1, 5e-9, 5e-9, {})}


@pytest.mark.parametrize("path", ["absent.json", "absent/below.json", "file/below.json", "."])
def test_a_file_that_cannot_be_read_raises_what_open_raises(tmp_path, path):
    (tmp_path / "file").write_text("")
    raised = []
    for read in (open, spprof.Profile.load):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the two are compared
            read(tmp_path / path)
        raised.append((type(caught.value), caught.value.errno, os.fspath(caught.value.filename)))
    assert raised[0] == raised[1]


def test_files_that_were_not_made_to_be_read_are_one_sentence(tmp_path):
    whole = tmp_path / "whole.pb.gz"
    (tmp_path / "a.collapsed").write_text("f;g 5\n")
    spprof.Profile.load(tmp_path / "a.collapsed").save(whole)
    cases = {
        "cut.pb.gz": whole.read_bytes()[:-12],
        "text.pb.gz": gzip.compress(b'{"a": 1}'),
        "noise.pb.gz": gzip.compress(b"\xff" * 100),
        "bomb.pb.gz": gzip.compress(b"\x9a\x06\x80\x80\x80\x05" + b"\0" * (10 << 20)) * 27,
        "newer.spprof": b"\x89spprof\n\x09\0\0\0",
        "short.spprof": b"\x89spprof\n",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        done = run("report", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), name
        assert re.fullmatch(rf"spprof report: {re.escape(name)}: [^\n]+\n", done.stderr), done.stderr


def test_values_that_are_no_times_are_said(tmp_path):
    """A heap profile as Go writes it: objects and bytes."""

    def field(number, content):
        if isinstance(content, int):
            return bytes([number << 3, content])
        return bytes([number << 3 | 2, len(content)]) + content

    content = b"".join(
        [
            field(1, field(1, 1) + field(2, 2)),
            field(1, field(1, 3) + field(2, 4)),
            field(2, field(1, 1) + field(2, 7) + field(2, 99)),
            field(4, field(1, 1) + field(4, field(1, 1) + field(2, 12))),
            field(5, field(1, 1) + field(2, 5)),
            *(field(6, text) for text in (b"", b"objects", b"count", b"space", b"bytes", b"main.allocate")),
        ]
    )
    (tmp_path / "heap.pb.gz").write_bytes(gzip.compress(content))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        profile = spprof.Profile.load(tmp_path / "heap.pb.gz")
    assert [str(warning.message).split("heap.pb.gz: ")[1] for warning in caught] == [
        "the values space/bytes are shown as if they were nanoseconds of wall time",
        "the values objects/count are left out: a profile here has samples, CPU time and wall time",
    ]
    (row,) = profile.top(clock="wall")
    assert (row.function_name, row.self_wall_ns, row.self_cpu_ns) == ("main.allocate", 99, 0)
