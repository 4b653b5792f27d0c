"""``spprof run``: profiles a program that ``python`` itself runs.

The command ends by becoming ``python PROGRAM ARGS`` (exec: the process stays the same), with
``_launch/sitecustomize.py`` on PYTHONPATH, which starts the session before the program. So `sys.argv`, `__main__`,
`sys.path`, tracebacks, the exit status, standard input, Ctrl-C and the outermost frame of every stack are the
interpreter's own doing, on every version, and not an imitation.

Windows has no exec: what bears the name there ends the process at once and leaves its caller with a status of 0. There the
command starts ``python PROGRAM ARGS``, waits for it, and ends with its status. Ctrl-C goes to both, as they share
the console; the program decides what comes of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from spprof import _arguments, _native, _output, _selfcheck

from . import UsageError, _files, _session_of_run

if TYPE_CHECKING:
    from typing import NoReturn

HELP = "runs a program and writes its profile"

_LAUNCH_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_launch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.usage = (
        "spprof run [-o FILE] [--format F] [--clock C] [--interval MS | --rate HZ] [-q] "
        "(SCRIPT | -m MODULE | -c CODE) [ARGS ...]"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="the file to write (default: named after the program)")
    parser.add_argument(
        "--format",
        choices=_files.FORMATS,
        help="format of FILE (default: as its name says, or speedscope)",
    )
    parser.add_argument(
        "--clock",
        choices=_native.CLOCKS,
        help="what FILE and the summary show of what is recorded (default: all that FILE holds, and cpu)",
    )
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--interval", type=_number, metavar="MS", help="time between two samples (default: 10)")
    rate.add_argument("--rate", type=_number, metavar="HZ", help="samples a second (default: 100)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no summary at the end, nor where the profile is")
    program = parser.add_argument_group("program, with its arguments")
    program.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE", help="a module, as python -m")
    program.add_argument("-c", dest="code", nargs=argparse.REMAINDER, metavar="CODE", help="source text, as python -c")
    program.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT", help="a file, or - for standard input")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def act(options: argparse.Namespace) -> NoReturn:
    """Becomes the program. Returns never; UsageError if it cannot be profiled as asked."""
    name, words = _program(options)
    interval_ms = _interval_ms(options)
    suffix = _files.FORMATS[options.format or "speedscope"][0]
    output = options.output or f"spprof-{name}-{os.getpid()}{suffix}"
    try:
        if not os.path.isabs(output):
            output = os.path.join(os.getcwd(), output)
        _output.check_writable(output)
    except OSError as error:
        raise UsageError(f"{error.filename or output}: {error.strerror or error}") from None
    try:
        _selfcheck.run_once()
    except RuntimeError as error:
        raise UsageError(str(error)) from None
    _check_interpreter_options()
    environment = dict(os.environ)
    if words[0].startswith("-") or os.path.exists(words[0]):
        environment["SPPROF_RUN"] = _session_of_run.request(
            interval_ms, options.format, options.clock, output, quiet=options.quiet
        )
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{_LAUNCH_DIRECTORY}{os.pathsep}{others}" if others else _LAUNCH_DIRECTORY
    # Else there is nothing to profile, and `python` says so in its own words.
    interpreter_options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [sys.executable, *interpreter_options, *words]
    try:
        if sys.platform == "win32":
            sys.exit(_status_of(command, environment))
        os.execve(sys.executable, command, environment)
    except OSError as error:
        raise UsageError(f"{sys.executable} cannot be run: {error.strerror or error}") from None


def _status_of(command: list[str], environment: dict[str, str]) -> int:
    """Runs a command to its end; its exit status, as `sys.exit` of Windows takes it: a signed number of 32 bits."""
    with subprocess.Popen(command, env=environment) as process:
        # Ctrl-C and Ctrl-Break are the program's to act on. A handler that does nothing is not inherited, as ignoring would be.
        keys = [signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGINT)]
        before = [signal.signal(number, lambda _number, _frame: None) for number in keys]
        try:
            status = process.wait()
        finally:
            for number, handler in zip(keys, before):
                signal.signal(number, handler)
    return status - (1 << 32) if status >= 1 << 31 else status


def _check_interpreter_options() -> None:
    """A program must not run unprofiled because the interpreter was told to leave the environment alone."""
    if sys.flags.ignore_environment or sys.flags.no_site:
        raise UsageError("the interpreter's options -E, -I and -S keep the profiler out: leave them away")
    if os.pathsep in _LAUNCH_DIRECTORY:
        raise UsageError(f"spprof is installed below a directory with {os.pathsep!r} in its name, {_LAUNCH_DIRECTORY}")


def _program(options: argparse.Namespace) -> tuple[str, list[str]]:
    """A name for the program, and what to call ``python`` with."""
    given = [words for words in (options.module, options.code, options.script or None) if words is not None]
    if len(given) != 1 or not given[0]:
        raise UsageError("name one program to run: SCRIPT, -m MODULE or -c CODE")
    words: list[str] = given[0]
    if options.module is not None:
        return words[0].split(".")[0], ["-m", *words]
    if options.code is not None:
        return "c", ["-c", *words]
    if words[0] == "-":
        return "stdin", words
    return os.path.splitext(os.path.basename(os.path.abspath(words[0])))[0], words


def _interval_ms(options: argparse.Namespace) -> float:
    interval_ms = options.interval
    if options.rate is not None:
        if not options.rate > 0:
            raise UsageError(f"--rate must be a number above 0, not {options.rate:g}")
        interval_ms = 1000 / options.rate
    if interval_ms is None:
        return _arguments.DEFAULT_INTERVAL_MS
    try:
        _arguments.interval_ns(interval_ms)
    except ValueError:
        low, high = _arguments.MIN_INTERVAL_MS, _arguments.MAX_INTERVAL_MS
        asked = f"--interval must be from {low} to {high} ms, not {interval_ms:g}"
        if options.rate is not None:
            asked = f"--rate must be from {1000 / high:g} to {1000 / low:g} Hz, not {options.rate:g}"
        raise UsageError(asked) from None
    return float(interval_ms)
