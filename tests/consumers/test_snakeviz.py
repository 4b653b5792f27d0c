"""snakeviz reads our pstats files."""

import pstats

from conftest import totals_by_name
from snakeviz.stats import json_stats, table_rows


def test_its_table_and_its_graph(profile, tmp_path):
    path = tmp_path / "profile.pstats"
    profile.save(path)
    stats = pstats.Stats(str(path))
    rows = table_rows(stats)
    assert len(rows) == len([row for row in profile.top(None) if row.total_samples])
    graph = json_stats(stats)
    whole_s = {name: ns / 1e9 for name, ns in totals_by_name(profile, whole=True).items()}
    for key, function in graph.items():
        name = key.rsplit("(", 1)[1].rstrip(")") if key.endswith(")") else function["display_name"]
        if name in whole_s and [row.function_name for row in profile.top(None)].count(name) == 1:
            assert function["stats"][3] == whole_s[name]
    assert any("recursive" in key and function["children"] for key, function in graph.items())
