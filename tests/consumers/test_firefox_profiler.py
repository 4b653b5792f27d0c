"""Firefox Profiler's own code, as its command line, loads our files and comes to the same numbers.

It upgrades a file to its newest version before it shows anything, which fails on a table or a column that is missing.
"""

import json
import os
import subprocess

import pytest
from conftest import totals_by_name

NODE_MODULES = os.environ.get("SPPROF_NODE_MODULES", "node_modules")
#: Debian's Node is too old for it; `tools/test.py` installs one beside it.
NODE = os.path.join(NODE_MODULES, ".bin", "node")
PROFILER = os.path.join(NODE_MODULES, "@firefox-devtools", "profiler-cli", "dist", "profiler-cli.js")


class Viewer:
    """The profiler with one file open."""

    def __init__(self, folder):
        self.environment = {**os.environ, "PROFILER_CLI_SESSION_DIR": str(folder)}

    def load(self, path):
        """Opens a file. On a busy machine its server may miss the half second that it gives itself to start."""
        done = self.run("load", path)
        for _ in range(20):
            if "did not become ready" not in done.stderr:
                break
            done = self.run("load", path)
        return done

    def run(self, *arguments):
        command = [NODE, PROFILER, *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def ask(self, *arguments):
        """What it answers, as JSON."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def viewer(tmp_path):
    viewer = Viewer(tmp_path / "sessions")
    yield viewer
    viewer.run("stop", "--all")


@pytest.fixture(params=["wall", "cpu"])
def opened(request, profile, viewer, tmp_path):
    """The profile as it is shown on one of the clocks."""
    profile.save(tmp_path / "profile.firefox.json", clock=request.param)
    done = viewer.load(tmp_path / "profile.firefox.json")
    assert done.returncode == 0, done.stderr
    return request.param


def test_functions_and_threads_agree(profile, viewer, opened):
    threads = viewer.ask("thread", "list")["threads"]
    # Those that no sample shows would be empty tracks.
    recorded = {str(thread.native_id): thread for thread in profile.threads if thread.sample_count}
    assert {thread["tid"]: thread["name"] for thread in threads} == {tid: each.name for tid, each in recorded.items()}
    own, whole = {}, {}
    for thread in threads:
        # No processor is taken to be more than busy between two samples, or in the interval before the first one: what comes
        # late, with the sample after a wait, may be cut. CPU use is in microseconds, each sample's rounded to one.
        samples = [sample for sample in profile.samples if str(sample.thread_id) == thread["tid"]]
        least_ms = sum(min(sample.cpu_ns, sample.wall_ns) for sample in samples[1:]) / 1e6
        most_ms = sum(sample.cpu_ns for sample in samples) / 1e6
        rounding_ms = 0.001 * len(samples)
        assert least_ms - rounding_ms <= thread["cpuMs"] <= most_ms + rounding_ms
        functions = viewer.ask("thread", "functions", "--include-idle", "--thread", thread["threadHandle"])
        assert functions["weightType"] == "tracing-ms"
        for function in functions["functions"]:
            name = function["name"]
            own[name] = own.get(name, 0) + function["selfSamples"]
            whole[name] = whole.get(name, 0) + function["totalSamples"]
    unique = [row.function_name for row in profile.top(None)]
    compared = 0
    for name, ns in totals_by_name(profile, opened).items():
        assert own.get(name, 0) == pytest.approx(ns / 1e6, abs=1e-6)
        if unique.count(name) == 1:
            expected_ns = totals_by_name(profile, opened, whole=True)[name]
            assert whole.get(name, 0) == pytest.approx(expected_ns / 1e6, abs=1e-6)
            compared += 1
    assert compared >= 5
    assert {name for name, ms in own.items() if ms} <= set(unique)


@pytest.mark.parametrize("opened", ["wall"], indirect=True)
def test_categories_are_the_time_spent_waiting(profile, viewer, opened):
    main = next(thread for thread in profile.threads if thread.is_main)
    shown = viewer.ask("thread", "samples", "--include-idle", "--thread", "t-0")["categoryBreakdown"]
    waited_ns = sum(
        sample.wall_ns
        for sample in profile.samples
        if sample.thread_id == main.native_id and sample.state.startswith("blocked")
    )
    waiting = {category["name"]: category["samples"] for category in shown["categories"]}["Waiting"]
    assert waiting == pytest.approx(waited_ns / 1e6, abs=1e-6)
    assert shown["totalSamples"] == pytest.approx(main.wall_ns / 1e6, abs=1e-6)


def test_who_asks_for_the_recording_gets_the_honest_numbers(profile, viewer, opened):
    shown = viewer.run("profile", "meta").stdout
    assert f"Samples: {profile.sample_count}" in shown
    assert f"Samples lost: {profile.counters['dropped']}" in shown
    assert f"Sampling interval: {profile.interval_ms:g}ms" in shown


def test_a_file_with_a_table_missing_is_refused(profile, viewer, tmp_path):
    """So that it shows that the checks above can fail."""
    profile.save(tmp_path / "profile.firefox.json")
    document = json.loads((tmp_path / "profile.firefox.json").read_text(encoding="utf-8"))
    del document["threads"][0]["frameTable"]["func"]
    (tmp_path / "broken.firefox.json").write_text(json.dumps(document), encoding="utf-8")
    assert viewer.load(tmp_path / "broken.firefox.json").returncode != 0
