"""Flame graph scripts read our collapsed stacks: inferno itself, and the expression with which flamegraph.pl splits a line."""

import collections
import html
import os
import re
import subprocess

from conftest import totals_by_name

LINE = re.compile(r"^(.*)\s+?(\d+(?:\.\d*)?)$", re.MULTILINE)


def test_every_line_folds(profile):
    text = profile.to_collapsed(clock="wall")
    own, whole, passed_over = {}, {}, []
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            passed_over.append(line)
            continue
        frames = [frame.rsplit(" (", 1)[0] for frame in match.group(1).split(";")]
        own[frames[-1]] = own.get(frames[-1], 0) + int(match.group(2))
        for name in set(frames):
            whole[name] = whole.get(name, 0) + int(match.group(2))
    assert len(passed_over) == 1
    assert passed_over[0].startswith("#spprof:")
    assert own == {name: ns for name, ns in totals_by_name(profile, "wall").items() if ns}
    expected = totals_by_name(profile, "wall", whole=True)
    unique = [row.function_name for row in profile.top(None)]
    assert all(whole[name] == ns for name, ns in expected.items() if ns and unique.count(name) == 1)


def test_inferno_draws_every_box_with_its_nanoseconds(profile):
    done = subprocess.run(
        [os.environ.get("INFERNO_FLAMEGRAPH", "inferno-flamegraph"), "--minwidth", "0"],
        input=profile.to_collapsed(clock="wall"),
        capture_output=True,
        text=True,
        check=True,
    )
    # It says so of the line that has no stack.
    assert "Ignored 1 lines" in done.stderr
    boxes = collections.Counter()
    for title in re.findall(r"<title>(.*?)</title>", done.stdout, re.DOTALL):
        name, ns = re.fullmatch(r"(.*) \(([\d,]+) samples, [\d.]+%\)", html.unescape(title), re.DOTALL).groups()
        boxes[name, int(ns.replace(",", ""))] += 1
    stacks = collections.Counter()
    for stack, ns in LINE.findall(profile.to_collapsed(clock="wall").split("\n", 1)[1]):
        frames = stack.split(";")
        for depth in range(1, len(frames) + 1):
            stacks[tuple(frames[:depth])] += int(ns)
    expected = collections.Counter((stack[-1], ns) for stack, ns in stacks.items())
    expected["all", sum(totals_by_name(profile, "wall").values())] += 1
    assert boxes == expected
    assert len(boxes) > 10
