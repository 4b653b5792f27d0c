"""JSON, regular expressions and dictionaries: short calls from Python into C, many of them."""

import json
import re

WORDS = [f"word{number % 97}-{number}" for number in range(400)]
DOCUMENT = {"rows": [{"id": number, "name": word, "tags": [word[:3], word[-2:]]} for number, word in enumerate(WORDS)]}
PATTERN = re.compile(r"(?P<stem>[a-z]+)(?P<number>\d+)-(\d+)")


def through_json() -> dict[str, list[dict[str, object]]]:
    loaded: dict[str, list[dict[str, object]]] = json.loads(json.dumps(DOCUMENT))
    return loaded


def count_by_stem(rows: list[dict[str, object]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        match = PATTERN.match(str(row["name"]))
        if match is not None:
            key = match["stem"] + match["number"]
            counts[key] = counts.get(key, 0) + 1
    return counts


def work() -> None:
    rows = through_json()["rows"]
    counts = count_by_stem(rows)
    sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    re.sub(r"\d+", lambda match: str(int(match[0]) + 1), " ".join(WORDS))
