"""How each number of the contract is measured: one function a number (some share a run)."""

from __future__ import annotations

import json
import math
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import ROOT, Built, environment, last_line
from .estimates import Estimate, mean_of, median_of, quantile, span_of
from .rows import Row, below, row
from .slices import Slices, measure

PROGRAMS = (
    "recursion",
    "nbody",
    "scheduler",
    "text",
    "deep_stack",
    "threads_8",
    "threads_100",
    "threads_100_idle",
    "asyncio_1000",
    "c_holds_gil",
    "c_releases_gil",
    "exec_churn",
)
"""Of benches/programs, in the order of the table."""

SHARES = {"seventy": 70, "twenty": 20, "ten": 10}
"""Per cent by function of the known split."""

KNOWN_SPLIT = ROOT / "tests" / "apps" / "known_split.py"


@dataclass(frozen=True)
class Effort:
    """How much of each: all, or with `--quick` enough to see that it works."""

    rounds: int
    program_rounds: int
    slice_ms: float
    starts: int
    samples: int
    splits: int
    split_cpu_s: float
    seconds: float


FULL = Effort(
    rounds=120,
    program_rounds=25,
    slice_ms=100,
    starts=20,
    samples=1_000_000,
    splits=10,
    split_cpu_s=4,
    seconds=10,
)
QUICK = Effort(
    rounds=6,
    program_rounds=3,
    slice_ms=60,
    starts=3,
    samples=20_000,
    splits=2,
    split_cpu_s=1,
    seconds=1,
)


def cpu_added(number: str, interval_ms: float, built: Built, effort: Effort) -> list[Row]:
    """N1 and N2: process CPU time added to a thread on CPU, beside an empty handler at the same rate and beside nothing."""
    ours, floor = f"spprof:{interval_ms:g}", f"floor:periodic:{interval_ms:g}"
    slices = measure(built.python, "recursion", [ours, floor], rounds=effort.rounds, slice_ms=effort.slice_ms)
    added, least = slices.added(ours), slices.added(floor)
    more = slices.added_over(ours, floor)
    goal, limit = (0.5, 1.0) if number == "N1" else (1.2 * least.value, 5.0)
    got = slices.got_of_asked(ours)
    per_sample_us = added.scaled(10 * interval_ms)
    handler_share = (
        100 * sum(each["handler_ns"] for each in slices.of(ours)) / sum(each["cpu_ns"] for each in slices.of(ours))
    )
    collector_share = (
        100
        * sum(each["profiler_cpu_ns"] - each["handler_ns"] for each in slices.of(ours))
        / sum(each["cpu_ns"] for each in slices.of(ours))
    )
    counted = f"by its own count, handler {handler_share:.2f} %, collector {collector_share:.2f} %"
    return [
        row(
            number,
            "spprof",
            "%",
            added,
            meets=below(added.value, goal, limit),
            note=counted,
            raw={"slices": slices.slices},
        ),
        row(number, "the floor: an empty handler", "%", least),
        row(number, "spprof over the floor, paired", "points", more),
        row(number, "A/A: nothing against nothing", "%", slices.noise()),
        row(number, "CPU time added by one sample", "µs", per_sample_us),
        row(number, "samples taken of asked", "%", got, meets="goal" if got.value >= 98 else "neither"),
    ]


def handler_time(built: Built, effort: Effort) -> list[Row]:
    """N3: the handler's own time from the processor's counter, and what an empty one takes."""
    # At 1 ms our timer is most often the next that the processor has to be told of, at 10 ms the kernel's own tick is.
    often = json.loads(built.run_json("handler_cost.py", effort.seconds, 1, 0, 20, 500, hooks=True))
    seldom = json.loads(built.run_json("handler_cost.py", effort.seconds, 10, 20, 500, hooks=True))
    rows = []
    for interval_ms, each in [*((1, each) for each in often["depths"]), *((10, each) for each in seldom["depths"])]:
        depth = each["depth"]
        what = "an empty handler" if depth == 0 else f"depth {depth}, {interval_ms} ms"
        # The goal of each depth is one quantile; the limit is of the median and the 99th of a hundred alike.
        goals = {20: {"p50": 1.5}, 500: {"p99": 10.0}}.get(depth, {})
        for name in ("p50", "p90", "p99", "max"):
            us = each[f"{name}_ns"] / 1000
            meets = below(us, goals.get(name), 10.0) if depth and name != "max" else ""
            estimate = Estimate(us, us, us)
            raw = {"histogram_ns": each["histogram"], "count": each["count"]} if name == "p50" else {}
            rows.append(
                row("N3", f"{what}, {name}", "µs", estimate, "", meets=meets, raw=raw, note=f"{each['count']} calls")
            )
        rows += [handler_part(what, part, found) for part, found in each.get("parts", {}).items()]
    for name, values in often["parts_ns"].items():
        us = [value / 1000 for value in values]
        spread = Estimate(statistics.median(us), quantile(us, 0.1), quantile(us, 0.9))
        rows.append(row("N3", f"for comparison: {name}", "µs", spread, "p10 … p90"))
    return rows


