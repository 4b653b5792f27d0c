"""Whether what .github/workflows/ci.yml calls is there and takes the arguments that it is given."""

import importlib.util
import itertools
import os
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
sys.path[:0] = [str(ROOT / "tools")]


def commands():
    """Each `run:` line, with each of the values that its job's matrix has for what it names."""
    found = []
    matrix = {}
    for line in WORKFLOW.read_text().splitlines():
        if re.match(r"  \w+:$", line):
            matrix = {}
        values = re.match(r"        (\w+): \[(.*)\]$", line)
        if values:
            matrix[values[1]] = values[2].split(", ")
        command = re.match(r"      - run: (.*)$", line)
        if command:
            names = sorted(set(re.findall(r"\$\{\{ matrix\.(\w+) \}\}", command[1])))
            for chosen in itertools.product(*(matrix[name] for name in names)):
                text = command[1]
                for name, value in zip(names, chosen):
                    text = text.replace("${{ matrix." + name + " }}", value)
                found.append(text)
    return found


def ours():
    """The commands that call a script of the repository."""
    return [command for command in commands() if re.search(r"\.ci/|tools/", command)]


def test_the_workflow_calls_scripts():
    assert len(ours()) >= 6
    assert not any("${{" in command for command in commands())


@pytest.mark.parametrize("command", sorted(set(ours())))
def test_a_script_takes_its_arguments(command, monkeypatch):
    script, *words = command.removeprefix("python3 ").removeprefix("python ").split()
    path = ROOT / script
    assert path.exists()
    if script == ".ci/run":
        assert os.access(path, os.X_OK)
        path = ROOT / "tools" / "test.py"
    module = importlib.import_module(path.stem) if path.stem != "test" else load(path)
    # Raises SystemExit where they are wrong.
    monkeypatch.setattr(sys, "argv", [script, *words])
    module.parse_options()


def load(path):
    """A module whose name another module has."""
    specification = importlib.util.spec_from_file_location("spprof_checks", path)
    module = importlib.util.module_from_spec(specification)
    # dataclasses look their module up there.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module
