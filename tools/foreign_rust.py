"""Debian's compilers for systems that this machine is not: packages are unpacked into a folder, and none is installed.

Needs Debian 12, whose `rustc-web` is new enough and comes with the source of the standard library; no rights beyond those
over the folder.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
RELEASE = "bookworm"


def obstacle() -> str | None:
    """Why nothing can be made here, or None."""
    if sys.platform != "linux":
        return "this is not Linux"
    if platform.machine() != "x86_64":
        return "the toolchain is made for x86_64"
    for program in ("apt-get", "dpkg-deb", "cargo", "cc"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    if not SOURCES.exists() or not any(RELEASE in words for words in _suites(SOURCES.read_text())):
        return "this is not Debian 12"
    return None


def _suites(text: str) -> list[list[str]]:
    return [line.split()[1:] for line in text.splitlines() if line.startswith("Suites:")]


class Unreachable(Exception):
    """There is no way to the packages from here."""


class Archives:
    """A private apt for one release: it knows of nothing installed and needs no root.

    Of packages that are named without one, the architecture is the first of `architectures`. `sources` are for `unpack_sources`.
    """

    def __init__(
        self, folder: Path, release: str, architectures: Sequence[str] = ("amd64",), sources: bool = False
    ) -> None:
        self.folder = folder
        self.configuration = folder / "apt.conf"
        for part in ("lists/partial", "cache/archives/partial", "etc"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        text = SOURCES.read_text().replace(RELEASE, release)
        # The releases in the making have neither updates nor a security archive.
        if release in ("sid", "testing"):
            lines = text.split("\n\n")[0].splitlines()
            text = "\n".join(f"Suites: {release}" if line.startswith("Suites:") else line for line in lines) + "\n"
        apart = "".join(f'"{name}";' for name in architectures)
        (folder / "etc" / "debian.sources").write_text(
            text.replace("Types: deb\n", "Types: deb deb-src\n") if sources else text
        )
        self.configuration.write_text(
            f"""Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "{folder}/etc"; Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";
APT::Architecture "{architectures[0]}"; APT::Architectures {{{apart}}};
APT::Sandbox::User ""; Acquire::Languages "none"; #clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success;
"""
        )

    def update(self) -> None:
        """Brings the lists of packages up to date; raises Unreachable where they cannot be had."""
        command: list[str | Path] = ["apt-get", "-c", self.configuration, "update", "-qq", "--error-on=any"]
        if subprocess.run(command, check=False).returncode != 0:
            raise Unreachable("Debian's packages cannot be reached")

    def unpack(self, names: Sequence[str], destination: Path) -> None:
        """Downloads these packages alone and unpacks them, without running anything of theirs."""
        downloads = self.folder / "downloads" / destination.name
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        subprocess.run(["apt-get", "-c", self.configuration, "download", "-qq", *names], cwd=downloads, check=True)
        _unpack_all(downloads, destination)

    def unpack_with_dependencies(self, names: Sequence[str], destination: Path) -> None:
        """The same with all that they depend on, down to the C library."""
        options = ["install", "--download-only", "-y", "-qq", "--no-install-recommends", *names]
        subprocess.run(["apt-get", "-c", self.configuration, *options], check=True)
        _unpack_all(self.folder / "cache/archives", destination)

    def unpack_sources(self, names: Sequence[str], destination: Path) -> None:
        """Downloads these sources as their authors published them, and unpacks each into a folder of its name."""
        downloads = self.folder / "downloads" / "sources"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        destination.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [
            "apt-get",
            "-c",
            self.configuration,
            "source",
            "--download-only",
            "--tar-only",
            "-qq",
            *names,
        ]
        subprocess.run(command, cwd=downloads, check=True)
        for name in names:
            (archive,) = (each for each in downloads.glob(f"{name}_*.orig.tar.*") if each.suffix != ".asc")
            # Not by tar, which wants a program for each kind of compression.
            unpacked = downloads / name
            shutil.unpack_archive(archive, unpacked)
            (source,) = unpacked.iterdir()
            shutil.rmtree(destination / name, ignore_errors=True)
            source.replace(destination / name)

    def dependencies(self, name: str, prefix: str) -> list[str]:
        """Packages that `name` depends on directly and whose names begin so."""
        command = ["apt-cache", "-c", str(self.configuration), "depends", "--important", name]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        words = [line.split()[-1] for line in output.splitlines() if "Depends:" in line]
        return [word for word in words if word.startswith(prefix)]


def _unpack_all(downloads: Path, destination: Path) -> None:
    """Unpacks every package of a folder and removes the packages."""
    destination.mkdir(parents=True, exist_ok=True)
    # The large ones first, so that none is left for the end.
    archives = sorted(downloads.glob("*.deb"), key=lambda archive: -archive.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda archive: _unpack(archive, destination), archives))
    for archive in archives:
        archive.unlink()


def _unpack(archive: Path, destination: Path) -> None:
    """As `dpkg-deb -x` does, but for what nobody here reads: tests and documents, half of the compiler's source."""
    left_out = [
        "--no-wildcards-match-slash",
        "--exclude=./usr/share/doc",
        "--exclude=./usr/src/*/src",
        "--exclude=./usr/src/*/compiler",
    ]
    tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
    command: list[str | Path] = ["tar", "-x", "--no-same-owner", *left_out, "-C", destination]
    subprocess.run(command, stdin=tar.stdout, check=True)
    if tar.wait() != 0:
        raise subprocess.CalledProcessError(tar.returncode, "dpkg-deb")


