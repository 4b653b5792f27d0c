"""What a browser makes of our files: the speedscope app, and the SVG picture."""

import functools
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import threading

import jsonschema
import pytest
from conftest import totals_by_name

#: Where `tools/test.py` installed speedscope from npm.
SPEEDSCOPE = os.path.join(os.environ.get("SPPROF_NODE_MODULES", "node_modules"), "speedscope", "dist", "release")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
    # The clock of the page, which runs as fast as the page is idle: no time of the machine.
    "--virtual-time-budget=10000",
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of requests."""

    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    """A folder with the speedscope app, and its address."""
    folder = tmp_path / "site"
    shutil.copytree(SPEEDSCOPE, folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def browse(tmp_path, address, *more):
    """The document of a page after its scripts have run."""
    command = [os.environ.get("CHROMIUM", "chromium"), *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", *more]
    done = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, check=True)
    return done.stdout


def texts(document):
    """What a document shows, in its order."""
    document = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", document, flags=re.DOTALL)
    pieces = (html.unescape(piece).strip() for piece in re.split(r"<[^>]*>", document))
    return [piece for piece in pieces if piece]


def seconds(text):
    """A duration as speedscope shows it."""
    number, unit = re.match(r"([\d.]+)(ns|µs|ms|s)", text).groups()
    return float(number) * {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1}[unit]


def test_speedscope_s_own_schema(profile):
    with open(os.path.join(SPEEDSCOPE, "file-format-schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.validate(profile.to_speedscope(), schema)


def test_speedscope_shows_the_profiles_and_their_totals(profile, site, tmp_path):
    folder, address = site
    profile.save(folder / "profile.speedscope.json")
    page = f"{address}/index.html#profileURL={address}/profile.speedscope.json&view=sandwich"
    shown = texts(browse(tmp_path, page))
    document = profile.to_speedscope()
    names = [entry["name"] for entry in document["profiles"]]
    assert shown[0] == f"{names[0]} - speedscope"
    assert f"(1/{len(names)})" in shown
    listed = shown[shown.index("Total Weight") : shown.index("Export")]
    assert [text for text in listed if text in names] == names
    weights = [text for text in listed if re.match(r"[\d.]+(ns|µs|ms|s)$", text)]
    for text, entry in zip(weights, document["profiles"]):
        assert seconds(text) == pytest.approx(entry["endValue"] / 1e9, rel=0.01)
    # The table of the first profile: total, self, name.
    table = shown[shown.index("Symbol Name") + 1 :]
    durations = re.compile(r"([\d.]+(?:ns|µs|ms|s)) \(")
    rows = {
        name: (seconds(durations.match(total).group(1)), seconds(durations.match(own).group(1)))
        for total, own, name in zip(table, table[1:], table[2:])
        if durations.match(total) and durations.match(own)
    }
    own_ns, whole_ns = totals_by_name(profile), totals_by_name(profile, whole=True)
    unique = [row.function_name for row in profile.top(None)]
    compared = 0
    for name, (total_s, self_s) in rows.items():
        if unique.count(name) == 1:
            assert total_s == pytest.approx(whole_ns[name] / 1e9, rel=0.01, abs=1e-8)
            assert self_s == pytest.approx(own_ns[name] / 1e9, rel=0.01, abs=1e-8)
            compared += 1
    assert compared >= 4
    assert [name for name in rows if name.rsplit(".", 1)[-1] == "leaf"]


def test_an_svg_is_drawn_and_can_be_searched_and_zoomed(profile, tmp_path):
    profile.save(tmp_path / "profile.svg", clock="cpu")
    svg = (tmp_path / "profile.svg").read_text(encoding="utf-8")
    leaf = next(row for row in profile.top(None) if row.function_name.rsplit(".", 1)[-1] == "leaf")
    page = f"""<!DOCTYPE html><meta charset=utf-8><script>
window.prompt = () => '^' + {json.dumps(leaf.function_name)} + '$';
window.errors = [];
window.onerror = (message) => window.errors.push(message);
</script>{svg}<pre id=out></pre><script>
const result = {{}};
document.getElementById('search').dispatchEvent(new Event('click'));
result.search = document.getElementById('search').textContent;
result.found = document.querySelectorAll('g.found').length;
const box = [...document.querySelectorAll('g.f')].find((box) => box.dataset.n === {json.dumps(leaf.function_name)});
box.dispatchEvent(new Event('mouseenter'));
result.info = document.getElementById('info').textContent;
box.dispatchEvent(new Event('click'));
result.width = Number(box.querySelector('rect').getAttribute('width'));
result.hidden = [...document.querySelectorAll('g.f')].filter((box) => box.style.display === 'none').length;
result.boxes = document.querySelectorAll('g.f').length;
result.errors = window.errors;
document.getElementById('out').textContent = JSON.stringify(result);
</script>"""
    # In a page, the picture's script is the page's: without the CDATA marks that XML needs.
    page = page.replace("<script><![CDATA[", "<script>").replace("]]></script>", "</script>")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    document = browse(tmp_path, (tmp_path / "page.html").as_uri())
    result = json.loads(html.unescape(re.search(r'<pre id="out">(.*?)</pre>', document, re.DOTALL).group(1)))
    assert result["errors"] == []
    whole_ns = sum(totals_by_name(profile).values())
    assert result["search"] == f"Found: {100 * leaf.total_cpu_ns / whole_ns:.1f} % (click to clear)"
    assert result["found"] >= 2
    assert "leaf" in result["info"]
    assert "ms of CPU time" in result["info"]
    assert result["width"] == pytest.approx(1179.6)
    assert 0 < result["hidden"] < result["boxes"]


def test_an_svg_is_well_formed(profile, tmp_path):
    import xml.etree.ElementTree as ElementTree

    profile.save(tmp_path / "profile.svg")
    root = ElementTree.parse(tmp_path / "profile.svg").getroot()
    boxes = [element for element in root if element.get("class") == "f"]
    assert boxes[0].get("data-n") == "all"
    metadata = json.loads(root.find("{http://www.w3.org/2000/svg}metadata").text)
    assert metadata["samples"] == profile.counters["samples"]
