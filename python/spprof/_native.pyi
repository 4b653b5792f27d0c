from collections.abc import Iterator, Sequence
from datetime import datetime
from os import PathLike
from re import Pattern
from types import CodeType
from typing import Any, final, overload

__all__ = [
    "CLOCKS",
    "ActivityTotals",
    "Call",
    "Frame",
    "FunctionDifference",
    "FunctionTotals",
    "LineTotals",
    "Profile",
    "ProfileDifference",
    "ProfilerStats",
    "Sample",
    "SampleIterator",
    "Samples",
    "StackTotals",
    "Thread",
    "View",
    "__version__",
    "check_interpreter",
    "code_lines",
    "collection_changed",
    "doctor",
    "format_of",
    "formats",
    "is_active",
    "name_thread",
    "pause",
    "register_thread",
    "resume",
    "snapshot",
    "start",
    "stats",
    "stop",
    "thread_ended",
    "thread_started",
    "unregister_thread",
    "walk_current_thread",
]
CLOCKS: tuple[str, ...]
__version__: str

@final
class Frame:
    function_name: str
    filename: str
    lineno: int
    is_native: bool
    def __new__(cls, function_name: str, filename: str, lineno: int, is_native: bool = False) -> Frame: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Sample:
    timestamp_ns: int
    thread_id: int
    thread_name: str
    frames: tuple[Frame, ...]
    wall_ns: int
    cpu_ns: int
    state: str

@final
class Samples(Sequence[Sample]):
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Sample: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Sample]: ...
    def __iter__(self) -> SampleIterator: ...

@final
class SampleIterator(Iterator[Sample]):
    def __iter__(self) -> SampleIterator: ...
    def __next__(self) -> Sample: ...

@final
class Thread:
    native_id: int
    python_id: int
    name: str
    is_main: bool
    sample_count: int
    cpu_ns: int
    wall_ns: int
    gil_ns: int
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class FunctionTotals:
    function_name: str
    filename: str
    lineno: int
    origin: str
    self_error: float | None
    total_error: float | None
    self_samples: int
    total_samples: int
    self_cpu_ns: int
    total_cpu_ns: int
    self_wall_ns: int
    total_wall_ns: int
    self_gil_ns: int
    total_gil_ns: int
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class StackTotals:
    frames: tuple[Frame, ...]
    samples: int
    cpu_ns: int
    wall_ns: int
    gil_ns: int

@final
class LineTotals:
    function_name: str
    filename: str
    lineno: int
    origin: str
    self_samples: int
    total_samples: int
    self_ns: int
    total_ns: int
    self_error: float | None
    total_error: float | None
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Call:
    level: int
    has_siblings: bool
    is_last: bool
    function_name: str
    filename: str
    lineno: int
    origin: str
    self_ns: int
    total_ns: int
    folded_calls: int
    folded_ns: int
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class ActivityTotals:
    activity: str
    time_ns: int
    place: Frame | None
    own_place: Frame | None
    place_ns: int
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class FunctionDifference:
    function_name: str
    filename: str
    lineno: int
    origin: str
    self_before_ns: int
    self_after_ns: int
    total_before_ns: int
    total_after_ns: int
    ratio: float
    ratio_low: float
    ratio_high: float
    confidence: float
    is_certain: bool
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class ProfileDifference:
    clock: str
    scale: float
    before_ns: int
    after_ns: int
    functions: list[FunctionDifference]
    changes: list[FunctionDifference]
    def save(self, path: str | PathLike[str]) -> None: ...

@final
class ProfilerStats:
    collected_samples: int
    dropped_samples: int
    truncated_samples: int
    torn_samples: int
    missed_ticks: int
    duration_ms: float
    achieved_rate_hz: float
    overhead_estimate_pct: float
    profiler_cpu_ns: int
    handler_ns: int
    memory_bytes: int
    threads: int
    threads_without_timer: int
    threads_refused: int
    stale_signals: int
    unclaimed_signals: int