class Toolchain:
    """Debian's compiler and linter, and standard libraries that it builds for other systems."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rust = folder / "rust"

    def fetch(self, archives: Archives, more: Sequence[str] = ()) -> None:
        """Makes the compiler, with `more` packages in the same folder. `archives` have to be up to date."""
        library = archives.dependencies("libstd-rust-web-dev", "libstd-rust-web-")
        names = ["rustc-web", "rust-web-clippy", "rust-web-src", "libstd-rust-web-dev", *library]
        names += [name for each in library for name in archives.dependencies(each, "libllvm")]
        archives.unpack([*names, *more], self.rust)

    def environment(self) -> dict[str, str]:
        """What cargo needs to be told to use it."""
        return {
            "RUSTC": str(self.rust / "usr/bin/rustc"),
            "LD_LIBRARY_PATH": str(self.rust / "usr/lib/x86_64-linux-gnu"),
            # The standard library is built, and a later cargo drives this compiler.
            "RUSTC_BOOTSTRAP": "1",
            "PYO3_BUILD_EXTENSION_MODULE": "1",
            "CARGO_TARGET_DIR": str(self.folder / "target"),
        }

    def lints(self) -> dict[str, str]:
        """The same for `cargo check`, which is then clippy and takes no warning."""
        driver = str(self.rust / "usr/bin/clippy-driver")
        return {**self.environment(), "RUSTC_WORKSPACE_WRAPPER": driver, "CLIPPY_ARGS": "-Dwarnings"}

    def crate_of_std(self) -> Path:
        """An empty crate; `cargo build -Zbuild-std` of it builds the standard library."""
        crate = self.folder / "std"
        (crate / "src").mkdir(parents=True, exist_ok=True)
        (crate / "Cargo.toml").write_text('[package]\nname = "empty"\nedition = "2024"\n[workspace]\n')
        (crate / "src" / "lib.rs").write_text("")
        return crate

    def install_std(self, target: str, built: Path) -> None:
        """Puts the libraries that are in `built` where the compiler looks: then nothing unstable is needed to use them."""
        place = self.rust / "usr/lib/rustlib" / target / "lib"
        place.mkdir(parents=True, exist_ok=True)
        for library in built.glob("*.rlib"):
            if not library.name.startswith("libempty"):
                shutil.copy2(library, place)
