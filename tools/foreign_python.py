"""CPythons of systems that this machine is not: environments for those that an emulator runs, and one built for musl."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import foreign_rust

MUSL_VERSION = "3.13"
"""Of the CPython that is built for musl."""
MUSL_SOURCES = {"trixie": (f"python{MUSL_VERSION}",), "bookworm": ("libffi", "zlib")}
"""By Debian's releases. The source of libffi of later ones has no `configure`."""
LIBFFI_WITHOUT = ("shared", "docs", "multi-os-directory", "exec-static-tramp")
"""Parts of libffi that are not needed; the last does not compile for musl."""
MUSL_RELEASE = "trixie"
"""Of Debian, with a musl (1.2.5) that is as new as the one that zig links with."""
MUSL_ARCHITECTURES = ("amd64", "arm64")
NATIVE = "x86_64"
"""The processor of this machine. Its interpreter for musl is needed to build the one for another."""


def make_environment(
    folder: Path, version: str, interpreter: Sequence[str | Path], home: str | Path, package: Path
) -> Path:
    """A virtual environment whose site-packages is the folder `package`; returns the path of its Python.

    `interpreter` is what runs Python, an emulator perhaps: then its last words are an option that sets argv[0] and the program.
    `home` is where Python looks for its standard library, as in `pyvenv.cfg`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    programs, library = folder / "bin", folder / "lib" / f"python{version}"
    programs.mkdir(parents=True)
    library.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n")
    (library / "site-packages").symlink_to(package)
    python = programs / f"python{version}"
    if len(interpreter) == 1:
        python.symlink_to(interpreter[0])
    else:
        *emulator, program = map(str, interpreter)
        _write_program(python, f'#!/bin/sh\nexec {" ".join(emulator)} "$0" {program} "$@"\n')
    # As an installer makes it.
    _write_program(programs / "spprof", f"#!{python}\nimport sys\nfrom spprof.cli import main\nsys.exit(main())\n")
    return python


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _run(command: Sequence[str | Path], where: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        print(*done.stdout.splitlines()[-40:], sep="\n", flush=True)
        raise subprocess.CalledProcessError(done.returncode, command)


class MuslPython:
    """musl, and CPython for it, which Debian does not have: built by zig from Debian's sources, for each processor.

    It is there for tests: without OpenSSL, SQLite and whatever else the standard library can do without.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "sources"
        self.musl = folder / "musl"
        """musl for all of `MUSL_ARCHITECTURES`: the loader and the library are one file."""

    def prefix(self, processor: str) -> Path:
        """Where it is installed. That of this machine's processor runs as it is."""
        return self.folder / processor

    def loader(self, processor: str) -> Path:
        """What runs a program for musl."""
        return self.musl / "lib" / f"ld-musl-{processor}.so.1"

    def fetch(self) -> None:
        """All that comes from Debian."""
        for release, names in MUSL_SOURCES.items():
            archives = foreign_rust.Archives(self.folder / f"apt-{release}", release, MUSL_ARCHITECTURES, sources=True)
            archives.update()
            archives.unpack_sources(names, self.sources)
            if release == MUSL_RELEASE:
                # What is left of a try that failed.
                shutil.rmtree(self.musl, ignore_errors=True)
                archives.unpack([f"musl:{architecture}" for architecture in MUSL_ARCHITECTURES], self.musl)
                # Where programs name the loader.
                (self.musl / "lib").symlink_to("usr/lib")

    def build(self, processor: str, zig: Path) -> None:
        """Makes one interpreter; raises CalledProcessError when something fails, and shows the end of what was said."""
        prefix = self.prefix(processor)
        parts = self.folder / f"build-{processor}"
        shutil.rmtree(parts, ignore_errors=True)
        # zlib is built where its source is.
        shutil.copytree(self.sources / "zlib", parts / "zlib")
        environment = {**os.environ, **self._environment(processor, zig)}
        host = []
        python = ["--without-ensurepip", "--disable-test-modules"]
        if processor != NATIVE:
            host = [f"--host={processor}-linux-musl", f"--build={NATIVE}-linux-gnu"]
            python += [f"--with-build-python={self.prefix(NATIVE)}/bin/python{MUSL_VERSION}"]
            # What configure would ask the system for.
            python += ["ac_cv_buggy_getaddrinfo=no", "ac_cv_file__dev_ptmx=yes", "ac_cv_file__dev_ptc=no"]
        libffi = [f"--disable-{part}" for part in LIBFFI_WITHOUT]
        steps = {"zlib": ["--static"], "libffi": [*libffi, *host], f"python{MUSL_VERSION}": [*python, *host]}
        for name, options in steps.items():
            where = parts / name
            where.mkdir(exist_ok=True)
            configure = (parts if name == "zlib" else self.sources) / name / "configure"
            _run([configure, f"--prefix={prefix}", *options], where, environment)
            _run(["make", f"-j{os.cpu_count()}"], where, environment)
            _run(["make", "install"], where, environment)
        shutil.rmtree(parts)

    def _environment(self, processor: str, zig: Path) -> dict[str, str]:
        """What each `configure` is told."""
        prefix = self.prefix(processor)
        compiler = self.folder / f"cc-{processor}"
        # CPython asks gcc for the name of the system, and needs no answer.
        _write_program(
            compiler,
            "#!/bin/sh\n"
            '[ "$1" = --print-multiarch ] && exit 0\n'
            f'exec {zig} cc -target {processor}-linux-musl -fno-sanitize=undefined -Wno-date-time "$@"\n',
        )
        return {
            "CC": str(compiler),
            "AR": f"{zig} ar",
            "RANLIB": f"{zig} ranlib",
            "CFLAGS": "-O1 -fPIC",
            "OPT": "-DNDEBUG",
            "LDFLAGS": f"-dynamic -Wl,--dynamic-linker={self.loader(processor)}",
            "PKG_CONFIG": "/bin/false",
            "LIBFFI_CFLAGS": f"-I{prefix}/include",
            "LIBFFI_LIBS": f"-L{prefix}/lib -lffi",
            "ZLIB_CFLAGS": f"-I{prefix}/include",
            "ZLIB_LIBS": f"-L{prefix}/lib -lz",
        }
