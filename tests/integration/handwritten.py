"""A profile written by hand: 300 samples, two threads, own code, a library and Python's own."""

import json

HEADER = {
    "interval_ns": 10_000_000,
    "samples": 300,
    "missed_ticks": 2,
    "start_unix_ns": 1_700_000_000_000_000_000,
    "end_unix_ns": 1_700_000_004_000_000_000,
    "start_monotonic_ns": 1_000_000_000,
    "end_monotonic_ns": 5_000_000_000,
    "profiler_cpu_ns": 12_000_000,
    "memory_bytes": 3_400_000,
    "python_version": "3.13.1",
    "platform": "Linux x86_64",
    "lines": True,
    "thread_roots": True,
    "threads": [{"name": "MainThread", "native_id": 7, "is_main": True}, {"name": "worker", "native_id": 8}],
    "views": [{"clock": "cpu", "thread": None}],
}

MAIN = "MainThread;<module> (/srv/app/main.py:90);serve (/srv/app/main.py:12)"
DECODER = "/usr/lib/python3.12/json/decoder.py"
PACKAGE = "/srv/venv/lib/python3.12/site-packages/numpy/core.py"

STACKS = {
    f"{MAIN};parse (/srv/app/parse.py:20)": 1_000_000_000,
    f"{MAIN};parse (/srv/app/parse.py:21)": 200_000_000,
    f"{MAIN};parse (/srv/app/parse.py:20);JSONDecoder.decode ({DECODER}:30)": 600_000_000,
    f"{MAIN};index (/srv/app/main.py:40);dot ({PACKAGE}:77)": 150_000_000,
    f"{MAIN};index (/srv/app/main.py:41)": 20_000_000,
    f"{MAIN}": 10_000_000,
    "MainThread": 20_000_000,
    "worker;job (/srv/app/main.py:60)": 1_000_000_000,
}


def collapsed(stacks, header=HEADER):
    """The text of a file of collapsed stacks; of another tool's if there is no header."""
    lines = [] if header is None else ["#spprof:" + json.dumps(header)]
    return "\n".join([*lines, *(f"{stack} {weight}" for stack, weight in stacks.items())]) + "\n"
