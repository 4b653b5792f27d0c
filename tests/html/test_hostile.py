"""Names, depths and sizes that break careless pages."""

import profiles
import pytest
from test_report import frames, rows, settle, text

HARD_NAMES = [
    "",
    " ",
    "</script><script>window.hacked = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.hacked = 1'>",
    "\"double\" 'single' `back` \\ & &amp; ${1}",
    "\u202eright to left\u202c",
    "שלום עולם",
    "\U0001f40d\U0010ffff",
    "line\nend\u2028and\u0000zero",
    "長" * 10_000,
    "x" * 10_000,
    "__proto__",
    "constructor",
]


def test_names(page, tmp_path):
    recording = profiles.Recording()
    stacks = [[recording.frame(name, name, 3, 2)] for name in HARD_NAMES]
    for name in HARD_NAMES:
        recording.thread(name, [(stack, 1, 1) for stack in stacks])
    report = profiles.write(recording, tmp_path / "report.html", argv=HARD_NAMES)
    page.open(report)
    assert page.run("spprof.data.functions.name.slice(1)") == HARD_NAMES
    assert page.run("typeof window.hacked") == "undefined"
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    shown = [row[0] for row in rows(page)]
    assert "</script><script>window.hacked = 1</script>" in shown
    assert r"\u{202e}right to left\u{202c}" in shown
    assert r"line\u{a}end\u{2028}and\u{0}zero" in shown
    assert "(no name)" in shown
    assert "שלום עולם" in shown
    assert "x" * 199 + "…" in shown
    # Looking at each: the flame graph, the details, the list of threads.
    for number in range(len(HARD_NAMES)):
        page.run(f"document.querySelectorAll('#functions-body .name')[{number}].click()")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        page.run(f"spprof.setThread({number})")
        settle(page)
    page.run("spprof.setThread(-1)")
    page.press("/")
    page.write("script")
    page.until("document.querySelector('#found').textContent !== ''")
    assert len(rows(page)) == 2
    assert page.run("typeof window.hacked") == "undefined"


def test_a_very_deep_stack(page, tmp_path):
    recording = profiles.Recording()
    deep = [recording.frame(f"f{number % 7}", "/srv/deep.py", number + 1, number + 1) for number in range(5000)]
    recording.thread("MainThread", [(deep, 10, 10), (deep[:2500], 10, 10)], is_main=True)
    page.open(profiles.write(recording, tmp_path / "report.html"))
    assert page.run("spprof.flame.levels") == 5001
    assert all_rows_sum(page) == 20
    # To its end, and back to its root; the one box scrolls, not the page.
    page.run("spprof.flame.zoom(spprof.flame.levelStart[5000])")
    assert page.run("spprof.flame.frameAt(50, spprof.flame.box.clientHeight - 25)") > 0
    assert page.run("spprof.flame.box.scrollTop") > 90_000
    page.click("#flip")
    page.click("#zoom-reset")
    assert text(page, "#status").startswith("All threads: 20.0 ms")


def all_rows_sum(page):
    """The self time of all functions, ms."""
    return sum(row[1] for row in rows(page))


def test_nothing_was_recorded(page, tmp_path):
    page.open(profiles.write(profiles.Recording(), tmp_path / "report.html"))
    assert text(page, "#functions-body") == "No function was seen."
    assert text(page, "#numbers-short") == "0 samples · none missed"
    assert frames(page) == [["All threads", 0, 100]]
    for key in ["f", "c", "t", "0", "/", "Escape", "Escape"]:
        page.press(key)
    page.run("document.querySelector('#flame').focus()")
    for key in ["ArrowDown", "ArrowUp", "Enter", "+"]:
        page.press(key)


def test_a_thread_that_was_only_outside_python(page, tmp_path):
    recording = profiles.Recording()
    recording.thread("MainThread", [([], 10, 4)], is_main=True)
    page.open(profiles.write(recording, tmp_path / "report.html"))
    assert text(page, "#status") == "All threads: 4.00 ms, 1 samples, 4.00 ms of it without a Python function"
    assert rows(page) == []


@pytest.mark.parametrize("count", [1, 300])
def test_many_threads(page, tmp_path, count):
    recording = profiles.Recording()
    stack = [recording.frame("f", "/srv/app.py", 2, 1)]
    for number in range(count):
        recording.thread(f"thread-{number}", [(stack, 10, 10)])
    page.open(profiles.write(recording, tmp_path / "report.html"))
    assert rows(page) == [["f", 10 * count, 10 * count, count]]
    assert page.run("document.querySelectorAll('#thread option').length") == count + 1
    assert page.run("document.querySelectorAll('#lane-labels button').length") == min(count, 200)