HANDLER_PARTS = {
    "walk": "of it the walk",
    "timer": "of it the timer",
    "bare_walk": "the floor of the walk: the same loads and stores without a check",
}


def handler_part(what: str, part: str, found: Mapping[str, Any]) -> Row:
    """What a part of the handler took: the median, from it to the 99th of a hundred."""
    median, high = found["p50_ns"] / 1000, found["p99_ns"] / 1000
    note = f"{found['count']} calls"
    return row("N3", f"{what}, {HANDLER_PARTS[part]}", "µs", Estimate(median, median, high), "p50 … p99", note=note)


def first_sample(built: Built, effort: Effort) -> list[Row]:
    """N4: from the call of start() to the first sample's time."""
    runs = [json.loads(built.run_json("first_sample.py", 10, 4)) for _ in range(effort.starts)]
    rows = []
    for what, key, sessions in (
        ("first session of a process, 10 ms", "first_ns", [run[0] for run in runs]),
        ("later sessions, 10 ms", "first_ns", [session for run in runs for session in run[1:]]),
        ("start() itself, first session", "start_ns", [run[0] for run in runs]),
    ):
        values = [session[key] / 1e6 for session in sessions]
        worst = quantile(values, 1)
        note = "a tick lies anywhere in its interval of 10 ms" if key == "first_ns" else ""
        meets = below(worst, 15, 50) if key == "first_ns" else ""
        rows.append(row("N4", what, "ms", span_of(values), "min … max", meets=meets, note=note, raw={"ms": values}))
    return rows


def many_samples(built: Built, effort: Effort) -> list[Row]:
    """N5 and N9: a session of a million samples, and the same work without."""
    on = json.loads(built.run_json("many_samples.py", effort.samples, "on"))
    off = json.loads(built.run_json("many_samples.py", 0, min(5.0, on["seconds"])))
    stop_ms, held = on["stop_ns"] / 1e6, on["memory_bytes"] / 1e6
    before, during = on["rss_anon_before_bytes"], on["rss_anon_bytes"]
    note = f"{on['samples']:,} samples in {on['seconds']:.0f} s at 0.1 ms: two threads without the GIL, depths 1 to 40"
    rss = (during - off["rss_anon_bytes"]) / 1e6
    return [
        row(
            "N5",
            "stop()",
            "ms",
            Estimate(stop_ms, stop_ms, stop_ms),
            "",
            meets=below(stop_ms, 20, 100),
            note=note,
            raw=on,
        ),
        row("N9", "by stats()", "MB", Estimate(held, held, held), "", meets=below(held, 32, 100), note=note),
        row(
            "N9",
            "resident memory against the same work without",
            "MB",
            Estimate(rss, rss, rss),
            "",
            meets=below(rss, 32, 100),
            note=f"module and its code included; {(during - before) / 1e6:.1f} MB since start()",
            raw={"on": on, "off": off},
        ),
    ]


def resolution(built: Built, effort: Effort) -> list[Row]:
    """N6, N7, N8: code objects of the standard library; the ring; the symbols at their limit."""
    generated = 100_000 if effort is FULL else 10_000
    found = json.loads(built.run_json("resolve.py", 100, generated, hooks=True))
    warm, cold = span_of(found["warm_per_s"]), span_of(found["cold_per_s"])
    buffer_mb = (found["ring_bytes"] + found["slots_bytes"]) / 1e6
    symbols_mb = found["most_symbols_bytes"] / 1e6
    codes = f"{found['codes']:,} code objects of the standard library"
    return [
        row(
            "N6",
            "name and line of a code object that is known",
            "M frames/s",
            warm.scaled(1e-6),
            "min … max",
            meets="goal" if warm.value > 5e6 else "limit" if warm.value > 1e5 else "neither",
            note=codes,
            raw=found,
        ),
        row(
            "N6",
            "one met for the first time, read from memory",
            "M frames/s",
            cold.scaled(1e-6),
            "min … max",
            meets="goal" if cold.value > 5e6 else "limit" if cold.value > 1e5 else "neither",
            note=codes,
        ),
        row(
            "N7",
            "ring and thread table, 100 threads, 10 ms",
            "MB",
            Estimate(buffer_mb, buffer_mb, buffer_mb),
            "",
            meets=below(buffer_mb, 4, 16),
            note="fixed; touched as used",
        ),
        row(
            "N8",
            "most that the symbols ever held",
            "MB",
            Estimate(symbols_mb, symbols_mb, symbols_mb),
            "",
            meets=below(symbols_mb, 32),
            note=f"fed {found['generated']:,} generated functions with names of 190 letters by a hook of the benchmark",
        ),
    ]


