"""Fuzzes what reads bytes that nobody vouches for: `python3 tools/fuzz.py [--seconds N] [TARGET...]`.

Builds the targets of fuzz/ with the toolchain's own coverage instrumentation, so that stable Rust and a C++ compiler are
all it takes, and runs each for N seconds on top of the inputs in fuzz/corpus and, for the readers of files, a small file of
every format. What is found on the way is kept in .work/fuzz for the next time; an input that fails is in
.work/fuzz/failures, and the exit status is 1.

With --minimize the inputs kept so far are reduced to the smallest ones that reach as much, and those of them
that are small enough go into fuzz/corpus.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"
KEPT = ROOT / ".work" / "fuzz"
TARGETS = sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))

INSTRUMENTATION = (
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
)
"""What cargo-fuzz passes, without AddressSanitizer: the crates under test have no unsafe code."""

MAX_INPUT_BYTES = 4096
LIMITS = ("-timeout=20", "-rss_limit_mb=2048", f"-max_len={MAX_INPUT_BYTES}")
"""An input that takes 20 s or 2 GiB has failed."""

MAX_COMMITTED_INPUTS = 80
MAX_COMMITTED_BYTES = 512
"""Of one input, and how many of a target: the smallest."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target."""

    target: str
    executions: int
    covered: int
    failure: str | None


def host() -> str:
    """The target triple of this machine: with one named, cargo keeps the instrumentation from build scripts."""
    version = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, text=True, check=True).stdout
    (found,) = re.findall(r"^host: (\S+)$", version, re.MULTILINE)
    return str(found)


def build() -> Path:
    """Builds all targets and returns the folder they are in.

    Not `--locked`: what the crates under test depend on is theirs to say, and cargo brings fuzz/Cargo.lock up to that.
    """
    triple = host()
    folder = ROOT / "target" / "fuzz"
    command = ["cargo", "build", "--quiet", "--release", "--target", triple, "--target-dir", str(folder)]
    environment = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(INSTRUMENTATION)}
    subprocess.run(command, cwd=FUZZ, env=environment, check=True)
    return folder / triple / "release"


def folders(target: str) -> list[str]:
    """Where the inputs of a target are, the one that grows first."""
    found = [KEPT / "inputs" / target, KEPT / "seeds" / target, FUZZ / "corpus" / target]
    found[0].mkdir(parents=True, exist_ok=True)
    found[1].mkdir(parents=True, exist_ok=True)
    return [str(folder) for folder in found if folder.is_dir()]


def environment_of(target: str) -> Mapping[str, str]:
    """Tells a target where its own seeds belong, if it has any."""
    return {**os.environ, "SPPROF_FUZZ_SEEDS": str(KEPT / "seeds" / target)}


def run(binaries: Path, target: str, seconds: int) -> Outcome:
    """Runs one target for that long."""
    failures = KEPT / "failures"
    failures.mkdir(parents=True, exist_ok=True)
    inputs = folders(target)
    # Seeds are written when a target begins, and looked for after that.
    command = [str(binaries / target), f"-max_total_time={seconds}", "-print_final_stats=1", *LIMITS]
    command.append(f"-artifact_prefix={failures / target}-")
    dictionary = FUZZ / f"{target}.dict"
    if dictionary.exists():
        command.append(f"-dict={dictionary}")
    done = subprocess.run(
        [*command, *inputs],
        cwd=KEPT,
        env=environment_of(target),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    executions = re.findall(r"^stat::number_of_executed_units:\s*(\d+)", done.stdout, re.MULTILINE)
    covered = re.findall(r" cov: (\d+) ", done.stdout)
    failure = None if done.returncode == 0 else f"exit status {done.returncode}\n{done.stdout[-4000:]}"
    return Outcome(target, int(executions[-1]) if executions else 0, int(covered[-1]) if covered else 0, failure)


def minimize(binaries: Path, target: str) -> None:
    """Puts the smallest inputs that reach everything into fuzz/corpus."""
    chosen = KEPT / "minimized" / target
    shutil.rmtree(chosen, ignore_errors=True)
    chosen.mkdir(parents=True)
    command = [str(binaries / target), "-merge=1", *LIMITS, str(chosen), *folders(target)]
    subprocess.run(command, cwd=KEPT, env=environment_of(target), check=True, stderr=subprocess.DEVNULL)
    inputs = sorted(chosen.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    committed = FUZZ / "corpus" / target
    shutil.rmtree(committed, ignore_errors=True)
    committed.mkdir(parents=True)
    small = [path for path in inputs if path.stat().st_size <= MAX_COMMITTED_BYTES]
    # All sizes, not only the smallest.
    step = max(1, -(-len(small) // MAX_COMMITTED_INPUTS))
    for number, path in enumerate(small[::step]):
        shutil.copyfile(path, committed / f"{number:03}")
    print(f"{target}: {len(inputs)} inputs, of which {len(small[::step])} are in {committed.relative_to(ROOT)}")


def main() -> int:
    """Does what the command line asks for and returns the exit status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # Checked by hand: `choices` and an empty list do not go together before 3.14.
    parser.add_argument("target", nargs="*", help=f"one of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=30, metavar="N", help="for each target; default: 30")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="targets at a time; default: 2")
    parser.add_argument("--minimize", action="store_true", help="choose inputs for fuzz/corpus instead")
    options = parser.parse_args()
    unknown = sorted(set(options.target) - set(TARGETS))
    if unknown:
        parser.error(f"there is no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs must be 1 or more")
    targets = options.target or TARGETS
    began = time.monotonic()
    binaries = build()
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    if options.minimize:
        for target in targets:
            minimize(binaries, target)
        return 0
    failed = False
    with ThreadPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(lambda target: run(binaries, target, options.seconds), targets):
            verdict = "ok" if outcome.failure is None else f"FAILED: {outcome.failure}"
            print(
                f"{outcome.target:<12}{outcome.executions:>12,} executions{outcome.covered:>7,} places  {verdict}",
                flush=True,
            )
            failed = failed or outcome.failure is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
