"""Parts, lines, calls and activities of a profile, in Python."""

import html
import re
import threading

import pytest
import spprof
from handwritten import DECODER, PACKAGE, STACKS, collapsed
from support import CPU_CLOCK_STEP_NS, Parking, in_thread, spin


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "a.collapsed"
    path.write_text(collapsed(STACKS), encoding="utf-8")
    return spprof.Profile.load(path)


def test_time_and_rate(profile):
    assert profile.time_ns() == profile.time_ns("cpu") == 3_000_000_000
    assert profile.time_ns("wall") == 0
    assert profile.running_rate_hz == pytest.approx(100 * 300 / 302)
    with pytest.raises(ValueError, match="clock must be"):
        profile.time_ns("moon")


def test_functions_have_their_origin_and_errors(profile):
    rows = {row.function_name: row for row in profile.top(None)}
    assert {name: row.origin for name, row in rows.items()} == {
        "<module>": "own code",
        "serve": "own code",
        "parse": "own code",
        "index": "own code",
        "job": "own code",
        "JSONDecoder.decode": "standard library",
        "dot": "library",
    }
    # 300 samples of equal weight.
    assert rows["parse"].self_error == pytest.approx((0.4 * 0.6 / 300) ** 0.5)
    assert rows["parse"].total_error == pytest.approx((0.6 * 0.4 / 300) ** 0.5)


def test_lines(profile):
    hottest = [(row.filename, row.lineno, row.function_name, row.self_ns, row.total_ns) for row in profile.lines(2)]
    assert hottest == [
        ("/srv/app/parse.py", 20, "parse", 1_000_000_000, 1_600_000_000),
        ("/srv/app/main.py", 60, "job", 1_000_000_000, 1_000_000_000),
    ]
    (line,) = [row for row in profile.lines(None) if row.filename == DECODER]
    assert (line.origin, line.self_samples, line.total_samples) == ("standard library", 60, 60)
    assert line.self_error == pytest.approx((0.2 * 0.8 / 300) ** 0.5)
    assert profile.lines(clock="wall")[0].self_ns == 0


def test_calls(profile):
    shown = [
        (call.level, call.function_name, call.self_ns // 10**7, call.total_ns // 10**7) for call in profile.calls()
    ]
    assert shown == [
        (1, "<module>", 0, 198),
        (1, "serve", 1, 198),
        (2, "parse", 120, 180),
        (2, "JSONDecoder.decode", 60, 60),
        (2, "index", 2, 17),
        (2, "dot", 15, 15),
        (1, "job", 100, 100),
    ]
    two = profile.calls(limit=2)
    assert [(call.function_name, call.folded_calls, call.folded_ns) for call in two] == [
        ("<module>", 0, 0),
        ("serve", 2, 1_970_000_000),
    ]
    lines = [(call.filename, call.lineno) for call in profile.calls(lines=True, min_share=0.2)]
    assert lines == [
        ("/srv/app/main.py", 90),
        ("/srv/app/main.py", 12),
        ("/srv/app/parse.py", 20),
        (DECODER, 30),
        ("/srv/app/main.py", 60),
    ]


def test_filter(profile):
    def names(part):
        return {frame.function_name for stack in part.aggregate() for frame in stack.frames}

    assert names(profile.filter(thread="worker")) == names(profile.filter(thread=8)) == {"job"}
    assert names(profile.filter(focus="^dot$")) == {"<module>", "serve", "index", "dot"}
    assert names(profile.filter(focus=re.compile("^DOT$", re.IGNORECASE), trim=True)) == {"dot"}
    # Files are searched as well as names.
    assert profile.filter(focus="numpy").time_ns() == 150_000_000
    assert profile.filter(focus=re.escape(PACKAGE), ignore="serve").time_ns() == 0
    inside, outside = profile.filter(focus="parse"), profile.filter(ignore="parse")
    assert inside.time_ns() + outside.time_ns() == profile.time_ns()
    assert inside.sample_count + outside.sample_count == profile.sample_count
    assert (inside.counters["missed_ticks"], inside.counters["samples"]) == (2, 180)
    with pytest.raises(ValueError, match='no thread is called "nobody"; there are: "MainThread" \\(7\\)'):
        profile.filter(thread="nobody")
    with pytest.raises(re.error):
        profile.filter(focus="(")


def test_what_cannot_be_made_and_what_it_looks_like(profile):
    for value in (profile.lines(1)[0], profile.calls()[0], profile.activities()[0]):
        assert repr(value).startswith(type(value).__name__)
        with pytest.raises(AttributeError):
            value.new = 1
    assert profile.calls() == profile.calls()


def test_where_threads_wait():
    parking = Parking()
    thread = threading.Thread(target=parking.park, name="parked")
    with spprof.Profiler(interval_ms=2) as profiler:
        thread.start()
        parking.wait_until_parked()
        in_thread(lambda: spin(0.2))
        parking.leave()
        thread.join()
    parking.close()
    part = profiler.profile.filter(thread="parked")
    activities = {row.activity: row for row in part.activities()}
    blocked = activities["blocked"]
    # The thread was parked for as long as the other one ran at least; what it waited for before that is elsewhere.
    assert blocked.place_ns >= 0.9 * 200e6
    assert blocked.time_ns >= blocked.place_ns
    assert blocked.own_place.filename == __file__.replace("test_views.py", "support.py")
    assert blocked.own_place == blocked.place
    assert blocked.place.function_name.endswith("park")
    whole = {row.activity: row.time_ns for row in profiler.profile.activities()}
    assert whole["computing"] == profiler.profile.time_ns("cpu")
    wall_ns = profiler.profile.time_ns("wall")
    # All that goes beyond the wall clock is CPU time that the thread's clock shows late, in a sample that lasted less.
    late_ns = sum(max(sample.cpu_ns - sample.wall_ns, 0) for sample in profiler.profile.samples)
    assert wall_ns <= sum(whole.values()) <= wall_ns + late_ns
    # In Wine, where clocks go in steps and a thread that is suspended works for that, it can be much.
    if CPU_CLOCK_STEP_NS == 0:
        assert sum(whole.values()) == pytest.approx(wall_ns, rel=0.02)


def test_a_cell_of_a_notebook_shows_the_page_shut_off(profile, tmp_path):
    shown = profile._repr_html_()
    start, end = '<iframe sandbox="allow-scripts" ', '"></iframe>'
    assert shown.startswith(start)
    assert shown.endswith(end)
    # Nothing in the page ends the attribute that it is in, and the page is whole.
    page = shown[len(start) : -len(end)].partition('srcdoc="')[2]
    assert '"' not in page
    profile.save(tmp_path / "a.html")
    assert html.unescape(page) == (tmp_path / "a.html").read_text(encoding="utf-8")
