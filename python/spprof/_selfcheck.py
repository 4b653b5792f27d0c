"""Before the first session: does the profiler see this interpreter's stacks as Python itself does?

Known stacks are walked as memory and compared with ``sys._getframe``. A build whose structures differ from what its version
says is refused here, with what differed, before it could give a single wrong name.
"""

from __future__ import annotations

import sys

from . import _native

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    Stack = list[tuple[str, str, "int | None"]]

# Enough calls for the interpreter to specialise a call site (CPython 3.13 begins after 2 and backs off to 16).
_WARM_UP_CALLS = 40

_has_passed = False


def _expected() -> Stack:
    """The caller's stack by ``sys._getframe``, innermost first."""
    stack: Stack = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        stack.append((getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return stack


def _compare() -> str | None:
    seen, expected = (_native.walk_current_thread(), _expected())  # one line: both see the same one
    if seen == expected:
        return None
    for number, (one, other) in enumerate(zip(seen, expected)):
        if one != other:
            return f"frame {number} from the innermost is {one}, and Python says {other}"
    return f"{len(seen)} frames were found, and Python has {len(expected)}"


class _Instance:
    def __init__(self) -> None:
        self.difference = _compare()


def _generate() -> Iterator[str | None]:
    yield _compare()


def _differences() -> Iterator[str | None]:
    yield _compare()
    yield next(_generate())
    yield next(map(lambda _: _compare(), [0]))  # noqa: C417 - the call from C is the point
    sorted([1, 0], key=lambda _: 0)
    instances = [_Instance() for _ in range(_WARM_UP_CALLS)]
    yield instances[-1].difference


def run_once() -> None:
    """Raises RuntimeError, saying what differs, if a stack is not seen as it is. Costs nothing after the first time."""
    global _has_passed
    if _has_passed:
        return
    for difference in _differences():
        if difference is not None:
            raise RuntimeError(
                f"spprof does not see this interpreter's stacks rightly ({difference}), so it will not profile it; "
                "please report this with the output of `spprof doctor`"
            )
    _has_passed = True
