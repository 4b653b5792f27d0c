"""Results as text: a table for the terminal, and the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .rows import NUMBERS
from .tick_ways import WAYS


def figure(value: float) -> str:
    """Three digits that count, without an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.095 else f"{value:.3f}"


def with_spread(low: float, value: float, high: float, unit: str) -> str:
    """`value (low … high) unit`."""
    spread = "" if low == high else f" ({figure(low)} … {figure(high)})"
    return f"{figure(value)}{spread} {unit}".rstrip()


def estimate(values: Mapping[str, float]) -> str:
    """The same of an estimate in a result."""
    return with_spread(values["low"], values["value"], values["high"], "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table as Markdown, its columns set in line so that it reads as text too."""
    body = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in [list(head), *body]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    return [line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, body)]


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every number as limit, goal and measured."""
    found = []
    for number, (what, limit, goal) in NUMBERS.items():
        measured = [row for row in rows if row["number"] == number]
        if measured:
            found.append((f"**{number}**", what, limit, goal, "", "", ""))
        for row in measured:
            value = with_spread(row["low"], row["value"], row["high"], row["unit"])
            found.append(("", row["what"], "", "", value, row["meets"], row["note"]))
    return table(("", "what", "limit", "goal", "measured (spread)", "meets", "note"), found)


def programs(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """CPU time added to each program."""
    rows = []
    for entry in entries:
        cells = [entry["program"], estimate(entry["noise"])]
        for interval in ("10", "1"):
            of = entry[interval]
            cells += [
                estimate(of["cpu"]),
                estimate(of["wall"]),
                figure(of["samples_per_s"]),
                f"{figure(of['handler_share'])} + {figure(of['profiler_share'] - of['handler_share'])}",
            ]
        rows.append(cells)
    head = ["program", "A/A, CPU %"]
    for interval in ("10 ms", "1 ms"):
        head += [f"{interval}: CPU %", "wall %", "samples/s", "handler + collector, % of a core"]
    return table(head, rows)


def ticks(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ways to tick."""
    rows = [
        (
            f"{entry['interval_ms']:g} ms",
            WAYS[entry["way"]],
            estimate(entry["got"]),
            estimate(entry["cpu"]),
            estimate(entry["noise"]),
        )
        for entry in entries
    ]
    return table(("interval", "way", "got of asked, %", "CPU added, %", "A/A, %"), rows)


def peers(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The others, program by program."""
    rows = []
    for entry in entries:
        name = entry["peer"] + (f" {entry['version']}" if entry.get("version") else "")
        if "why" in entry:
            rows.append((name, entry["program"], "", "", "", "", "", "", entry["why"]))
            continue
        rows.append(
            (
                name,
                entry["program"],
                estimate(entry["noise"]),
                estimate(entry["cpu"]),
                estimate(entry["wall"]),
                estimate(entry["helper"]) if entry.get("helper") else "",
                estimate(entry["got"]) if entry.get("got") else "",
                figure(entry["rss_mb"]) if entry.get("rss_mb") is not None else "",
                entry.get("note", ""),
            )
        )
    head = (
        "profiler",
        "program",
        "A/A, CPU %",
        "CPU %",
        "wall %",
        "helper's CPU, % of the program's",
        "samples of asked, %",
        "RSS, MB",
        "note",
    )
    return table(head, rows)


def splits(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors of a known split."""
    rows = [
        (
            entry["peer"],
            f"{entry['interval_ms']:g} ms",
            estimate(entry["largest"]) if "largest" in entry else entry["why"],
            figure(entry["theory"]) if "theory" in entry else "",
        )
        for entry in entries
    ]
    return table(("profiler", "interval", "largest error of a share, points", "one deviation of counting"), rows)


def page(results: Mapping[str, Any]) -> str:
    """docs/benchmarks.md."""
    machine = results["machine"]
    lines = [
        "# Benchmarks",
        "",
        "Made by `python3 benches/run.py --render` from raw results in `benches/results/`; do not edit. How to run it on a",
        "machine of your own, and what each program does: [benches/README.md](../benches/README.md). Figures of different",
        "machines do not compare: a timer's interrupt, the floor of all this, costs ten times more on some than on others.",
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, virtual: {machine['virtual']}; {machine['kernel']},",
        f"CONFIG_HZ={machine['CONFIG_HZ']}; {machine['python']}. Measured {results['date']}.",
        "",
        "How: the same work in slices of about 100 ms, without and with the profiler in turn inside one process, the order",
        "drawn anew in each round; CPU time is that of the whole process (getrusage), the profiler's thread included. A",
        "figure is the median over the rounds of its difference to the mean of the round's two bare slices, in brackets the",
        "95 % interval of a bootstrap. The A/A row compares the two bare slices with each other: what no difference looks like.",
        "",
        "Share of the processors that others used meanwhile, per cent (above 3 figures of time are disturbed): "
        + ", ".join(f"{part} {percent:g}" for part, percent in results.get("others_percent", {}).items())
        + ".",
        "",
        "## The numbers",
        "",
        *numbers(results["rows"]),
    ]
    if results.get("programs"):
        lines += [
            "",
            "## Programs",
            "",
            "CPU and wall time that spprof adds, in per cent.",
            "",
            *programs(results["programs"]),
        ]
    if results.get("ticks"):
        lines += [
            "",
            "## Ways to tick a thread",
            "",
            "For a thread on CPU, all ways of an interval in one run. A tick that the kernel joined to an earlier one was not got.",
            "",
            *ticks(results["ticks"]),
        ]
    if results.get("peers"):
        lines += [
            "",
            "## Other profilers",
            "",
            "On the same programs in the same way, one at a time.",
            "",
            *peers(results["peers"]),
        ]
    if results.get("splits"):
        lines += [
            "",
            "### A known split",
            "",
            "Three functions share one thread's CPU 70 : 20 : 10, as its own clock says; the largest error of the three shares.",
            "",
            *splits(results["splits"]),
        ]
    return "\n".join(lines) + "\n"
