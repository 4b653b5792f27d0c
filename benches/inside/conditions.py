"""What a slice can run under: nothing, spprof, or ticks with an empty handler."""

from __future__ import annotations

import ctypes
import os


def status_bytes(field):
    """A figure of /proc/self/status."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(field)


class Nothing:
    def begin(self):
        pass

    def mark(self):
        """The measured part begins."""

    def end(self, _wall_ns):
        """What is known beside the times; the measured part took `_wall_ns`."""
        return {}


class Spprof(Nothing):
    def __init__(self, interval_ms):
        import spprof

        self._spprof = spprof
        self._interval_ms = interval_ms
        self._before = None
        self.profile = None

    def begin(self):
        self._spprof.start(interval_ms=self._interval_ms)

    def mark(self):
        self._before = self._spprof.stats()

    def end(self, wall_ns):
        after = self._spprof.stats()
        self.profile = self._spprof.stop()
        return {
            "samples": after.collected_samples - self._before.collected_samples,
            "missed": after.missed_ticks - self._before.missed_ticks,
            "dropped": after.dropped_samples - self._before.dropped_samples,
            "profiler_cpu_ns": after.profiler_cpu_ns - self._before.profiler_cpu_ns,
            "handler_ns": after.handler_ns - self._before.handler_ns,
            "memory_bytes": after.memory_bytes,
            "asked": wall_ns / 1e6 / self._interval_ms,
        }


class Counts(ctypes.Structure):
    _fields_ = (("signals", ctypes.c_uint64), ("overruns", ctypes.c_uint64))


#: The ways of `benches/floor`, by name.
WAYS = {"cpu-clock": 0, "periodic": 1, "one-shot": 2, "sender": 3}


def floor_library():
    """The library of `benches/floor`, whose path the caller put into the environment."""
    library = ctypes.CDLL(os.environ["SPPROF_BENCH_FLOOR"])
    library.floor_start.argtypes = (ctypes.c_int, ctypes.c_uint64)
    library.floor_start.restype = ctypes.c_bool
    library.floor_counts.restype = Counts
    library.floor_signal_ns.argtypes = (ctypes.c_uint64,)
    library.floor_signal_ns.restype = ctypes.c_double
    library.floor_part_ns.argtypes = (ctypes.c_int, ctypes.c_uint64)
    library.floor_part_ns.restype = ctypes.c_double
    library.floor_cycles.restype = ctypes.c_uint64
    library.floor_buckets.restype = ctypes.c_size_t
    library.floor_handler_durations.restype = ctypes.c_uint64
    return library


class Floor(Nothing):
    def __init__(self, way, interval_ms):
        self._library = floor_library()
        self._way = WAYS[way]
        self._interval_ms = interval_ms
        self._before = None

    def begin(self):
        if not self._library.floor_start(self._way, int(self._interval_ms * 1e6)):
            raise RuntimeError("the system gives no timer")

    def mark(self):
        self._before = self._library.floor_counts()

    def end(self, wall_ns):
        after = self._library.floor_counts()
        self._library.floor_stop()
        return {
            "samples": after.signals - self._before.signals,
            "missed": after.overruns - self._before.overruns,
            "asked": wall_ns / 1e6 / self._interval_ms,
        }


def make(name):
    """`off` and `off-again`: nothing; `spprof:MS`; `floor:WAY:MS`; `peer:NAME:MS`."""
    kind, _, rest = name.partition(":")
    if kind in ("off", "off-again"):
        return Nothing()
    if kind == "spprof":
        return Spprof(float(rest))
    if kind == "floor":
        way, interval_ms = rest.split(":")
        return Floor(way, float(interval_ms))
    import peer_conditions

    peer, interval_ms = rest.split(":")
    return peer_conditions.make(peer, float(interval_ms))
