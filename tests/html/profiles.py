"""Profiles whose every number is known, as files that spprof reads."""

import json

import spprof

MS = 1_000_000
START_UNIX_NS = 1_700_000_000_000_000_000
START_NS = 5_000_000_000


class Recording:
    """What a speedscope file of spprof, with lines, says."""

    def __init__(self):
        self.frames = []
        self.threads = []
        self._numbers = {}

    def frame(self, name, file="", line=0, first_line=0, is_native=False):
        """The number of a frame."""
        key = (name, file, line, first_line, is_native)
        if key not in self._numbers:
            self._numbers[key] = len(self.frames)
            frame = {"name": name, "file": file, "line": line, "first_line": first_line, "is_native": is_native}
            self.frames.append({field: value for field, value in frame.items() if value})
            self.frames[-1]["name"] = name
        return self._numbers[key]

    def thread(self, name, samples, *, is_main=False):
        """Adds a thread: samples are the numbers of a stack's frames, root first, wall and CPU time in ms."""
        self.threads.append((name, is_main, samples))

    def document(self, **numbers):
        """The file's content."""
        views, listed = [], []
        for number, (name, is_main, samples) in enumerate(self.threads):
            listed.append(
                {"name": name, "native_id": 100 + number, "is_main": is_main, "started_ns": START_NS, "ended_ns": None}
            )
            for clock, position in (("cpu", 2), ("wall", 1)):
                kept = [sample for sample in samples if clock == "wall" or sample[position] > 0]
                weights = [round(sample[position] * MS) for sample in kept]
                view = {
                    "type": "sampled",
                    "name": name,
                    "unit": "nanoseconds",
                    "startValue": 0,
                    "endValue": sum(weights),
                    "samples": [sample[0] for sample in kept],
                    "weights": weights,
                }
                views.append(({"clock": clock, "thread": number}, view))
        duration_ns = max((sum(view["weights"]) for _, view in views), default=0)
        header = {
            "version": "0.1.0",
            "interval_ns": 10 * MS,
            "samples": sum(len(samples) for _, _, samples in self.threads),
            "samples_per_second": 100.0,
            "start_unix_ns": START_UNIX_NS,
            "end_unix_ns": START_UNIX_NS + duration_ns,
            "start_monotonic_ns": START_NS,
            "end_monotonic_ns": START_NS + duration_ns,
            "implementation": "CPython",
            "python_version": "3.12.1",
            "platform": "Linux",
            "argv": ["/srv/app.py", "--fast"],
            "lines": True,
            "threads": listed,
            "views": [view for view, _ in views],
            **numbers,
        }
        return {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "spprof": header,
            "shared": {"frames": self.frames},
            "profiles": [view for _, view in views],
        }


def load(recording, folder, **numbers):
    """The profile of a recording."""
    path = folder / "profile.speedscope.json"
    path.write_text(json.dumps(recording.document(**numbers)))
    return spprof.Profile.load(str(path))


def write(recording, path, **numbers):
    """Writes the report of a recording and returns where."""
    load(recording, path.parent, **numbers).save(str(path))
    return path


def known(application):
    """Two threads, 1 s long; `application` is the file of the program's own functions.

    | stack | wall | CPU |
    |---|---|---|
    | main: module, work, parse | 300 ms | 300 ms |
    | main: module, work, query | 200 ms | 50 ms |
    | main: module, fib, fib, fib | 500 ms | 500 ms |
    | worker: run, memcpy, in its first 400 ms | 400 ms | 100 ms |

    The main thread does a tenth of each in turn, ten times.
    """
    recording = Recording()
    module_13 = recording.frame("<module>", application, 13, 1)
    module_14 = recording.frame("<module>", application, 14, 1)
    work_5 = recording.frame("work", application, 5, 4)
    work_8 = recording.frame("work", application, 8, 4)
    fib = recording.frame("fib", application, 11, 10)
    parse = recording.frame("JSONDecoder.parse", "/usr/lib/python3.12/json/decoder.py", 340, 330)
    query = recording.frame("query", "/srv/venv/lib/python3.12/site-packages/db.py", 70, 60)
    run = recording.frame("Thread.run", "/usr/lib/python3.12/threading.py", 900, 890)
    memcpy = recording.frame("memcpy", "/usr/lib/libc.so.6", is_native=True)
    parsing = ([module_13, work_8, parse], 30, 30)
    querying = ([module_13, work_5, query], 20, 5)
    recursing = ([module_14, fib, fib, fib], 50, 50)
    recording.thread("MainThread", [parsing, querying, recursing] * 10, is_main=True)
    recording.thread("worker", [([run, memcpy], 40, 10)] * 10)
    return recording
