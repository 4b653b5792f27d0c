"""``%spprof`` and ``%%spprof``: the report of one statement or cell, in a notebook or in IPython's terminal.

Only ``load_ipython_extension`` imports this, and what it needs of IPython it finds in the running shell: spprof depends on no
part of it.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from typing import TYPE_CHECKING, Any

from . import _native, _report, _terminal
from ._profiler import Profiler

if TYPE_CHECKING:
    from types import CodeType

    from ._native import Profile

_USAGE = "%spprof [--interval MS] [--clock CLOCK] [-o FILE] STATEMENT, or the same as %%spprof above a cell"

#: What the profile of the last statement or cell is called in the notebook.
_VARIABLE = "_spprof"


class Report:
    """A profile as a cell shows it: the whole page in a notebook, text in a terminal."""

    def __init__(self, profile: Profile, clock: str | None) -> None:
        self.profile = profile
        self._clock = clock

    def _repr_html_(self) -> str:
        return self.profile._repr_html_()

    def __repr__(self) -> str:
        style = _terminal.style_of(sys.stdout)
        return "\n".join(_report.Report(self.profile, style, clock=self._clock).full())


class _Options:
    """What stands before the statement."""

    def __init__(self, line: str) -> None:
        self.interval_ms: float = 1.0
        self.clock: str | None = None
        self.output: str | None = None
        rest = line.strip()
        while rest.startswith("-"):
            word, _, rest = rest.partition(" ")
            rest = rest.lstrip()
            if word == "--":
                break
            name, has_value, value = word.partition("=")
            if not has_value:
                value, _, rest = rest.partition(" ")
                rest = rest.lstrip()
            self._take(name, value)
        self.statement = rest

    def _take(self, name: str, value: str) -> None:
        if name == "--interval":
            try:
                self.interval_ms = float(value)
            except ValueError:
                raise _usage_error(f"--interval takes a number of milliseconds, not {value!r}") from None
        elif name == "--clock":
            if value not in _native.CLOCKS:
                raise _usage_error(f"--clock takes one of {', '.join(_native.CLOCKS)}, not {value!r}")
            self.clock = value
        elif name in ("-o", "--output"):
            if not value:
                raise _usage_error(f"{name} takes the name of a file")
            self.output = value
        else:
            raise _usage_error(f"there is no option {name}; {_USAGE}")


def _usage_error(text: str) -> Exception:
    """IPython's own: it shows the text and no traceback."""
    error: Exception = importlib.import_module("IPython.core.error").UsageError(f"spprof: {text}")
    return error


class _Magic:
    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def __call__(self, line: str, cell: str | None = None) -> object:
        """Runs a statement or a cell under the profiler and shows where its time went.

        %spprof [--interval MS] [--clock CLOCK] [-o FILE] STATEMENT, or the same as %%spprof above a cell

        The interval is 1 ms if none is given. The file gets the profile in the format that its name says. The report begins at
        the cell: frames of IPython around it are left out, and threads that have nothing to do with it. The profile is in
        the variable `_spprof`.
        """
        __tracebackhide__ = True
        options = _Options(line)
        source = options.statement if cell is None else f"{options.statement}\n{cell}"
        if not source.strip():
            raise _usage_error(f"name something to run: {_USAGE}")
        source = self._shell.transform_cell(source)
        # Known to `linecache` by this name, so tracebacks show it.
        filename = self._shell.compile.cache(source)
        body, last = _compiled(self._shell, source, filename)
        try:
            profiler = Profiler(interval_ms=options.interval_ms)
            profiler.__enter__()
        except (ValueError, RuntimeError) as error:
            raise _usage_error(str(error)) from None
        value = None
        try:
            exec(body, self._shell.user_ns)
            if last is not None:
                value = eval(last, self._shell.user_ns)
        finally:
            # An exception, Ctrl-C above all, makes the time before it no less interesting.
            profiler.__exit__(None, None, None)
            self._show(profiler.profile, filename, options)
        return value

    def _show(self, whole: Profile | None, filename: str, options: _Options) -> None:
        if whole is None:  # the cell itself has stopped the session
            return
        # Matched against names and files, and no function is called so.
        profile = whole.filter(focus=re.compile(f"^{re.escape(filename)}$"), trim=True)
        self._shell.user_ns[_VARIABLE] = profile
        if options.output is not None:
            try:
                profile.save(options.output)
            except OSError as error:
                raise _usage_error(f"{options.output} cannot be written: {error.strerror or error}") from None
        importlib.import_module("IPython.display").display(Report(profile, options.clock))


def _compiled(shell: Any, source: str, filename: str) -> tuple[CodeType, CodeType | None]:
    """What to run, and the expression at the end whose value the cell shows, if there is one."""
    tree = ast.parse(source, filename)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";"):
        ending = tree.body.pop()
        assert isinstance(ending, ast.Expr)
        last = shell.compile(ast.Expression(ending.value), filename, "eval")
    return shell.compile(tree, filename, "exec"), last


def load(shell: Any) -> None:
    """Gives the shell its magics."""
    shell.register_magic_function(_Magic(shell), magic_kind="line_cell", magic_name="spprof")
