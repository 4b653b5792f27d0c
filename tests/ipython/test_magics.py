"""`%spprof` and `%%spprof` in a real IPython shell."""

import re
import sys

import pytest
import spprof
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config


@pytest.fixture
def shell():
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.run_cell("%load_ext spprof")
    yield shell
    InteractiveShell.clear_instance()


def run(shell, cell):
    """What the cell gives, what it displays and what it prints."""
    with capture_output() as captured:
        result = shell.run_cell(cell)
    return result, captured


BUSY = """
import threading, time
def busy(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
"""


def stacks(profile):
    """Every distinct stack as names, root first."""
    return {tuple(frame.function_name for frame in stack.frames) for stack in profile.aggregate()}


def test_a_cell(shell):
    shell.run_cell(BUSY)
    result, captured = run(shell, "%%spprof --interval 2\nbusy(0.3)\nanswer = 6 * 7\nanswer")
    result.raise_error()
    # The value of the last expression is the cell's, as without the magic, and its names are the user's.
    assert (result.result, shell.user_ns["answer"]) == (42, 42)
    (output,) = [output for output in captured.outputs if "text/html" in output.data]
    profile = shell.user_ns["_spprof"]
    assert profile.interval_ms == 2
    # Nothing of IPython, and no other thread of the kernel: the report begins at the cell.
    assert {stack[0] for stack in stacks(profile) if stack} == {"<module>"}
    assert ("<module>", "busy") in stacks(profile)
    cpu_ns = profile.time_ns("cpu")
    assert abs(cpu_ns - 300e6) < 0.01 * 300e6 + 4e6
    text = output.data["text/plain"]
    assert re.search(r"^own code +\d+\.\d % ±\d+\.\d +\d+\.\d %  busy", text, re.MULTILINE)
    assert "call tree of the CPU time" in text
    assert "interactiveshell" not in text
    assert output.data["text/html"] == profile._repr_html_()


def test_a_line(shell):
    shell.run_cell(BUSY)
    result, captured = run(shell, "%spprof --clock=wall busy(0.1) or 'done'")
    result.raise_error()
    assert result.result == "done"
    assert any("call tree of the wall time" in output.data["text/plain"] for output in captured.outputs)
    assert shell.user_ns["_spprof"].interval_ms == 1


def test_threads_that_the_cell_starts_are_in_it(shell):
    shell.run_cell(BUSY)
    cell = "%%spprof\nthread = threading.Thread(target=lambda: busy(0.2), name='mine')\nthread.start()\nthread.join()"
    run(shell, cell)[0].raise_error()
    profile = shell.user_ns["_spprof"]
    (thread,) = [thread for thread in profile.threads if thread.name == "mine"]
    assert abs(thread.cpu_ns - 200e6) < 0.01 * 200e6 + 2e6


def test_a_cell_that_fails_is_reported_and_fails(shell):
    shell.run_cell(BUSY)
    result, captured = run(shell, "%%spprof\nbusy(0.05)\n1 / 0")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert any("text/html" in output.data for output in captured.outputs)
    # The traceback is the cell's alone, and shows its line.
    assert "1 / 0" in captured.stdout
    assert "_ipython.py" not in captured.stdout
    assert not spprof.is_active()


def test_ipython_syntax_and_semicolons(shell):
    result, _ = run(shell, "%%spprof\nfolder = %pwd\nfolder;")
    result.raise_error()
    assert result.result is None
    assert shell.user_ns["folder"]


def test_a_file(shell, tmp_path):
    shell.run_cell(BUSY)
    run(shell, f"%%spprof -o {tmp_path}/cell.speedscope.json\nbusy(0.05)")[0].raise_error()
    saved = spprof.Profile.load(tmp_path / "cell.speedscope.json")
    assert saved.time_ns() == shell.user_ns["_spprof"].time_ns()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("%spprof", "name something to run"),
        ("%spprof --interval 1", "name something to run"),
        ("%spprof --interval x 1", "--interval takes a number of milliseconds, not 'x'"),
        ("%spprof --interval 0 1", "interval_ms must be from 0.1 to 1000, not 0.0"),
        ("%spprof --clock moon 1", "--clock takes one of cpu, wall"),
        ("%spprof --speed 1", "there is no option --speed"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(shell, line, sentence):
    result, captured = run(shell, line)
    assert type(result.error_in_exec).__name__ == "UsageError"
    assert sentence in str(result.error_in_exec)
    assert "Traceback" not in captured.stdout + captured.stderr


def test_a_session_that_runs_already(shell):
    spprof.start()
    try:
        result, _ = run(shell, "%spprof 1")
    finally:
        spprof.stop()
    assert "Profiler already running" in str(result.error_in_exec)


def test_importing_spprof_imports_nothing_of_ipython():
    # The magics' module is there since `%load_ext`, not since `import spprof`.
    import subprocess

    program = "import spprof, sys; print([name for name in sys.modules if 'ipython' in name.lower()])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
