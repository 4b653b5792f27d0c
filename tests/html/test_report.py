"""What the report shows of a profile whose every number is known, and what a person can do with it."""

import json

import profiles
import pytest

MS = profiles.MS

#: The origins, as the legend has them.
KINDS = [
    "own code",
    "library",
    "standard library",
    "native",
    "garbage collector",
    "waiting",
    "waiting for the GIL",
]


def rows(page):
    """The table of functions: name, self, total in ms and samples, as it is sorted."""
    return page.run(
        "Array.from(document.querySelectorAll('#functions-body tr[data-function]'), row => {"
        " const shown = spprof.rows.find(other => other.function === Number(row.dataset.function));"
        " return [row.querySelector('bdi').textContent, shown.own / 1e6, shown.total / 1e6, shown.samples]; })"
    )


def column(page, number):
    """What the table of functions says in one of its columns."""
    cells = f"#functions-body td:nth-child({number})"
    return page.run(f"Array.from(document.querySelectorAll('{cells}'), cell => cell.textContent)")


def table(page, identifier):
    """The cells of a table as text."""
    return page.run(
        f"Array.from(document.querySelectorAll('#{identifier} tbody tr'),"
        " row => Array.from(row.cells, cell => cell.textContent))"
    )


def text(page, selector):
    """What an element says."""
    return page.run(f"document.querySelector({json.dumps(selector)}).textContent")


def frames(page):
    """The frames of the flame graph that have a width: name, level, and the share of the width in view in percent."""
    return page.run(
        "(() => { const f = spprof.flame; const out = [];"
        " for (let frame = 0; frame < f.levelStart[f.levels]; frame++) {"
        " const from = Math.max(f.x[frame], f.from), to = Math.min(f.x[frame] + f.w[frame], f.to);"
        " if (to - from > 1e-12) out.push([f.nameOf(frame), f.levelOf(frame),"
        " Math.round((to - from) / (f.to - f.from) * 1e6) / 1e4]); } return out; })()"
    )


def place_of(page, name):
    """The middle of the first frame of that name."""
    return page.run(
        "(() => { const f = spprof.flame;"
        f" const frame = Array.from({{length: f.levelStart[f.levels]}}, (_, i) => i).find(i => f.nameOf(i) === {json.dumps(name)});"
        " const box = f.box.getBoundingClientRect(); const scale = f.box.clientWidth / (f.to - f.from);"
        " return [box.left + (f.x[frame] + f.w[frame] / 2 - f.from) * scale,"
        " box.top + (f.rowOf(f.levelOf(frame)) + 0.5) * 20 - f.box.scrollTop]; })()"
    )


def settle(page):
    """Waits until the tables show what the flame graph shows."""
    page.until("spprof.table.all === spprof.sums.all && spprof.settled")


def all_ms(page):
    """What the flame graph is of."""
    return page.run("spprof.sums.all") / MS


