"""Slices under other profilers. Those that look from outside are attached to this process for each slice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path

from conditions import Nothing, Spprof, status_bytes

#: A helper that has not begun after this time never does.
READY_LIMIT_S = 20


def helper_cpu_ns(pid):
    """CPU time of all threads of another process."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
            total += int(schedstat.read().split()[0])
    return total


class Outside(Nothing, ABC):
    """A profiler in a process of its own, started for each slice and ended by SIGINT."""

    #: What it prints when it samples; None if it says nothing.
    ready_text: str | None = None

    def __init__(self, interval_ms):
        self.interval_ms = interval_ms
        self.output = Path(tempfile.mkdtemp()) / "profile"
        self._process = None
        self._said = []
        self._began = self._helper_before = 0

    @abstractmethod
    def command(self):
        """The command that attaches to this process."""

    @abstractmethod
    def got(self, said, seconds):
        """Samples taken and asked for, by what it said and the seconds that it was at work."""

    @abstractmethod
    def shares(self):
        """Weight of each innermost function, by its name, in the last output."""

    def begin(self):
        self._said = []
        self.output.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [str(word) for word in self.command()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready), daemon=True)
        self._reader.start()
        if self.ready_text is None:
            # It does not say when it begins; its start-up is over by then.
            time.sleep(1.5)
        elif not ready.wait(READY_LIMIT_S):
            self._process.kill()
            raise RuntimeError(f"did not begin to sample: {' '.join(self._said)[-200:]}")
        if self._process.poll() is not None:
            raise RuntimeError(f"ended at once: {' '.join(self._said)[-200:]}")
        self._began = time.perf_counter()

    def _read(self, process, ready):
        for line in process.stdout:
            self._said.append(line.strip())
            if self.ready_text is not None and self.ready_text in line:
                ready.set()
        ready.set()

    def mark(self):
        self._helper_before = helper_cpu_ns(self._process.pid)

    def end(self, _wall_ns):
        helper_ns = helper_cpu_ns(self._process.pid) - self._helper_before
        seconds = time.perf_counter() - self._began
        with open(f"/proc/{self._process.pid}/status") as status:
            helper_rss = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._reader.join()
        samples, asked = self.got("\n".join(self._said), seconds)
        return {
            "helper_cpu_ns": helper_ns,
            "helper_rss_bytes": helper_rss,
            "rss_bytes": status_bytes("VmRSS"),
            "samples": samples,
            "asked": asked,
        }


def number(pattern, text):
    """The first group of a pattern as a number; RuntimeError if it is not there."""
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"said nothing about {pattern!r}: {text[-200:]}")
    return float(match[1])


def tool(name):
    """A program beside the peer's interpreter."""
    return Path(os.environ["SPPROF_BENCH_PEER"]) / name


class PySpy(Outside):
    ready_text = "Sampling process"
    options: tuple[str, ...] = ()

    def command(self):
        rate = round(1000 / self.interval_ms)
        where = ("-p", os.getpid(), "-r", rate, "-f", "raw", "-o", self.output)
        return (tool("py-spy"), "record", *where, *self.options)

    def got(self, said, seconds):
        return number(r"Samples: (\d+)", said), seconds * 1000 / self.interval_ms

    def shares(self):
        found = {}
        for line in self.output.read_text().splitlines():
            stack, count = line.rsplit(" ", 1)
            name = stack.rsplit(";", 1)[-1].split(" ")[0]
            found[name] = found.get(name, 0) + int(count)
        return found


class PySpyNonblocking(PySpy):
    options = ("--nonblocking",)


class Austin(Outside):
    # The banner comes when it has found the interpreter.
    ready_text = "version:"

    def command(self):
        return (tool("austin"), "-i", f"{round(self.interval_ms * 1000)}us", "-p", os.getpid(), "-o", self.output)

    def got(self, said, seconds):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
        failed, total = number(r"Error rate[ .]*(\d+)/", plain), number(r"Error rate[ .]*\d+/(\d+)", plain)
        # It has sampled before it said anything; its own duration tells since when.
        return total - failed, max(seconds, number(r"Total duration[ .]*([\d.]+)s", plain)) * 1000 / self.interval_ms

    def shares(self):
        return read_mojo(self.output.read_bytes())


def read_mojo(data):
    """Microseconds of each innermost function in a file of Austin's (format MOJO 3 to 4, of Austin 3 and 4)."""
    at = 3

    def varint():
        nonlocal at
        byte = data[at]
        at += 1
        value, shift, is_negative = byte & 0x3F, 6, byte & 0x40
        while byte & 0x80:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
        return -value if is_negative else value

    def text():
        nonlocal at
        end = data.index(0, at)
        found, at = data[at:end].decode(errors="replace"), end + 1
        return found

    varint()
    strings, frames, found, leaf = {}, {}, {}, None
    while at < len(data):
        event = data[at]
        at += 1
        if event == 1:
            text(), text()
        elif event == 2:
            varint(), varint(), text()
            leaf = None
        elif event == 3:
            key, _, scope = varint(), varint(), varint()
            for _ in range(4):
                varint()
            frames[key] = strings.get(scope, "?")
        elif event == 5:
            leaf = frames.get(varint(), "?")
        elif event == 9:
            found[leaf] = found.get(leaf, 0) + varint()
        elif event == 10:
            varint()
        elif event == 11:
            key = varint()
            strings[key] = text()
        elif event == 12:
            varint()
        elif event == 6:
            text()
        elif event not in (4, 7, 8):
            raise RuntimeError(f"an unknown event {event} in Austin's file")
    return found


