"""What the checks do on Windows, decided on any system; and that they can be planned on the one that this runs on."""

import argparse
import importlib.util
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tools")]

import interpreters  # noqa: E402
import systems  # noqa: E402
from systems import VirtualEnvironment  # noqa: E402


def checks():
    """tools/test.py, whose name another module has."""
    specification = importlib.util.spec_from_file_location("spprof_checks_of_systems", ROOT / "tools" / "test.py")
    module = importlib.util.module_from_spec(specification)
    # dataclasses look their module up there.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


CHECKS = checks()


class Plan(CHECKS.Runner):
    """Says of every step that it went well, and runs none."""

    def run(self, name, command, **_):
        self.results.append((name, "ok", 0.0))
        self.commands[name] = [str(word) for word in command]
        if name.startswith("wheel "):
            folder = pathlib.Path(self.commands[name][-1])
            folder.mkdir(parents=True)
            (folder / "spprof.whl").touch()
        return True


def planned(system, folder, monkeypatch, pythons=("3.9", "3.10", "3.12", "3.13", "3.14", "3.14t")):
    """Every step of all parts."""
    monkeypatch.setattr(CHECKS, "WORK", folder)
    monkeypatch.setattr(CHECKS.shutil, "which", lambda name, **_: name)
    monkeypatch.setattr(CHECKS.interpreters, "has_headers", lambda _: True)
    monkeypatch.setattr(CHECKS.platform, "machine", lambda: "AMD64" if system == "win32" else "x86_64")
    monkeypatch.setattr(CHECKS.foreign_rust, "obstacle", lambda: None)
    plan = Plan({}, system)
    plan.commands = {}
    options = argparse.Namespace(jobs=1, keyword=None, only=None)
    found = {name: f"python{name}" for name in pythons}
    tools = VirtualEnvironment(folder / "venvs" / "tools", system)
    CHECKS.rust(plan)
    CHECKS.lint(plan, tools)
    CHECKS.python_tests(plan, pathlib.Path("uv"), tools, found, options)
    CHECKS.html_tests(plan, pathlib.Path("uv"), tools, found, options)
    CHECKS.other_systems(plan)
    return plan


#: The part that each step belongs to which Windows does without.
STEPS_OF_LINUX = {
    "cargo fmt, floor": "floor",
    "cargo clippy, floor": "floor",
    "fuzz": "fuzz",
    "handler calls": "handler calls",
    "valgrind": "valgrind",
    "layouts": "layouts",
    "CPython's tests 3.14": "CPython's tests",
    "environment 3.10-neighbours": "neighbours",
    "install 3.10-neighbours": "neighbours",
    "neighbours 3.10": "neighbours",
    "environment 3.12-neighbours": "neighbours",
    "install 3.12-neighbours": "neighbours",
    "neighbours 3.12": "neighbours",
    "environment ipython": "IPython",
    "install ipython": "IPython",
    "pytest ipython": "IPython",
    "install speedscope and Firefox Profiler": "consumers",
    "install inferno": "consumers",
    "environment consumers": "consumers",
    "install consumers": "consumers",
    "consumers": "consumers",
    "html": "html",
    "Windows": "other systems",
    "aarch64, musl, macOS": "other systems",
}


def test_a_step_that_windows_lacks_is_named_with_its_reason(tmp_path, monkeypatch):
    linux = planned("linux", tmp_path / "linux", monkeypatch)
    windows = planned("win32", tmp_path / "windows", monkeypatch)
    assert windows.commands.keys() <= linux.commands.keys()
    assert linux.commands.keys() - windows.commands.keys() == STEPS_OF_LINUX.keys()
    reasons = systems.LEFT_OUT["win32"]
    assert set(STEPS_OF_LINUX.values()) == reasons.keys()
    assert sorted(windows.left_out) == sorted(f"{part} ({reason})" for part, reason in reasons.items())
    assert linux.left_out == []


