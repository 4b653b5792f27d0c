"""Checks for the systems that this machine is not: `python3 tools/cross.py`, as root on Debian, on any Python from 3.9.

Makes a foreign toolchain below .work/cross of Debian's and PyPI's packages: rustc and clippy with the standard library's source,
the standard library for aarch64 Linux ready-made and for musl and macOS built from that source, zig as their linker,
and Debian's CPython for arm64. Then:

clippy   of the crates that touch the system, for every target;
link     of the extension, for every target;
tests    of the platform-free crates for aarch64, and of the package under its CPython, both by qemu-user.

What a runner says in its last line is printed at the end, and what could not be done is named with the reason. Only
gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static are installed, where they are missing; all else is unpacked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work" / "cross"
RUST = WORK / "rust"
"""Debian's rustc with the standard libraries of all targets."""
ARM = WORK / "arm64"
"""Debian's CPython for arm64, unpacked."""
SITE = WORK / "site"
"""Packages of pure Python for the tests."""
PACKAGE = WORK / "package"
"""spprof for aarch64, as a wheel would install it."""
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")

AARCH64 = "aarch64-unknown-linux-gnu"
MUSL = "x86_64-unknown-linux-musl"
MACOS = ("aarch64-apple-darwin", "x86_64-apple-darwin")
BUILT_STD = (MUSL, *MACOS)
"""Targets of which Debian has no standard library."""

INSTALLED = ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static")
QEMU = "/usr/bin/qemu-aarch64-static"
ARM_PYTHONS = ("3.14", "3.15")
TOOLS = ("cargo-zigbuild==0.24.0", "ziglang==0.17.1")
TEST_REQUIREMENTS = ("pytest>=8", "hypothesis>=6", "exceptiongroup", "typing_extensions")

NOT_UNDER_QEMU = {
    "test_waiting_for_the_gil": "/proc/self/task/TID/syscall shows the system calls of the machine below",
    "test_spinning": "the same",
}
"""Tests that qemu-user cannot pass, and why."""

LINK_FLAGS = {
    MUSL: "-C target-feature=-crt-static",
    **dict.fromkeys(MACOS, "-C link-arg=-undefined -C link-arg=dynamic_lookup"),
}


@dataclass
class Report:
    """What became of each step."""

    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> bool:
        """Runs one command from the root of the repository; True if it ends well. Its last line is kept."""
        print(f"\n=== {name}: {' '.join(map(str, command))}", flush=True)
        began = time.monotonic()
        last = ""
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            # Of several runners of one command, each has a line that counts.
            if line.startswith("test result:"):
                self.lines.append(f"{name}: {line.strip()}")
            last = line.strip() or last
        status = process.wait()
        outcome = "ok" if status == 0 else f"FAILED: exit status {status}"
        self.lines.append(f"{name}: {outcome}, {time.monotonic() - began:.0f} s: {last}")
        if status != 0:
            self.failed.append(name)
        return status == 0

    def skip(self, name: str, reason: str) -> None:
        """Notes what is not done."""
        self.lines.append(f"skipped: {name}: {reason}")


