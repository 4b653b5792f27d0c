"""Flame graph scripts read our collapsed stacks: by the expression with which flamegraph.pl splits a line."""

import re

from conftest import totals_by_name

LINE = re.compile(r"^(.*)\s+?(\d+(?:\.\d*)?)$")


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
