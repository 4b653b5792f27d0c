"""Reading profiles for the verbs, with errors for people."""

from __future__ import annotations

from spprof import Profile

from . import UsageError


def load(path: str) -> Profile:
    """The profile in a file; UsageError if there is none."""
    try:
        return Profile.load(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