def apt_configuration(suite: str) -> Path:
    """A private apt for `suite` that knows of nothing installed, so that whole closures can be fetched, for arm64 too."""
    folder = WORK / f"apt-{suite}"
    for part in ("lists/partial", "cache/archives/partial", "etc"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    stanzas = SOURCES.read_text().split("\n\n")
    if suite != "stable":
        lines = stanzas[0].splitlines()
        stanzas = ["\n".join(f"Suites: {suite}" if line.startswith("Suites:") else line for line in lines)]
    (folder / "etc" / "debian.sources").write_text("\n\n".join(stanzas) + "\n")
    configuration = folder / "apt.conf"
    configuration.write_text(
        f"""Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "{folder}/etc"; Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache"; APT::Architectures {{"amd64";"arm64";}};
APT::Sandbox::User "root"; #clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke;
"""
    )
    return configuration


def unpack(archives: Sequence[Path], folder: Path) -> None:
    """Unpacks packages without running anything of theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)


def fetch(configuration: Path, names: Sequence[str], folder: Path) -> list[Path]:
    """Downloads these packages alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(["apt-get", "-c", configuration, "download", "-qq", *names], cwd=folder, check=True)
    return sorted(folder.glob("*.deb"))


def dependencies(configuration: Path, name: str, prefixes: tuple[str, ...]) -> list[str]:
    """Packages that `name` depends on directly and whose names begin so."""
    command = ["apt-cache", "-c", str(configuration), "depends", "--important", name]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    words = [line.split()[-1] for line in output.splitlines() if "Depends:" in line]
    return [word for word in words if word.startswith(prefixes)]


def make_rust() -> None:
    """Debian's compiler and linter with the standard library for x86_64 and aarch64 Linux, and its source."""
    if (RUST / "ready").exists():
        return
    configuration = apt_configuration("stable")
    subprocess.run(["apt-get", "-c", configuration, "update", "-qq"], check=True)
    library = dependencies(configuration, "libstd-rust-web-dev", ("libstd-rust-web-",))
    names = ["rustc-web", "rust-web-clippy", "rust-web-src", "libstd-rust-web-dev", *library]
    names += [name for each in library for name in dependencies(configuration, each, ("libllvm",))]
    unpack(fetch(configuration, names, WORK / "debs"), RUST)
    arm = WORK / "rust-arm64"
    unpack(fetch(configuration, ["libstd-rust-web-dev:arm64"], WORK / "debs-arm64"), arm)
    shutil.copytree(arm / "usr/lib/rustlib" / AARCH64, RUST / "usr/lib/rustlib" / AARCH64, dirs_exist_ok=True)
    (RUST / "ready").touch()


def compiler() -> dict[str, str]:
    """The environment in which cargo uses it."""
    return {
        "RUSTC": str(RUST / "usr/bin/rustc"),
        "LD_LIBRARY_PATH": str(RUST / "usr/lib/x86_64-linux-gnu"),
        # The standard library is built, and a later cargo drives this compiler.
        "RUSTC_BOOTSTRAP": "1",
        "PYO3_BUILD_EXTENSION_MODULE": "1",
        "CARGO_TARGET_DIR": str(WORK / "target"),
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc",
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER": f"{QEMU} -L /usr/aarch64-linux-gnu",
    }


def make_std(report: Report, cargo: str, target: str) -> bool:
    """The standard library for `target`, built from its source once."""
    place = RUST / "usr/lib/rustlib" / target / "lib"
    if (place / "ready").exists():
        return True
    crate = WORK / "empty"
    (crate / "src").mkdir(parents=True, exist_ok=True)
    (crate / "src" / "lib.rs").write_text("")
    (crate / "Cargo.toml").write_text('[package]\nname = "empty"\nedition = "2024"\n[workspace]\n')
    command = [cargo, "build", "--release", "-Zbuild-std=std,panic_abort", "--manifest-path", f"{crate}/Cargo.toml"]
    environment = {**compiler(), "CARGO_TARGET_DIR": str(crate / "target")}
    if not report.run(f"std {target}", [*command, "--target", target], environment):
        return False
    place.mkdir(parents=True, exist_ok=True)
    for library in (crate / "target" / target / "release" / "deps").glob("*.rlib"):
        if not library.name.startswith("libempty"):
            shutil.copy2(library, place)
    (place / "ready").touch()
    return True


def check(report: Report, cargo: str, tools: Path | None, target: str) -> None:
    """clippy, then a link, for one target."""
    lints = {"RUSTC_WORKSPACE_WRAPPER": str(RUST / "usr/bin/clippy-driver"), "CLIPPY_ARGS": "-Dwarnings"}
    crates = ["--locked", "-p", "capture", "-p", "spprof-python", "--target", target]
    report.run(f"clippy {target}", [cargo, "check", *crates], {**compiler(), **lints})
    if target == AARCH64:
        return
    if tools is None:
        report.skip(f"link {target}", "no zig")
        return
    environment = {**compiler(), "RUSTFLAGS": LINK_FLAGS[target], "CARGO": cargo}
    environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    command: list[str | Path] = [
        tools / "cargo-zigbuild",
        "zigbuild",
        "--locked",
        "-p",
        "spprof-python",
        "--target",
        target,
    ]
    report.run(f"link {target}", command, environment)


def make_zig(report: Report) -> Path | None:
    """A linker for every target, from PyPI."""
    binaries = WORK / "zig" / "bin"
    if (binaries / "cargo-zigbuild").exists():
        return binaries
    if not report.run("venv", [sys.executable, "-m", "venv", WORK / "zig"]):
        return None
    return binaries if report.run("zig", [binaries / "pip", "install", "-q", *TOOLS]) else None


def make_arm_python(version: str) -> Path:
    """Debian's CPython for arm64; returns a script that runs it, which it takes for its own executable."""
    if not (ARM / "usr/bin" / f"python{version}").exists():
        configuration = apt_configuration("sid")
        subprocess.run(["apt-get", "-c", configuration, "update", "-qq"], check=True)
        options = ["-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64"]
        options += ["install", "--download-only", "-y", "-qq", "--no-install-recommends", f"python{version}"]
        subprocess.run(["apt-get", "-c", configuration, *options], check=True)
        unpack(sorted((configuration.parent / "cache/archives").glob("*.deb")), ARM)
        if not (ARM / "lib").exists():
            (ARM / "lib").symlink_to("usr/lib")
    script = WORK / "bin" / f"python{version}"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {QEMU} -L {ARM} -0 "$0" {ARM}/usr/bin/python{version} "$@"\n')
    script.chmod(0o755)
    return script


def make_package(report: Report, cargo: str) -> bool:
    """spprof for aarch64. Not the release profile, whose last step alone takes minutes."""
    quick = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    command = [cargo, "build", "--release", "--locked", "-p", "spprof-python", "--target", AARCH64]
    if not report.run(f"link {AARCH64}", command, {**compiler(), **quick}):
        return False
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "spprof", PACKAGE / "spprof")
    for file in (ROOT / "python" / "spprof.data" / "purelib").iterdir():
        shutil.copy2(file, PACKAGE)
    built = WORK / "target" / AARCH64 / "release" / "lib_native.so"
    shutil.copy2(built, PACKAGE / "spprof" / "_native.abi3.so")
    return True