def select_time(page, start, end):
    """Drags over the lanes between two shares of the recording."""
    left, top, width, height = page.run(
        "(() => { const b = document.querySelector('#lanes').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    y = top + height / 2
    page.drag((left + width * start, y), (left + width * end, y))
    settle(page)


def test_the_functions_and_their_exact_times(page, known):
    page.open(known)
    assert rows(page) == [
        ["fib", 500, 500, 10],
        ["JSONDecoder.parse", 300, 300, 10],
        ["memcpy", 100, 100, 10],
        ["query", 50, 50, 10],
        ["<module>", 0, 850, 30],
        ["work", 0, 350, 20],
        ["Thread.run", 0, 100, 10],
    ]
    assert column(page, 2)[:4] == ["500 ms", "300 ms", "100 ms", "50.0 ms"]
    # √(p (1 − p) / n) with p = 500/950 and n = 40 samples.
    assert column(page, 3)[0] == "52.6 %± 7.9"
    assert text(page, "#status") == "All threads: 950 ms, 40 samples"


def test_every_function_as_the_profile_itself_has_it(page, tmp_path, application):
    profile = profiles.load(profiles.known(str(application)), tmp_path)
    report = tmp_path / "report.html"
    profile.save(str(report))
    page.open(report)
    for number, clock in enumerate(("cpu", "wall")):
        page.click(f"#clocks button:nth-child({number + 1})")
        expected = [
            [
                total.function_name,
                getattr(total, f"self_{clock}_ns") / MS,
                getattr(total, f"total_{clock}_ns") / MS,
            ]
            for total in profile.top(None, clock=clock)
        ]
        assert sorted(row[:3] for row in rows(page)) == sorted(expected)


def test_the_flame_graph(page, known):
    page.open(known)
    assert frames(page) == [
        ["All threads", 0, 100],
        ["<module>", 1, 89.4737],
        ["Thread.run", 1, 10.5263],
        ["fib", 2, 52.6316],
        ["work", 2, 36.8421],
        ["memcpy", 2, 10.5263],
        ["fib", 3, 52.6316],
        ["JSONDecoder.parse", 3, 31.5789],
        ["query", 3, 5.2632],
        ["fib", 4, 52.6316],
    ]


def test_colours_say_whose_code_it_is(page, known):
    page.open(known)
    assert page.run("Array.from(document.querySelectorAll('#legend li'), item => item.textContent)") == KINDS
    # All at once: a canvas that is read again and again is a complaint of the browser's.
    tones = page.run(
        "(() => { const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
        " return spprof.theme.frames.map(tone => { canvas.fillStyle = tone; canvas.fillRect(0, 0, 1, 1);"
        " return Array.from(canvas.getImageData(0, 0, 1, 1).data).join(); }); })()"
    )
    kinds = {"work": 0, "query": 1, "Thread.run": 2, "memcpy": 3}
    left, top, width, height = page.run(
        "(() => { const b = document.querySelector('#flame').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    # Above the text of each frame.
    points = [[x - left, y - top - 8] for x, y in (place_of(page, name) for name in kinds)]
    painted = page.run(
        "(() => { const canvas = document.querySelector('#flame-canvas');"
        f" const {{data}} = canvas.getContext('2d').getImageData(0, 0, {width}, {height}); const row = Math.round({width});"
        f" return {json.dumps(points)}.map(([x, y]) => {{ const at = 4 * (Math.round(y) * row + Math.round(x));"
        " return data.slice(at, at + 4).join(); }); })()"
    )
    for (name, kind), colour in zip(kinds.items(), painted):
        assert colour in tones[3 * kind : 3 * kind + 3], name


def test_search_says_which_share_was_found(page, known):
    page.open(known)
    page.press("/")
    page.write("FIB")
    page.until("document.querySelector('#found').textContent === '52.6 %'")
    assert [row[0] for row in rows(page)] == ["fib"]
    matched = page.run("spprof.data.functions.name.filter((_, i) => spprof.matches[i])")
    assert matched == ["fib"]
    # Files are searched too, and what is below a match is not counted twice.
    page.run("document.querySelector('#search').value = ''")
    page.write("app.py")
    page.until("document.querySelector('#found').textContent === '89.5 %'")
    # Escape goes back by one step each: the numbers are closed, the search stays.
    page.run("document.querySelector('#numbers').open = true")
    page.press("Escape")
    assert page.run("[document.querySelector('#numbers').open, document.querySelector('#search').value]") == [
        False,
        "app.py",
    ]
    page.press("Escape")
    page.until("document.querySelector('#found').textContent === ''")
    assert len(rows(page)) == 7
    page.press("/")
    page.write("no such thing")
    page.until("document.querySelector('#found').textContent === '0.0 %'")
    assert text(page, "#functions-body") == "No function of that name."


def test_a_click_zooms_and_escape_goes_back(page, known):
    page.open(known)
    assert page.run("document.querySelector('#zoom-reset').disabled")
    page.click(place_of(page, "work"))
    assert frames(page) == [
        ["All threads", 0, 100],
        ["<module>", 1, 100],
        ["work", 2, 100],
        ["JSONDecoder.parse", 3, 85.7143],
        ["query", 3, 14.2857],
    ]
    assert text(page, "#status") == "work: total 350 ms (36.8 %), self 0 s"
    assert text(page, "#detail-name") == "work"
    page.press("Escape")
    assert len(frames(page)) == 10
    page.click(place_of(page, "query"))
    assert text(page, "#detail-name") == "query"
    page.click("#zoom-reset")
    assert len(frames(page)) == 10


def test_what_is_zoomed_can_be_moved(page, known):
    page.open(known)
    page.click(place_of(page, "work"))
    before = page.run("[spprof.flame.from, spprof.flame.to]")
    x, y = place_of(page, "JSONDecoder.parse")
    page.drag((x, y), (x - 200, y))
    after = page.run("[spprof.flame.from, spprof.flame.to]")
    assert after[0] > before[0]
    assert after[1] - after[0] == pytest.approx(before[1] - before[0])
    # A drag is no click.
    assert text(page, "#detail-name") == "work"
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200, modifiers=2)
    closer = page.run("[spprof.flame.from, spprof.flame.to]")
    assert closer[1] - closer[0] < after[1] - after[0]


def test_flip_puts_the_root_at_the_bottom(page, known):
    page.open(known)
    _, root_before = place_of(page, "All threads")
    _, leaf_before = place_of(page, "query")
    page.click("#flip")
    _, root = place_of(page, "All threads")
    _, leaf = place_of(page, "query")
    assert root_before < leaf_before
    assert root > leaf
    assert page.run("document.querySelector('#flip').getAttribute('aria-pressed')") == "true"
    page.click(place_of(page, "query"))
    assert text(page, "#detail-name") == "query"


def test_a_range_of_time(page, known):
    page.open(known)
    page.click("#clocks button:nth-child(2)")
    assert all_ms(page) == 1400
    select_time(page, 0.4, 0.9)
    # The main thread alone: the worker's time is over. Pixels are some ms wide, the proportions are not.
    assert all_ms(page) == pytest.approx(500, abs=3)
    names = [row[0] for row in rows(page)]
    assert "memcpy" not in names
    select_time(page, 0.1, 0.3)  # outside: a new one
    assert all_ms(page) == pytest.approx(400, abs=6)
    times = {row[0]: row[2] for row in rows(page)}
    assert times["memcpy"] == pytest.approx(200, abs=3)
    assert times["<module>"] == pytest.approx(200, abs=3)
    assert times["fib"] == pytest.approx(100, abs=3)
    moved = page.run("spprof.selection.range")
    select_time(page, 0.2, 0.5)  # inside: the range itself is moved
    start, end = page.run("spprof.selection.range")
    assert end - start == pytest.approx(moved[1] - moved[0])
    assert start == pytest.approx(0.4 * 1e9, abs=6e6)
    page.click("#range-clear")
    settle(page)
    assert all_ms(page) == 1400
    assert text(page, "#range-text") == "Drag to look at a range of time"


def test_a_range_by_keyboard(page, known):
    page.open(known)
    page.run("document.querySelector('#lanes').focus()")
    page.press("ArrowRight")
    settle(page)
    assert page.run("spprof.selection.range") == [0, 1e8]
    page.press("ArrowRight")
    page.press("ArrowRight", modifiers=8)
    settle(page)
    assert page.run("spprof.selection.range") == pytest.approx([0.2e8, 1.4e8])
    page.press("Escape")
    settle(page)
    assert page.run("spprof.selection.range") is None


def test_clocks(page, known):
    page.open(known)
    assert page.run("Array.from(document.querySelectorAll('#clocks button'), b => b.textContent)") == ["CPU", "Wall"]
    page.click("#clocks button:nth-child(2)")
    assert all_ms(page) == 1400
    assert [row[:2] for row in rows(page)][:4] == [
        ["fib", 500],
        ["memcpy", 400],
        ["JSONDecoder.parse", 300],
        ["query", 200],
    ]
    page.press("c")
    assert all_ms(page) == 950
    pressed = page.run("Array.from(document.querySelectorAll('#clocks button'), b => b.getAttribute('aria-pressed'))")
    assert pressed == ["true", "false"]


def test_threads(page, known):
    page.open(known)
    names = page.run("Array.from(document.querySelectorAll('#thread option'), option => option.textContent)")
    assert names == ["All threads", "MainThread", "worker"]
    page.click("#lane-labels button:nth-child(2)")
    assert all_ms(page) == 100
    assert [row[0] for row in rows(page)] == ["memcpy", "Thread.run"]
    assert page.run("document.querySelector('#thread').selectedOptions[0].textContent") == "worker"
    assert frames(page)[0][0] == "worker"
    page.run(
        "(() => { const list = document.querySelector('#thread'); list.value = '0';"
        " list.dispatchEvent(new Event('change')); })()"
    )
    assert all_ms(page) == 850
    page.press("t")
    assert all_ms(page) == 100
    page.press("t")
    assert all_ms(page) == 950


def test_sorting(page, known):
    page.open(known)
    page.click("#functions th:nth-child(4) button")
    assert [row[2] for row in rows(page)] == [850, 500, 350, 300, 100, 100, 50]
    page.click("#functions th:nth-child(4) button")
    assert [row[2] for row in rows(page)] == [50, 100, 100, 300, 350, 500, 850]
    assert page.run("document.querySelector('#functions th:nth-child(4)').ariaSort") == "ascending"
    page.click("#functions th:nth-child(1) button")
    assert [row[0] for row in rows(page)] == [
        "<module>",
        "fib",
        "JSONDecoder.parse",
        "memcpy",
        "query",
        "Thread.run",
        "work",
    ]
    page.click("#functions th:nth-child(6) button")
    assert [row[3] for row in rows(page)] == [30, 20, 10, 10, 10, 10, 10]


def test_callers_and_callees(page, known):
    page.open(known)
    page.click("#functions-body tr[data-function] button[title='work']")
    assert table(page, "callers") == [["<module>", "350 ms", "100.0 %"]]
    assert table(page, "callees") == [["JSONDecoder.parse", "300 ms", "85.7 %"], ["query", "50.0 ms", "14.3 %"]]
    page.click("#callees tr:nth-child(2) button")
    assert text(page, "#detail-name") == "query"
    assert table(page, "callers") == [["work", "50.0 ms", "100.0 %"]]
    assert table(page, "callees") == [["itself", "50.0 ms", "100.0 %"]]


def test_callers_and_callees_of_a_recursion(page, known):
    page.open(known)
    page.click("#functions-body tr[data-function] button[title='fib']")
    assert table(page, "callers") == [["<module>", "500 ms", "100.0 %"]]
    assert table(page, "callees") == [["itself", "500 ms", "100.0 %"]]
    page.click("#functions-body tr[data-function] button[title='<module>']")
    assert table(page, "callers") == [["nobody: it is where the thread begins", "850 ms", "100.0 %"]]


def test_source_lines(page, known):
    page.open(known)
    page.click("#functions-body tr[data-function] button[title='work']")
    assert table(page, "source") == [
        ["4", "", "", "def work(text):"],
        ["5", "", "14.3 %", "    rows = db.query(text)"],
        ["6", "", "", ""],
        ["7", "", "", "    # both"],
        ["8", "", "85.7 %", "    return parse(rows)"],
    ]
    assert page.run("document.querySelector('#source-note').hidden")
    page.click("#functions-body tr[data-function] button[title='fib']")
    assert table(page, "source")[1][:3] == ["11", "100.0 %", "100.0 %"]
    page.click("#functions-body tr[data-function] button[title='<module>']")
    assert [row[3] for row in table(page, "source")][-2:] == ['work("</script>")', "fib(30)"]
    # The library's file is not on this machine.
    page.click("#functions-body tr[data-function] button[title='query']")
    assert table(page, "source") == [["70", "100.0 %", "100.0 %", ""]]
    assert text(page, "#source-note") == "The file was not there, or is no Python file, when this report was written."


def test_a_file_that_was_changed_is_not_shown(page, tmp_path):
    application = tmp_path / "app.py"
    application.write_text("changed = True\n" * 100)
    report = profiles.write(profiles.known(str(application)), tmp_path / "report.html")
    assert "changed = True" not in page.open(report).run(
        f"JSON.stringify(spprof.data.sources.get({json.dumps(str(application))}))"
    )
    page.click("#functions-body tr[data-function] button[title='work']")
    assert text(page, "#source-note") == "The file has changed since the recording, so its text is not shown."
    assert table(page, "source") == [["5", "", "14.3 %", ""], ["8", "", "85.7 %", ""]]


def test_the_honest_numbers(page, tmp_path):
    recording = profiles.known("/nowhere/app.py")
    lost = {"dropped": 1234, "missed_ticks": 5, "truncated_stacks": 6, "torn_stacks": 7}
    own = {"profiler_cpu_ns": 12_000_000, "memory_bytes": 3_200_000}
    report = profiles.write(recording, tmp_path / "report.html", **lost, **own)
    page.open(report)
    assert text(page, "#numbers-short") == "40 samples · 1,252 missed or cut"
    page.click("#numbers-short")
    terms = page.run("Array.from(document.querySelectorAll('#numbers-list dt'), term => term.textContent)")
    values = page.run("Array.from(document.querySelectorAll('#numbers-list dd'), value => value.textContent)")
    numbers = dict(zip(terms, values))
    assert numbers == {
        "Program": "/srv/app.py --fast",
        "Asked": "a sample every 10.0 ms of each thread on a processor (100.0/s)",
        # What a profile reached is worked out anew when it is written: 40 samples in 1 s.
        "Got": "40.0 samples/s over 2 threads",
        "Samples": "40",
        "Dropped": "1,234",
        "Missed": "5",
        "Truncated": "6",
        "Torn": "7",
        "Profiler CPU": "12.0 ms (1.2 % of one processor)",
        "Profiler memory": "3.2 MB",
        "Sums": "exact for the whole recording",
        "Ranges of time": "from every sample; one that reaches over an end counts in part",
    }


def test_light_and_dark(page, known):
    def background():
        return page.run("getComputedStyle(document.documentElement).backgroundColor")

    page.open(known)
    light = background()
    page.prefer("dark")
    page.until("document.documentElement.dataset.theme === 'dark'")
    dark = background()
    assert light != dark
    page.click("#theme")
    assert background() == light
    # What was chosen by hand holds for the next report, whatever the system says.
    page.open(known)
    assert background() == light
    page.click("#theme")
    assert background() == dark
    page.run("localStorage.clear()")


def test_a_tooltip(page, known):
    page.open(known)
    page.mouse("mouseMoved", *place_of(page, "query"))
    page.until("!document.querySelector('#tooltip').hidden")
    lines = page.run("Array.from(document.querySelector('#tooltip').children, line => line.textContent)")
    assert lines == [
        "query",
        "/srv/venv/lib/python3.12/site-packages/db.py:60 · library",
        "Total 50.0 ms · 5.3 % ± 3.5",
        "Self 50.0 ms · 5.3 % ± 3.5",
        "10 samples",
    ]


def test_the_flame_graph_by_keyboard(page, known):
    page.open(known)
    page.run("document.querySelector('#flame').focus()")
    said = []
    for key in ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft"]:
        page.press(key)
        said.append(text(page, "#status").split(":")[0])
    assert said == ["All threads", "<module>", "fib", "work", "JSONDecoder.parse", "work", "fib"]
    page.press("ArrowRight")
    page.press("Enter")
    assert text(page, "#detail-name") == "work"
    assert len(frames(page)) == 5
    page.press("0")
    assert len(frames(page)) == 10
    page.press("?")
    assert page.run("document.querySelector('#help').open")
    page.press("Escape")
    page.until("!document.querySelector('#help').open")


def test_everything_that_can_be_used_has_a_name(page, known):
    page.open(known)
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    usable = 0
    for node in nodes:
        properties = {entry["name"]: entry["value"].get("value") for entry in node.get("properties", [])}
        is_page = node.get("role", {}).get("value") == "RootWebArea"
        if properties.get("focusable") and not node["ignored"] and not is_page:
            usable += 1
            assert node.get("name", {}).get("value", "").strip(), node
    assert usable > 20
    images = page.run("document.querySelectorAll('[tabindex=\"0\"]:not([aria-label])').length")
    assert images == 0


@pytest.mark.parametrize("width", [400, 800, 1920])
def test_nothing_is_wider_than_the_window(page, known, width):
    page.resize(width, 800)
    page.open(known)
    assert page.run("document.documentElement.scrollWidth") <= width
