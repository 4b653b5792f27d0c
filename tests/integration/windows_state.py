"""What `support` asks of the system, asked of Windows."""

import ctypes
from ctypes import wintypes

KERNEL32 = ctypes.WinDLL("kernel32", use_last_error=True)
KERNEL32.GetCurrentProcess.restype = wintypes.HANDLE
KERNEL32.GetProcessHandleCount.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
KERNEL32.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
KERNEL32.CloseHandle.argtypes = (wintypes.HANDLE,)
THREAD_QUERY_LIMITED_INFORMATION = 0x800
KERNEL32.OpenThread.restype = wintypes.HANDLE
KERNEL32.GetThreadTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(ctypes.c_uint64)] * 4)
KERNEL32.K32GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)

SNAPSHOT_OF_THREADS = 4


class ThreadEntry(ctypes.Structure):
    """THREADENTRY32."""

    _fields_ = [
        ("size", wintypes.DWORD),
        ("usage", wintypes.DWORD),
        ("thread_id", wintypes.DWORD),
        ("process_id", wintypes.DWORD),
        ("base_priority", wintypes.LONG),
        ("priority_change", wintypes.LONG),
        ("flags", wintypes.DWORD),
    ]


for name in ("Thread32First", "Thread32Next"):
    getattr(KERNEL32, name).argtypes = (wintypes.HANDLE, ctypes.POINTER(ThreadEntry))


class MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS_EX."""

    _fields_ = [
        ("size", wintypes.DWORD),
        ("page_faults", wintypes.DWORD),
        *[
            (name, ctypes.c_size_t)
            for name in (
                "peak",
                "working_set",
                "pool_1",
                "pool_2",
                "pool_3",
                "pool_4",
                "pages",
                "peak_pages",
                "private",
            )
        ],
    ]


def thread_ids():
    """The threads of this process, by native id."""
    process_id = KERNEL32.GetCurrentProcessId()
    snapshot = KERNEL32.CreateToolhelp32Snapshot(SNAPSHOT_OF_THREADS, 0)
    entry = ThreadEntry(ctypes.sizeof(ThreadEntry))
    ids = set()
    goes_on = KERNEL32.Thread32First(snapshot, entry)
    while goes_on:
        if entry.process_id == process_id:
            ids.add(entry.thread_id)
        goes_on = KERNEL32.Thread32Next(snapshot, entry)
    KERNEL32.CloseHandle(snapshot)
    return ids


def thread_cpu_ns(native_id):
    """What the CPU clock of a thread of this process shows, in steps of 100 ns at best."""
    times = [ctypes.c_uint64() for _ in range(4)]
    handle = KERNEL32.OpenThread(THREAD_QUERY_LIMITED_INFORMATION, False, native_id)
    assert KERNEL32.GetThreadTimes(handle, *times)
    KERNEL32.CloseHandle(handle)
    return 100 * sum(time.value for time in times[2:])


def performance_counter_ns():
    """The clock of samples' times. `time.perf_counter_ns` reads it too, but up to 3.9 it begins at 0."""
    ticks, per_s = ctypes.c_int64(), ctypes.c_int64()
    KERNEL32.QueryPerformanceFrequency(ctypes.byref(per_s))
    KERNEL32.QueryPerformanceCounter(ctypes.byref(ticks))
    return ticks.value * 1_000_000_000 // per_s.value


def handle_count():
    """Open handles of this process."""
    count = wintypes.DWORD()
    assert KERNEL32.GetProcessHandleCount(KERNEL32.GetCurrentProcess(), count)
    return count.value


def private_bytes():
    """Memory that is this process's own."""
    counters = MemoryCounters(ctypes.sizeof(MemoryCounters))
    assert KERNEL32.K32GetProcessMemoryInfo(KERNEL32.GetCurrentProcess(), ctypes.byref(counters), counters.size)
    return counters.private
