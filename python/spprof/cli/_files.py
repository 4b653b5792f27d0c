"""Reading profiles for the verbs, with errors for people."""

from __future__ import annotations

import sys
import warnings

from spprof import Profile, _native

from . import UsageError

FORMATS = {name: extensions for name, extensions, _, _ in _native.formats()}
"""The endings of file names that mean each format, the usual one first."""

READABLE = ", ".join(name for name, _, is_readable, _ in _native.formats() if is_readable)
"""What can be read, for a help text."""


def load(path: str) -> Profile:
    """The profile in a file; UsageError if there is none. What is not right with it is said on stderr."""
    try:
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            profile = Profile.load(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    for remark in remarks:
        print(f"spprof: {remark.message}", file=sys.stderr)
    return profile
