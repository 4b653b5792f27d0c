"""Builds the C files beside the tests of safety."""

import os
import shutil
import subprocess
from pathlib import Path

CC = next((found for found in map(shutil.which, (os.environ.get("CC", "cc"), "cc", "gcc", "clang")) if found), None)


def build(source, folder, *options):
    """Makes a shared library of the file `source`, which lies here, in `folder`; returns its path."""
    assert CC, "a C compiler is needed"
    built = folder / Path(source).with_suffix(".so")
    # `-ldl` and `-pthread` are for a glibc before 2.34.
    options = ("-O1", "-w", "-shared", "-fPIC", "-pthread", *options)
    subprocess.run([CC, *options, "-o", built, Path(__file__).with_name(source), "-ldl"], check=True)
    return str(built)