def test_programs_of_environments_are_where_each_system_has_them(tmp_path, monkeypatch):
    for system, pattern in (("linux", r"venvs/[\w.-]+/bin/[\w-]+$"), ("win32", r"venvs/[\w.-]+/Scripts/[\w-]+\.exe$")):
        plan = planned(system, tmp_path / system, monkeypatch)
        words = [word.replace("\\", "/") for command in plan.commands.values() for word in command]
        own = str(tmp_path).replace("\\", "/")
        programs = [word for word in words if word.startswith(own) and re.search(r"venvs/[^/]+/", word)]
        assert len(programs) >= 20
        assert [word for word in programs if not re.search(pattern, word)] == []


def test_windows_is_given_its_own_list_of_tests(tmp_path, monkeypatch):
    linux = planned("linux", tmp_path / "linux", monkeypatch)
    assert linux.commands["pytest 3.13"][-1] == "tests"
    windows = planned("win32", tmp_path / "windows", monkeypatch)
    assert windows.commands["pytest 3.13"][-len(systems.tests("win32")) :] == list(systems.tests("win32"))
    assert ("--compatibility" in linux.commands["wheel abi3"], "--compatibility" in windows.commands["wheel abi3"]) == (
        True,
        False,
    )


def test_every_test_of_windows_is_there_once():
    quick, whole = systems.QUICK_WINDOWS_TESTS, systems.tests("win32")
    for tests in (quick, whole):
        assert len(set(tests)) == len(tests)
        assert [test for test in tests if not (ROOT / test).exists()] == []
    assert [test for test in quick if not test.startswith(whole)] == []


@pytest.mark.parametrize(
    ("name", "system", "expected"),
    [
        ("3.12", "linux", ("python3.12", "python3.12", "python3")),
        ("3.13t", "linux", ("python3.13t", "python3.13", "python3")),
        ("3.12", "darwin", ("python3.12", "python3.12", "python3")),
        ("3.13t", "win32", ("python3.13t.exe", "python3.13.exe", "python.exe")),
    ],
)
def test_what_an_interpreter_is_called(name, system, expected):
    assert systems.executables(name, system) == expected


LISTED = r"""
 -V:3.14t         C:\Users\a b\AppData\Local\Programs\Python\Python314\python3.14t.exe
 -V:3.13 *        C:\hostedtoolcache\windows\Python\3.13.1\x64\python.exe
 -V:Astral/CPython3.11.9 C:\Users\r\AppData\Roaming\uv\python\cpython-3.11.9-windows-x86_64-none\python.exe
 -3.9-64          D:\Python39\python.exe
"""


def test_what_the_launcher_lists():
    assert systems.launcher_paths(LISTED.replace("\n", "\r\n")) == systems.launcher_paths(LISTED)
    assert systems.launcher_paths(LISTED) == [
        r"C:\Users\a b\AppData\Local\Programs\Python\Python314\python3.14t.exe",
        r"C:\hostedtoolcache\windows\Python\3.13.1\x64\python.exe",
        r"C:\Users\r\AppData\Roaming\uv\python\cpython-3.11.9-windows-x86_64-none\python.exe",
        r"D:\Python39\python.exe",
    ]
    assert systems.launcher_paths("No installed Pythons found!\n") == []


def test_an_interpreter_is_found_on_this_system(tmp_path):
    name = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert interpreters._name_of(sys.executable).rstrip("t") == name
    assert interpreters._name_of(str(tmp_path / "absent")) is None


def test_a_step_runs_on_this_system():
    run = CHECKS.Runner(CHECKS.clean_environment())
    assert run.run("good", [sys.executable, "-c", "print('\\xe9')"])
    assert not run.run("bad", [sys.executable, "-c", "raise SystemExit(3)"])
    assert not run.run("absent", [ROOT / "absent"])
    assert [(name, outcome.split(":")[0]) for name, outcome, _ in run.results] == [
        ("good", "ok"),
        ("bad", "FAILED"),
        ("absent", "could not be started"),
    ]
