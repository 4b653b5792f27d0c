"""`go tool pprof` reads our pprof files and comes to the same numbers."""

import re
import subprocess

import pytest
from conftest import totals_by_name


@pytest.fixture(scope="module")
def path(profile, tmp_path_factory):
    path = tmp_path_factory.mktemp("pprof") / "profile.pb.gz"
    profile.save(path)
    return path


def pprof(*arguments):
    """What `go tool pprof` prints."""
    command = ["go", "tool", "pprof", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("clock", ["cpu", "wall"])
def test_top_agrees_to_the_nanosecond(profile, path, clock):
    exact = ["-nodecount=0", "-nodefraction=0", "-edgefraction=0", "-unit=ns", f"-sample_index={clock}"]
    shown = pprof("-top", *exact, path)
    rows = re.findall(r"^ *(\d+)(?:ns)? +[\d.]+% +[\d.]+% +(\d+)(?:ns)? +[\d.]+% +(.+)$", shown, re.MULTILINE)
    flat, cumulative = {}, {}
    for own, whole, name in rows:
        name = name.replace(" (inline)", "")
        flat[name] = flat.get(name, 0) + int(own)
        cumulative[name] = int(whole)
    assert {name: ns for name, ns in flat.items() if ns} == {
        name: ns for name, ns in totals_by_name(profile, clock).items() if ns
    }
    # It puts functions of one name together, so their totals are not the sum of ours.
    unique = [row.function_name for row in profile.top(None)]
    recorded = totals_by_name(profile, clock, whole=True)
    compared = {name: ns for name, ns in recorded.items() if ns and unique.count(name) == 1}
    assert compared == {name: ns for name, ns in cumulative.items() if name in compared}
    assert {"leaf", "recursive", "work"} <= {name.rsplit(".", 1)[-1] for name in compared}


def test_every_sample_is_there(profile, path):
    shown = pprof("-raw", path)
    types = re.search(r"^Samples:\n(.*)$", shown, re.MULTILINE).group(1).split()
    assert types[:3] == ["samples/count", "cpu/nanoseconds[dflt]", "wall/nanoseconds"]
    samples = shown[shown.index("\nSamples:\n") : shown.index("\nLocations\n")]
    rows = re.findall(r"^((?: +\d+)+):", samples, re.MULTILINE)
    sums = [sum(column) for column in zip(*(map(int, row.split()) for row in rows))]
    assert sums[:3] == [
        profile.sample_count,
        sum(thread.cpu_ns for thread in profile.threads),
        sum(thread.wall_ns for thread in profile.threads),
    ]
    assert "thread:[worker; with = signs]" in shown
    assert re.search(r"state:\[on-cpu,gil", shown)
    assert f"Period: {int(profile.interval_ms * 1e6)}" in shown


def test_traces_and_comments(profile, path):
    traces = pprof("-traces", "-sample_index=cpu", path)
    assert re.search(r"leaf\n +.*recursive\n +.*recursive\n", traces)
    comments = pprof("-comments", path)
    assert f"{profile.sample_count} samples in" in comments


def test_what_go_writes_again_is_read(profile, path, tmp_path):
    import spprof

    again = tmp_path / "again.pb.gz"
    pprof("-proto", f"-output={again}", path)
    back = spprof.Profile.load(again)
    for clock in ("cpu", "wall"):
        assert totals_by_name(back, clock, whole=True) == totals_by_name(profile, clock, whole=True)
    assert {thread.name for thread in back.threads} == {thread.name for thread in profile.threads}
