"""Code objects that are gone when the profile is made are named nevertheless, and named rightly."""

import json
import os
import pathlib
import sys

from support import run_python

APPS = pathlib.Path(__file__).parent.parent / "apps"

WALL_S = 20 if os.environ.get("SPPROF_LONG") == "1" else 5


def test_functions_that_are_gone_are_named_rightly():
    seen = json.loads(run_python(APPS / "churn.py", WALL_S))

    assert seen["made"] > 1000
    # What rate Wine reaches says nothing.
    assert seen["generated_frames"] > (10 if sys.platform == "win32" else 100)
    assert seen["mistakes"] == []
    assert seen["strangers"] == []
    assert seen["dropped"] == 0
