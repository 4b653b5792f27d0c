"""One recording that all consumers are given, and the tools that `tools/test.py` found for them."""

import threading
import time

import pytest
import spprof


def leaf(cpu_s):
    """Uses so much CPU time itself."""
    until = time.thread_time() + cpu_s
    while time.thread_time() < until:
        pass


def recursive(depth, cpu_s):
    """Is on the stack several times."""
    if depth:
        recursive(depth - 1, cpu_s)
    leaf(cpu_s)


def work():
    """Calls the same function from two places."""
    leaf(0.15)
    recursive(4, 0.05)


class Odd:
    """A name that needs care."""

    def __call__(self):
        return (lambda: leaf(0.1))()


@pytest.fixture(scope="session")
def profile():
    """Two threads, recursion, several callers of one function, a wait."""
    with spprof.Profiler(interval_ms=1) as profiler:
        thread = threading.Thread(target=Odd(), name="worker; with = signs")
        thread.start()
        work()
        thread.join()
        threading.Event().wait(0.05)
    return profiler.profile


def totals_by_name(profile, clock="cpu", whole=False):
    """Nanoseconds on a clock by function name: of its own, or while it was on the stack."""
    key = f"{'total' if whole else 'self'}_{clock}_ns"
    totals = {}
    for row in profile.top(None, clock=clock):
        totals[row.function_name] = totals.get(row.function_name, 0) + getattr(row, key)
    return totals