def known_split(built: Built, effort: Effort, intervals_ms: Sequence[float] = (10, 1)) -> list[Row]:
    """N15: a split of 70 : 20 : 10 over several runs, against the program's own clock."""
    rows = []
    for interval_ms in intervals_ms:
        runs = [
            json.loads(last_line([built.python, KNOWN_SPLIT, effort.split_cpu_s, interval_ms]))
            for _ in range(effort.splits)
        ]
        rows += split_rows("N15", f"{interval_ms:g} ms", runs)
    return rows


def split_rows(number: str, what: str, runs: Sequence[Mapping[str, Any]], weight: str = "cpu_ns") -> list[Row]:
    """Errors of runs that say `spent_ns`, a weight and `samples` of each function."""
    errors: dict[str, list[float]] = {}
    deviations: list[float] = []
    largest: list[float] = []
    for run in runs:
        spent, seen = run["spent_ns"], run[weight]
        count = max(1, sum(run["samples"].values()))
        of_run = []
        for name, truth_ns in spent.items():
            truth = truth_ns / sum(spent.values())
            error = 100 * (seen[name] / max(1, sum(seen.values())) - truth)
            errors.setdefault(name, []).append(error)
            of_run.append(abs(error))
            deviations.append(error / (100 * math.sqrt(truth * (1 - truth) / count)))
        largest.append(max(of_run))
    count = statistics.median(sum(run["samples"].values()) for run in runs)
    theory = 100 * math.sqrt(0.7 * 0.3 / max(1, count))
    meets = "goal" if statistics.median(largest) < 1 + 2 * theory else "neither"
    scores = math.sqrt(statistics.fmean(z * z for z in deviations))
    rows = [
        row(
            number,
            f"{what}, largest error of a run's three shares",
            "points",
            span_of(largest),
            "min … max",
            meets=meets if number == "N15" else "",
            note=f"{len(runs)} runs of about {count:.0f} samples; one standard deviation of counting is {theory:.2f}",
            raw={"runs": list(runs)},
        ),
        row(
            number,
            f"{what}, root mean square of the z-scores",
            "",
            Estimate(scores, scores, scores),
            "",
            note="1 is what independent samples give",
        ),
    ]
    for name, values in errors.items():
        bias = mean_of(values)
        rows.append(row(number, f"{what}, bias of the share {SHARES[name]} %", "points", bias))
    return rows


def totals(built: Built, effort: Effort) -> list[Row]:
    """N16: CPU and wall time of each thread against its own clocks."""
    rows = []
    for interval_ms in (0.1, 1, 10, 100):
        cpu: dict[str, list[float]] = {}
        wall: list[float] = []
        for _ in range(3):
            for thread in json.loads(built.run_json("totals.py", min(4.0, effort.seconds), interval_ms)):
                wall.append(100 * (thread["wall_ns"] / thread["clock_wall_ns"] - 1))
                # Of a thread that only sleeps the CPU time is its wake-ups: no share of anything.
                if thread["work"] != "sleep":
                    cpu.setdefault(thread["work"], []).append(100 * (thread["cpu_ns"] / thread["clock_cpu_ns"] - 1))
        all_cpu = [error for errors in cpu.values() for error in errors]
        for what, errors, raw in (("CPU time", all_cpu, cpu), ("wall time", wall, {})):
            worst = max(map(abs, errors))
            meets = below(worst, 1)
            rows.append(
                row("N16", f"{what}, {interval_ms:g} ms", "%", span_of(errors), "min … max", meets=meets, raw=raw)
            )
    return rows


def idle_threads(built: Built, effort: Effort) -> list[Row]:
    """N17: a hundred threads of which 95 wait, at 10 ms."""
    found = json.loads(built.run_json("idle_threads.py", min(5.0, effort.seconds), 10, hooks=True))
    slices = measure(
        built.python, "threads_100_idle", ["spprof:10"], rounds=effort.rounds // 2, slice_ms=effort.slice_ms
    )
    added = slices.added("spprof:10")
    busy, idle = found["five busy"], found["all idle"]
    woken = float(busy["idle_wakeups"] + idle["idle_wakeups"])
    asleep = 100 * idle["cpu_share"]

    def only(value: float) -> Estimate:
        return Estimate(value, value, value)

    return [
        row(
            "N17",
            "CPU time added, five threads busy",
            "%",
            added,
            meets=below(added.value, 1),
            raw={"slices": slices.slices},
        ),
        row("N17", "A/A: nothing against nothing", "%", slices.noise()),
        row(
            "N17",
            "CPU time of the whole process while all are idle",
            "% of a core",
            only(asleep),
            "",
            meets=below(asleep, 1),
        ),
        row(
            "N17",
            "its floor: a thread that only reads their clocks once an interval",
            "% of a core",
            only(100 * idle["floor"]["cpu_share"]),
            "",
            note=f"{idle['floor']['threads']} threads",
        ),
        row(
            "N17",
            "five busy, by its own count",
            "% of a core",
            only(100 * busy["own_share"]),
            "",
            note=f"handler {100 * busy['handler_share']:.2f} %",
        ),
        row(
            "N17",
            "its floor: a thread that also asks what those do that have moved",
            "% of a core",
            only(100 * busy["floor"]["cpu_share"]),
            "",
            note=f"{busy['floor']['threads']} threads",
        ),
        row(
            "N17",
            "signals a second, five busy",
            "1/s",
            only(busy["signals_per_s"]),
            "",
            note=f"{busy['samples_per_s']:.0f} samples/s",
        ),
        row("N17", "signals a second, all idle", "1/s", only(idle["signals_per_s"]), ""),
        row("N17", "wake-ups of the 95 idle threads", "", only(woken), "", meets="goal" if woken == 0 else "neither"),
    ]