class ProfilingSampling(Outside):
    def command(self):
        rate = round(1000 / self.interval_ms)
        options = ("-r", rate, "-a", "--collapsed", "-o", self.output)
        return (sys.executable, "-m", "profiling.sampling", "attach", *options, os.getpid())

    def got(self, said, seconds):
        taken, seconds = (
            number(r"Captured ([\d,]+) samples", said.replace(",", "")),
            number(r"samples in ([\d.]+)", said),
        )
        failed = number(r"Error rate: ([\d.]+)", said)
        return taken * (1 - failed / 100), seconds * 1000 / self.interval_ms

    def shares(self):
        found = {}
        for line in self.output.read_text().splitlines():
            stack, count = line.rsplit(" ", 1)
            name = stack.rsplit(";", 1)[-1].split(":")[-2]
            found[name] = found.get(name, 0) + int(count)
        return found


class Inside(Nothing):
    """A profiler in this process."""

    def end(self, wall_ns):
        extra = self.stop(wall_ns)
        return {"rss_bytes": status_bytes("VmRSS"), **(extra or {})}

    def stop(self, _wall_ns):
        """Ends it; what it says of samples."""


class Pyinstrument(Inside):
    def __init__(self, interval_ms):
        import pyinstrument

        self._module, self._interval_ms = pyinstrument, interval_ms

    def begin(self):
        self._profiler = self._module.Profiler(interval=self._interval_ms / 1000)
        self._began = time.perf_counter()
        self._profiler.start()

    def stop(self, _wall_ns):
        seconds = time.perf_counter() - self._began
        session = self._profiler.stop()
        return {"samples": session.sample_count, "asked": seconds * 1000 / self._interval_ms}

    def shares(self):
        found, pending = {}, [self._profiler.last_session.root_frame()]
        while pending:
            frame = pending.pop()
            pending += frame.children
            found[frame.function] = found.get(frame.function, 0.0) + frame.absorbed_time
            # Time of a frame's own is a child of the name `[self]`.
            for child in frame.children:
                if child.function == "[self]":
                    found[frame.function] += child.time
            if not frame.children:
                found[frame.function] += frame.time
        return found


class Yappi(Inside):
    def __init__(self, _interval_ms):
        import yappi

        self._yappi = yappi
        yappi.set_clock_type("cpu")

    def begin(self):
        self._yappi.clear_stats()
        self._yappi.start()

    def stop(self, _wall_ns):
        self._yappi.stop()

    def shares(self):
        return {function.name: function.tsub for function in self._yappi.get_func_stats()}


class CProfile(Inside):
    def __init__(self, _interval_ms):
        import cProfile

        self._new = cProfile.Profile

    def begin(self):
        self._profile = self._new()
        self._profile.enable()

    def stop(self, _wall_ns):
        self._profile.disable()

    def shares(self):
        return {
            entry.code.co_name: entry.inlinetime
            for entry in self._profile.getstats()
            if not isinstance(entry.code, str)
        }


class Scalene(Inside):
    def __init__(self, _interval_ms):
        from scalene import scalene_profiler

        self._scalene = scalene_profiler

    def begin(self):
        self._scalene.start()

    def stop(self, _wall_ns):
        self._scalene.stop()

    def shares(self):
        """Scalene writes its file when the process ends: the caller reads it."""
        return {}


class Ddtrace(Inside):
    def __init__(self, _interval_ms):
        from ddtrace.profiling import Profiler

        self._new = Profiler

    def begin(self):
        self._profiler = self._new()
        self._profiler.start()

    def stop(self, _wall_ns):
        # It writes a file, if one was asked for, when it is flushed.
        self._profiler.stop(flush="DD_PROFILING_OUTPUT_PPROF" in os.environ)

    def shares(self):
        import zstandard
        from pprof import by_function

        output = Path(os.environ["DD_PROFILING_OUTPUT_PPROF"])
        (file,) = output.parent.glob(f"{output.name}.{os.getpid()}.*.pprof")
        with file.open("rb") as compressed:
            return by_function(zstandard.ZstdDecompressor().stream_reader(compressed).read(), "cpu-time")


class SpprofAsPeer(Spprof):
    def end(self, wall_ns):
        return {"rss_bytes": status_bytes("VmRSS"), **super().end(wall_ns)}

    def shares(self):
        return {
            row.function_name: row.self_cpu_ns for row in self.profile.top(None, clock="cpu") if row.self_cpu_ns > 0
        }


KINDS = {
    "spprof": SpprofAsPeer,
    "py-spy": PySpy,
    "py-spy-nonblocking": PySpyNonblocking,
    "austin": Austin,
    "profiling.sampling": ProfilingSampling,
    "pyinstrument": Pyinstrument,
    "yappi": Yappi,
    "cProfile": CProfile,
    "scalene": Scalene,
    "ddtrace": Ddtrace,
    "ddtrace-adaptive": Ddtrace,
}


def make(name, interval_ms):
    """The condition of a peer."""
    return KINDS[name](interval_ms)
