"""``@spprof.profile``."""

from __future__ import annotations

from functools import update_wrapper

from . import _arguments, _output
from ._profiler import Profiler
from ._session import is_active

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])
else:

    def overload(function: object) -> object:
        """Only type checkers read what is overloaded."""
        return function


@overload
def profile(function: F, /) -> F: ...
@overload
def profile(  # noqa: F811 - an overload
    function: None = None,
    /,
    *,
    interval_ms: float = ...,
    output_path: str | os.PathLike[str] | None = ...,
    memory_limit_mb: int = ...,
) -> Callable[[F], F]: ...
def profile(  # noqa: F811 - the implementation
    function: Callable[..., Any] | None = None,
    /,
    *,
    interval_ms: float = _arguments.DEFAULT_INTERVAL_MS,
    output_path: str | os.PathLike[str] | None = None,
    memory_limit_mb: int = _arguments.DEFAULT_MEMORY_LIMIT_MB,
) -> Any:
    """Profiles each call of a function, plain, ``async``, generator or async generator, with the parameters of ``start``.

    What the last call recorded is in the function's attribute ``last_profile``; that ``output_path`` could not be written is
    said on standard error, for the call has its own result. While a session runs already - an outer call of a
    recursion, a call in another thread, or one that the program started - a call just runs.
    """
    # Arguments are judged where they are written, not at the first call.
    _arguments.interval_ns(interval_ms)
    _arguments.memory_limit_bytes(memory_limit_mb)
    _arguments.output_path(output_path)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _wrap(function, lambda: Profiler(interval_ms, output_path, memory_limit_mb))

    return decorate if function is None else decorate(function)


class _Call:
    """One call: a session of its own, or none if one runs already."""

    def __init__(self, wrapper: Any, profiler: Profiler) -> None:
        self._wrapper = wrapper
        self._profiler = profiler
        self._is_outermost = False

    def __enter__(self) -> None:
        if is_active():
            return
        try:
            self._profiler.__enter__()
        except RuntimeError:
            if not is_active():
                raise
            # Another thread was quicker.
            return
        self._is_outermost = True

    def __exit__(self, *exception: Any) -> None:
        if self._is_outermost:
            try:
                self._profiler.__exit__(*exception)
            except (OSError, MemoryError) as error:
                # The call has its own result.
                _output.complain(str(self._profiler._output_path), error)
            self._wrapper.last_profile = self._profiler.profile


def _wrap(function: Callable[..., Any], profiler: Callable[[], Profiler]) -> Callable[..., Any]:
    # Imported here because it costs more than all of spprof.
    import inspect

    wrapper: Any
    if inspect.isasyncgenfunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _Call(wrapper, profiler()):
                generator = function(*args, **kwargs)
                try:
                    step = generator.__anext__()
                    while True:
                        try:
                            item = await step
                        except StopAsyncIteration:
                            return
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # noqa: BLE001 - whatever is thrown in is the function's to handle
                            step = generator.athrow(error)
                        else:
                            step = generator.asend(sent)
                finally:
                    await generator.aclose()

    elif inspect.iscoroutinefunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _Call(wrapper, profiler()):
                return await function(*args, **kwargs)

    elif inspect.isgeneratorfunction(function):

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _Call(wrapper, profiler()):
                return (yield from function(*args, **kwargs))

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _Call(wrapper, profiler()):
                return function(*args, **kwargs)

    update_wrapper(wrapper, function)
    wrapper.last_profile = None
    return wrapper  # type: ignore[no-any-return]
