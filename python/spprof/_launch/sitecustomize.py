"""Starts the session of ``spprof run`` before the program.

``cli/run.py`` puts this directory first in PYTHONPATH and has ``python`` run the program, so the interpreter imports this
file in place of a ``sitecustomize`` of the user's, before anything of the program. It takes itself out of the environment,
``sys.path`` and ``sys.modules`` again and lets the user's ``sitecustomize`` be imported, so neither the program nor a process
that it starts sees a difference.
"""

import importlib
import os
import sys

_DIRECTORY = os.path.dirname(__file__)


def _leave_environment() -> None:
    """PYTHONPATH and ``sys.path`` as they would be without us."""
    others = os.environ["PYTHONPATH"][len(_DIRECTORY + os.pathsep) :]
    if others:
        os.environ["PYTHONPATH"] = others
    else:
        del os.environ["PYTHONPATH"]
    sys.path.remove(_DIRECTORY)
    sys.path_importer_cache.pop(_DIRECTORY, None)


def _start() -> None:
    """Starts the session, or ends the process with one sentence: a run that samples nothing would pass for a profile."""
    request = os.environ.pop("SPPROF_RUN")
    # The package may have been found through the directory `python -m spprof` was called in, which is not on this path.
    parent = os.path.dirname(os.path.dirname(_DIRECTORY))
    sys.path.insert(0, parent)
    try:
        from spprof.cli import _session_of_run

        _session_of_run.start(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the program must not run unprofiled
        os.write(2, f"spprof run: {error}\n".encode("utf-8", "backslashreplace"))
        os._exit(2)
    finally:
        sys.path.remove(parent)


_leave_environment()
_start()
del sys.modules[__name__]
# ImportError where there is none: `site` expects that, and nothing of this module stays.
importlib.import_module(__name__)
