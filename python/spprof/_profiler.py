"""The context manager."""

from __future__ import annotations

from . import _arguments, _output, _session

# Not from `typing`, whose import takes longer than all of ours.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from types import TracebackType

    from ._native import Profile


class Profiler:
    """Profiles a block: ``with Profiler(interval_ms=5) as p: ...``, then ``p.profile``.

    Takes the parameters of ``start`` and raises what it raises. ``profile`` is None inside the block; an exception in the block
    goes on, and what was recorded is kept.
    """

    def __init__(
        self,
        interval_ms: float = _arguments.DEFAULT_INTERVAL_MS,
        output_path: str | os.PathLike[str] | None = None,
        memory_limit_mb: int = _arguments.DEFAULT_MEMORY_LIMIT_MB,
    ) -> None:
        self._interval_ms = interval_ms
        self._output_path = output_path
        self._memory_limit_mb = memory_limit_mb
        self._token: object = None
        self.profile: Profile | None = None

    def __enter__(self) -> Profiler:
        self.profile = None
        self._token = _session._start(self._interval_ms, self._output_path, self._memory_limit_mb, None)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not _session._is_current(self._token):
            # Stopped inside the block, or this is the child of a fork in it; a session that runs now is somebody else's.
            return
        try:
            self.profile = _session.stop()
        except (OSError, MemoryError) as error:
            self.profile = getattr(error, "profile", None)
            if exc is None:
                raise
            # The block's own exception goes on.
            _output.complain(str(self._output_path), error)
