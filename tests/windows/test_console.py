"""Consoles, keys and paths of Windows."""

import ctypes
import json
import os
import subprocess
import sys

import pytest

if sys.platform != "win32":
    pytest.skip("the other systems have tests/integration", allow_module_level=True)

import spprof

IS_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")

HERE = os.path.dirname(os.path.abspath(__file__))

WAITS = """
import atexit, signal, time
atexit.register(print, "last words")
for number in ({signals}):
    signal.signal(number, signal.default_int_handler)
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


def pressed(key, *command, cwd):
    """How a command ended in whose console a key was pressed."""
    helper = [sys.executable, os.path.join(HERE, "press_keys.py"), key, sys.executable, *command]
    # A console of its own without a window; without a second one for errors, which Wine would hold open.
    done = subprocess.run(
        helper,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        creationflags=subprocess.CREATE_NO_WINDOW,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("key", "signals"),
    [
        ("CTRL_C_EVENT", ""),
        # Ends a process at once unless the program handles it.
        pytest.param(
            "CTRL_BREAK_EVENT",
            "signal.SIGBREAK,",
            marks=pytest.mark.skipif(IS_WINE, reason="Wine's C library calls no handler of Ctrl-Break"),
        ),
    ],
)
def test_a_key_is_for_the_program_and_not_for_what_started_it(tmp_path, key, signals):
    (tmp_path / "waits.py").write_text(WAITS.replace("{signals}", signals))
    plain = pressed(key, "waits.py", cwd=tmp_path)
    assert (plain["status"], plain["output"]) == (0xC000013A, "ready\nlast words\n")
    assert plain["errors"].endswith("KeyboardInterrupt\n")
    ours = pressed(key, "-m", "spprof", "run", "-q", "-o", "waits.json", "waits.py", cwd=tmp_path)
    assert ours == plain
    profile = spprof.Profile.load(tmp_path / "waits.json")
    assert profile.ending == "exit"
    assert "sleep" not in {row.function_name for row in profile.top()}


COLOURS = """
import json, os, sys
from spprof import _terminal
def mode_of(stream):
    import ctypes, msvcrt
    mode = ctypes.c_uint32()
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno()))
    return mode.value if ctypes.WinDLL("kernel32").GetConsoleMode(handle, ctypes.byref(mode)) else None
seen = {}
for name in ("CONOUT$", "NUL"):
    with open(name, "w") as stream:
        style = _terminal.style_of(stream)
        seen[name] = [stream.isatty(), style.paint("x", "red") != "x", mode_of(stream)]
print(json.dumps(seen))
"""


def test_colours_are_for_a_console_that_understands_them():
    """Which has to be asked to; NUL says that it is a terminal."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    done = subprocess.run(
        [sys.executable, "-c", COLOURS],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        creationflags=subprocess.CREATE_NO_WINDOW,
        check=True,
    )
    seen = json.loads(done.stdout)
    is_terminal, is_coloured, mode = seen["CONOUT$"]
    assert is_terminal
    assert is_coloured == bool(mode & 4)
    assert seen["NUL"] == [True, False, None]


def shown_on_a_console(command, cwd):
    """The characters at the beginning of a console in which a command has run, as many as there are in 30 lines."""
    program = f"""
import ctypes, json, subprocess, sys
with open("CONOUT$", "w") as console:
    status = subprocess.run({command!r}, stdout=console, stderr=console).returncode
    import msvcrt
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(console.fileno()))
    kernel32 = ctypes.WinDLL("kernel32")
    text, read = ctypes.create_unicode_buffer(30 * 80), ctypes.c_uint32()
    assert kernel32.ReadConsoleOutputCharacterW(handle, text, 30 * 80, 0, ctypes.byref(read))
print(json.dumps([status, text[: read.value]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        creationflags=subprocess.CREATE_NO_WINDOW,
        check=True,
    )
    return json.loads(done.stdout)


def test_what_is_not_ascii_is_readable_on_a_console(tmp_path):
    """Whatever the console's own encoding is: a summary has a sign before each error, and this program has such a name."""
    (tmp_path / "työ.py").write_text(
        "import time\nend = time.time() + 0.3\nwhile time.time() < end: sum(range(5000))\n"
    )
    command = [sys.executable, "-m", "spprof", "run", "-o", "ö.json", "työ.py"]
    status, text = shown_on_a_console(command, tmp_path)
    assert status == 0
    assert "±" in text
    assert "työ.py:" in text


def names_in(path):
    return {frame.filename for stack in spprof.Profile.load(path).aggregate() for frame in stack.frames}


def test_paths_that_no_code_page_has(tmp_path):
    folder = tmp_path / "дом 家 🏠"
    folder.mkdir()
    program = folder / "работа.py"
    program.write_text("import time\nend = time.time() + 0.2\nwhile time.time() < end: sum(range(5000))\n")
    output = folder / "профиль.json"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "spprof"]
    done = subprocess.run(
        [*command, "run", "--interval", "5", "-o", str(output), str(program)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert f"spprof: the profile is in {output}; " in done.stderr
    assert str(program) in names_in(output)
    # Its own name is in no encoding of the system's.
    renamed = folder / "次.collapsed"
    converted = subprocess.run(
        [*command, "convert", output.name, "-o", renamed.name],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert converted.returncode == 0, converted.stderr
    assert str(program) in names_in(renamed)
    assert sorted(os.listdir(folder)) == sorted([program.name, output.name, renamed.name])


def test_paths_that_are_longer_than_windows_once_took(tmp_path):
    # In this form every version of Windows takes 32,767 characters.
    folder = "\\\\?\\" + os.path.join(str(tmp_path), *["f" * 100] * 4)
    os.makedirs(folder)
    code = compile("def work(spin):\n    spin(0.1)\n", os.path.join(folder, "long.py"), "exec")
    space = {}
    exec(code, space)

    def spin(cpu_s):
        import time

        until = time.thread_time() + cpu_s
        while time.thread_time() < until:
            sum(range(5000))

    output = os.path.join(folder, "out.json")
    assert len(output) > 400
    spprof.start(interval_ms=5, output_path=output)
    space["work"](spin)
    spprof.stop()
    assert os.listdir(folder) == ["out.json"]
    assert code.co_filename in names_in(output)


def test_what_was_registered_before_a_session_finds_its_file_at_exit(tmp_path):
    path = tmp_path / "out.json"
    program = f"""
import atexit, os
atexit.register(lambda: print("there" if os.path.exists({str(path)!r}) else "absent"))
import spprof
spprof.start(output_path={str(path)!r})
"""
    done = subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "there\n", "")
