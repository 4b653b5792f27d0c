"""Measures the numbers of the contract: `python3 benches/run.py`. Builds what it needs below .work/ and target/.

Prints a table of each number as limit, goal and measured with its spread, and keeps the raw results as JSON. See
benches/README.md for how it measures and what each part takes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import machine, peers, render, tick_ways
from harness.build import ROOT, WORK, BuildError, Built, build
from harness.numbers import FULL, GIVEN_BY, MEASURES, PROGRAMS, QUICK, Effort, programs
from harness.rows import NUMBERS

PAGE = ROOT / "docs" / "benchmarks.md"
PARTS = (*NUMBERS, "programs", "ticks", "peers", "splits")
BUSY_PERCENT = 3
"""Above this share of the processors in other hands it is said."""
DEFAULT_PARTS = (*MEASURES, "programs", "ticks")


def parse_options() -> argparse.Namespace:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", metavar="NAME", help="interpreter to measure on; default: 3.12")
    parser.add_argument("--only", metavar="N1,N3,…", help=f"parts to measure, of {', '.join(PARTS)}")
    parser.add_argument("--programs", metavar="A,B,…", help="programs of the parts programs and peers; default: all")
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it works, not to quote")
    parser.add_argument("--peers", action="store_true", help="other profilers too, each from PyPI")
    parser.add_argument("--only-peers", metavar="A,B,…", help=f"some of {', '.join(peers.PEERS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results; what is there of other parts is kept")
    parser.add_argument("--render", action="store_true", help=f"write {PAGE.relative_to(ROOT)} from the results")
    parser.add_argument("--no-build", action="store_true", help="use what an earlier run built")
    parser.add_argument("--only-build", action="store_true", help="build and measure nothing")
    options = parser.parse_args()
    options.parts = tuple(options.only.split(",")) if options.only else DEFAULT_PARTS
    if options.peers:
        options.parts = tuple(dict.fromkeys((*options.parts, "peers", "splits")))
    for names, allowed in (
        (options.parts, PARTS),
        (_list(options.programs), PROGRAMS),
        (_list(options.only_peers), peers.PEERS),
    ):
        for name in names:
            if name not in allowed:
                parser.error(f"{name} is none of {', '.join(allowed)}")
    options.json = options.json or WORK / "benchmarks" / f"{options.python}.json"
    return options


def _list(text: str | None) -> list[str]:
    return text.split(",") if text else []


def load(path: Path) -> dict[str, Any]:
    """What earlier runs left in `path`."""
    if not path.exists():
        return {"rows": [], "programs": [], "ticks": [], "peers": [], "splits": []}
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def save(path: Path, results: dict[str, Any]) -> None:
    """Writes the results, one entry a line so that versions can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for name, value in results.items():
        if isinstance(value, list):
            entries = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in value)
            parts.append(f"{json.dumps(name)}: [\n{entries}\n]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def replace(entries: list[dict[str, Any]], fresh: Sequence[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """`entries` with those of the same keys as `fresh` ones replaced by them."""
    gone = {tuple(entry[key] for key in keys) for entry in fresh}
    return [entry for entry in entries if tuple(entry[key] for key in keys) not in gone] + list(fresh)


def say(text: str) -> None:
    """Tells what goes on, on stderr: the table on stdout is the result."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(
    part: str, built: Built, effort: Effort, options: argparse.Namespace
) -> Iterator[tuple[str, list[dict[str, Any]], tuple[str, ...]]]:
    """Measures a part bit by bit: the list of the results it belongs to, new entries, and what names an entry there."""
    chosen_peers = _list(options.only_peers) or list(peers.PEERS)
    if part == "programs":
        for entry in programs(built, effort, _list(options.programs) or PROGRAMS, say):
            yield part, [entry], ("program",)
    elif part == "ticks":
        yield part, tick_ways.compare(built, effort), ("way", "interval_ms")
    elif part == "peers":
        names = _list(options.programs) or peers.DEFAULT_PROGRAMS
        for entry in peers.overheads(built, effort, chosen_peers, names, say):
            yield part, [entry], ("peer", "program")
    elif part == "splits":
        for entry in peers.splits(built, effort, chosen_peers, say):
            yield part, [entry], ("peer", "interval_ms")
    else:
        yield "rows", [row.as_json() for row in MEASURES[part](built, effort)], ("number",)


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    options = parse_options()
    effort = QUICK if options.quick else FULL
    try:
        built = build(options.python, rebuild=not options.no_build)
    except BuildError as error:
        print(f"benches/run.py: {error}", file=sys.stderr)
        return 1
    if options.only_build:
        return 0
    results = load(options.json)
    results["machine"] = machine.describe(built.python)
    results["date"] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    failed = []
    chosen = dict.fromkeys(GIVEN_BY.get(part, part) for part in options.parts)
    for part in chosen:
        say(part)
        others = machine.Others()
        try:
            for key, entry, names in measure(part, built, effort, options):
                results[key] = replace(results[key], entry, *names)
                save(options.json, results)
        except RuntimeError as error:
            failed.append(part)
            say(f"{part} FAILED: {error}")
        percent = others.percent()
        results.setdefault("others_percent", {})[part] = round(percent, 1)
        if percent > BUSY_PERCENT:
            say(f"{part}: others used {percent:.0f} % of the processors meanwhile; figures of time are disturbed")
        save(options.json, results)
    for lines in (
        render.numbers(results["rows"]),
        render.programs(results["programs"]) if "programs" in chosen else [],
        render.ticks(results["ticks"]) if "ticks" in chosen else [],
        render.peers(results["peers"]) if "peers" in chosen else [],
        render.splits(results["splits"]) if "splits" in chosen else [],
    ):
        if lines:
            print("\n".join(lines), end="\n\n")
    if options.render:
        PAGE.write_text(render.page(results), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