def import_time(built: Built, effort: Effort) -> list[Row]:
    """N18: wall and CPU time of an import over a bare start, in pairs; the size of what is installed."""
    wall, cpu = [], []
    for _ in range(max(effort.rounds // 2, 5)):
        bare, with_import = _start_of(built.python, "pass"), _start_of(built.python, "import spprof")
        wall.append(1000 * (with_import[0] - bare[0]))
        cpu.append(1000 * (with_import[1] - bare[1]))
    done = subprocess.run(
        [built.python, "-X", "importtime", "-c", "import spprof"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        check=True,
    )
    names = re.findall(r"\|\s*(\d+) \|( *)(spprof[\w.]*)$", done.stderr, re.MULTILINE)
    detail = {name: int(microseconds) / 1000 for microseconds, _, name in names}
    files = [path for folder in built.site_packages.glob("spprof*") for path in folder.rglob("*") if path.is_file()]
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    import_ms = detail.get("spprof", 0.0)
    note = f"-X importtime: {import_ms:.1f} ms, of which _native {detail.get('spprof._native', 0.0):.1f}"
    time_row = median_of(wall)
    return [
        row(
            "N18",
            "import, wall time",
            "ms",
            time_row,
            meets=below(time_row.value, 20),
            note=note,
            raw={"ms": wall, "importtime_ms": detail},
        ),
        row("N18", "import, CPU time", "ms", median_of(cpu)),
        row(
            "N18",
            "size installed",
            "MB",
            Estimate(size_mb, size_mb, size_mb),
            "",
            meets=below(size_mb, 3),
            note=f"{len(files)} files, bytecode included",
        ),
    ]


def _start_of(python: Path, code: str) -> tuple[float, float]:
    """Wall and CPU time of a process that runs `code`, s."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([python, "-c", code], env=environment(), check=True)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def programs(
    built: Built, effort: Effort, names: Sequence[str], report: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """CPU and wall time added to each program at 10 ms and 1 ms."""
    for name in names:
        report(f"program {name}")
        slices = measure(
            built.python, name, ["spprof:10", "spprof:1"], rounds=effort.program_rounds, slice_ms=effort.slice_ms
        )
        yield {"program": name, **_overheads(slices)}


def _overheads(slices: Slices) -> dict[str, Any]:
    entry: dict[str, Any] = {"noise": vars(slices.noise()), "noise_wall": vars(slices.noise("wall_ns"))}
    for interval_ms in ("10", "1"):
        condition = f"spprof:{interval_ms}"
        entry[interval_ms] = {
            "cpu": vars(slices.added(condition)),
            "wall": vars(slices.added(condition, "wall_ns")),
            "samples_per_s": slices.per_second(condition, "samples"),
            "handler_share": slices.per_second(condition, "handler_ns") / 1e7,
            "profiler_share": slices.per_second(condition, "profiler_cpu_ns") / 1e7,
            "dropped": sum(each["dropped"] for each in slices.of(condition)),
            "memory_mb": max(each["memory_bytes"] for each in slices.of(condition)) / 1e6,
        }
    return entry


MEASURES: dict[str, Callable[[Built, Effort], list[Row]]] = {
    "N1": lambda built, effort: cpu_added("N1", 10, built, effort),
    "N2": lambda built, effort: cpu_added("N2", 1, built, effort),
    "N3": handler_time,
    "N4": first_sample,
    "N5": many_samples,
    "N6": resolution,
    "N15": known_split,
    "N16": totals,
    "N17": idle_threads,
    "N18": import_time,
}
"""By the first number that a run gives; N7 and N8 come with N6, N9 with N5."""

GIVEN_BY = {"N7": "N6", "N8": "N6", "N9": "N5"}
"""The numbers that another one's run gives."""