def test_arm(report: Report, cargo: str, tests: Sequence[str]) -> None:
    """The tests of the platform-free crates, and of the package, by qemu-user."""
    crates = ["-p", "interpreter", "-p", "profile", "-p", "formats"]
    report.run(f"cargo test {AARCH64}", [cargo, "test", "--locked", *crates, "--target", AARCH64], compiler())
    if not make_package(report, cargo):
        return
    if not (SITE / "pytest").exists():
        pure = ["--platform", "any", "--only-binary=:all:", "--python-version", ARM_PYTHONS[0], "--target", str(SITE)]
        report.run("pytest", [sys.executable, "-m", "pip", "install", "-q", *pure, *TEST_REQUIREMENTS])
    environment = {"PYTHONPATH": f"{PACKAGE}:{SITE}", "PYTHONDONTWRITEBYTECODE": "1"}
    # Tests wait for the system to say that a thread is in read(2), and it gives its own number.
    environment["SPPROF_TESTS_SYSTEM_CALLS_OF"] = "x86_64"
    for name, reason in NOT_UNDER_QEMU.items():
        report.skip(f"{name} on aarch64", reason)
    chosen = "not " + " and not ".join(NOT_UNDER_QEMU)
    for version in ARM_PYTHONS:
        python = make_arm_python(version)
        command: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *tests]
        report.run(f"pytest {version} aarch64", command, environment)


def obstacle() -> str | None:
    """Why nothing can be done here."""
    if not SOURCES.exists() or shutil.which("apt-get") is None:
        return "this is not a Debian with /etc/apt/sources.list.d/debian.sources"
    if os.uname().machine != "x86_64":
        return "the toolchain is made for x86_64"
    return None


def main() -> int:
    """Runs everything; the exit status is 1 if anything failed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    targets = (AARCH64, *BUILT_STD)
    parser.add_argument("--target", action="append", choices=targets, help="default: all")
    parser.add_argument("--no-tests", action="store_true", help="checks and links only")
    parser.add_argument("tests", nargs="*", default=["tests/integration/test_stacks.py"], help="run on aarch64")
    options = parser.parse_args()
    report = Report()
    reason = obstacle()
    if reason is not None:
        print(f"skipped: everything: {reason}")
        return 0
    cargo = shutil.which("cargo")
    if cargo is None:
        print("skipped: everything: there is no cargo")
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    make_rust()
    wanted = options.target or targets
    tools = make_zig(report) if any(target != AARCH64 for target in wanted) else None
    for target in wanted:
        if target == AARCH64 or make_std(report, cargo, target):
            check(report, cargo, tools, target)
        if target in MACOS:
            report.skip(f"tests on {target}", "nothing here runs macOS")
        elif target == MUSL:
            report.skip(f"tests on {target}", "Debian has no CPython for musl")
    if AARCH64 in wanted and not options.no_tests:
        if shutil.which("aarch64-linux-gnu-gcc") is None or not Path(QEMU).exists():
            report.run("install", ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *INSTALLED])
        test_arm(report, cargo, options.tests)
    print("\n=== summary")
    print("\n".join(report.lines))
    print(f"FAILED: {', '.join(report.failed)}" if report.failed else "all that could be done passed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
