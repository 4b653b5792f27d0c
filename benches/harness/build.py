"""Builds what is measured: the wheel, the wheel with the benchmarks' hooks, and the library of the floor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSIDE = ROOT / "benches" / "inside"

sys.path.insert(0, str(ROOT / "tools"))
import interpreters  # noqa: E402
import test as checks  # noqa: E402 - tools/test.py, which knows how to make all this
from systems import VirtualEnvironment  # noqa: E402

WORK = checks.WORK
FLOOR_TARGET = ROOT / "target" / "floor"
FLOOR_LIBRARY = FLOOR_TARGET / "release" / "libfloor.so"


class BuildError(Exception):
    """Something could not be built; the output above says why."""


@dataclass(frozen=True)
class Built:
    """What a measurement runs."""

    name: str
    """The interpreter: `3.12`."""
    interpreter: Path
    """The interpreter itself."""
    python: Path
    """In the environment with the wheel as it is released."""
    hooks_python: Path
    """In the environment with the wheel with the benchmarks' hooks."""
    uv: Path

    @property
    def site_packages(self) -> Path:
        """Where the wheel is installed."""
        (folder,) = (self.python.parent.parent / "lib").glob("python*/site-packages")
        return folder

    def run_json(self, script: str, *arguments: object, hooks: bool = False, seconds: float = 600) -> str:
        """The last line that a script of `benches/inside` prints, in the wheel's environment or the one with hooks."""
        return last_line([self.hooks_python if hooks else self.python, INSIDE / script, *arguments], seconds)


def environment() -> dict[str, str]:
    """The variables under which measured programs run."""
    return {**checks.clean_environment(), "SPPROF_BENCH_FLOOR": str(FLOOR_LIBRARY), "PYTHONHASHSEED": "0"}


def last_line(command: Sequence[object], seconds: float = 600, more: Mapping[str, str] | None = None) -> str:
    """Runs a command and returns the last line it prints; raises RuntimeError with its complaint if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env={**environment(), **(more or {})},
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"exit status {done.returncode}: {words[-1]}")
    return done.stdout.strip().splitlines()[-1]


def find_interpreter(name: str, uv: Path) -> Path:
    """The interpreter of that name; BuildError if there is none."""
    found = interpreters.find([name], checks.PYTHONS_SCRIPT, str(uv))
    if name not in found:
        raise BuildError(f"No interpreter {name} was found; install it (`uv python install {name}`) or choose another.")
    return Path(found[name])


def build(name: str, *, rebuild: bool) -> Built:
    """Everything for interpreter `name`; what is there already is used unless `rebuild`."""
    WORK.mkdir(exist_ok=True)
    run = checks.Runner(checks.clean_environment())
    uv = checks.find_uv(run)
    if uv is None:
        raise BuildError("uv could not be had.")
    interpreter = find_interpreter(name, uv)
    folders = {kind: WORK / "venvs" / f"{kind}-{name}" for kind in ("bench", "bench-hooks")}
    built = Built(name, interpreter, folders["bench"] / "bin/python", folders["bench-hooks"] / "bin/python", uv)
    if not rebuild and FLOOR_LIBRARY.exists() and built.python.exists() and built.hooks_python.exists():
        return built
    manifest = ROOT / "benches" / "floor" / "Cargo.toml"
    floor = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", FLOOR_TARGET]
    if not run.run("floor", [*map(str, floor)]):
        raise BuildError("The library of the floor could not be built.")
    tools = VirtualEnvironment(WORK / "venvs" / "tools")
    if not tools.program("maturin").exists():
        made = checks.make_environment(run, uv, "tools", str(interpreter), checks.TOOLS, True)
        if made is None:
            raise BuildError("The build tools could not be installed.")
    for kind, features in (("bench", ()), ("bench-hooks", ("bench",))):
        wheel_kind = f"{checks.wheel_kind(name)}-{kind}"
        wheel = checks.build_wheel(run, tools, wheel_kind, str(interpreter), features)
        if (
            wheel is None
            or checks.make_environment(run, uv, f"{kind}-{name}", str(interpreter), [str(wheel)], True) is None
        ):
            raise BuildError(f"The wheel {wheel_kind} could not be built or installed.")
    # The bytecode of the package is part of what is installed, and of the time of an import.
    subprocess.run([built.python, "-m", "compileall", "-q", built.site_packages / "spprof"], check=True)
    return built