@final
class Profile:
    start_time: datetime
    end_time: datetime
    ending: str | None
    interval_ms: float
    samples: Samples
    sample_count: int
    dropped_count: int
    python_version: str
    platform: str
    total_duration_ms: float
    effective_rate_hz: float
    running_rate_hz: float
    threads: tuple[Thread, ...]
    counters: dict[str, int]
    def view(self, clock: str) -> View: ...
    def aggregate(self, *, clock: str | None = None) -> list[StackTotals]: ...
    def top(self, limit: int | None = 10, *, clock: str = "cpu", sort: str = "self") -> list[FunctionTotals]: ...
    def time_ns(self, clock: str = "cpu") -> int: ...
    def lines(self, limit: int | None = 10, *, clock: str = "cpu") -> list[LineTotals]: ...
    def calls(
        self, *, clock: str = "cpu", min_share: float = 0.01, limit: int | None = None, lines: bool = False
    ) -> list[Call]: ...
    def activities(self) -> list[ActivityTotals]: ...
    def filter(
        self,
        *,
        thread: str | int | None = None,
        focus: str | Pattern[str] | None = None,
        ignore: str | Pattern[str] | None = None,
        trim: bool = False,
    ) -> Profile: ...
    def merge(self, *others: Profile) -> Profile: ...
    def diff(
        self,
        other: Profile,
        *,
        clock: str = "cpu",
        units: tuple[float, float] | None = None,
        at_least: float = 0.03,
        min_share: float = 0.005,
    ) -> ProfileDifference: ...
    def to_speedscope(self, *, clock: str | None = None, lines: bool = False) -> dict[str, Any]: ...
    def to_collapsed(self, *, clock: str | None = None, lines: bool = False, threads: bool = False) -> str: ...
    def save(
        self,
        path: str | PathLike[str],
        format: str | None = None,  # noqa: A002 - the name in the contract
        *,
        clock: str | None = None,
        lines: bool = False,
        threads: bool = False,
    ) -> None: ...
    def _repr_html_(self) -> str: ...
    def losses(
        self,
        format: str,  # noqa: A002 - as in `save`
        *,
        clock: str | None = None,
        lines: bool = False,
        threads: bool = False,
    ) -> list[str]: ...
    @staticmethod
    def load(path: str | PathLike[str]) -> Profile: ...

@final
class View:
    clock: str
    total_ns: int
    def top(self, limit: int | None = 10, *, sort: str = "self") -> list[FunctionTotals]: ...
    def aggregate(self) -> list[StackTotals]: ...
    def to_speedscope(self, *, lines: bool = False) -> dict[str, Any]: ...
    def to_collapsed(self, *, lines: bool = False, threads: bool = False) -> str: ...
    def save(
        self,
        path: str | PathLike[str],
        format: str | None = None,  # noqa: A002 - the name in the contract
        *,
        lines: bool = False,
        threads: bool = False,
    ) -> None: ...

def start(
    interval_ns: int,
    memory_limit_bytes: int,
    *,
    max_depth_frames: int,
    output_path: str | None,
    output_format: str | None,
    output_clock: str | None = None,
    hidden_directory: str,
) -> None: ...
def stop(*, at_exit: bool = False) -> Profile: ...
def snapshot() -> Profile: ...
def pause() -> None: ...
def resume() -> None: ...
def collection_changed(phase: str, info: object, /) -> None: ...
def is_active() -> bool: ...
def stats() -> ProfilerStats | None: ...
def register_thread() -> bool: ...
def unregister_thread() -> bool: ...
def thread_started(name: str) -> None: ...
def thread_ended(name: str) -> None: ...
def name_thread(native_id: int, name: str) -> None: ...
def check_interpreter() -> None: ...
def walk_current_thread() -> list[tuple[str, str, int | None]]: ...
def code_lines(code: CodeType) -> tuple[str, str, list[int | None]]: ...
def formats() -> list[tuple[str, list[str], bool, str]]: ...
def format_of(path: str | PathLike[str]) -> str: ...
def doctor() -> dict[str, Any]: ...
