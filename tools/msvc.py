"""The extension as MSVC's toolchain builds it, where there is none of Microsoft's: Debian's `lld-link` and what is made here.

Rust's compiler needs no more of that toolchain than a linker, import libraries, which say no more than what a library exports,
and the few symbols of Microsoft's static C library that a DLL without C code asks for. Exports are read from the libraries
that the extension meets when it runs: Wine's, and the C++ runtime that CPython brings along.

What is made differs from a wheel in this: its entry point runs no constructors of C, of which it has none, and its C library is the
system's, not the names that Microsoft's linker would write for it. The compiler, its calling convention and unwinding are the same.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import foreign_rust

TARGET = "x86_64-pc-windows-msvc"

LIBRARIES = ("kernel32", "ntdll", "userenv", "ws2_32", "dbghelp", "ucrtbase")
"""Of Wine: those that Rust's standard library names, and the C library."""
CPP_RUNTIME = "vcruntime140"
"""Copies memory and unwinds."""
EMPTY = "legacy_stdio_definitions"
"""Named by Rust's standard library; nothing of it is needed."""

START = """
    .text
    .globl _DllMainCRTStartup
_DllMainCRTStartup:
    movl $1, %eax
    ret
    .data
    .globl _fltused, _tls_index, "??_7type_info@@6B@"
_fltused: .long 0x9875
_tls_index: .quad 0
"??_7type_info@@6B@": .quad 0, 0
    .section .tls,"dw"
_tls_start: .quad 0
    .section .tls$ZZZ,"dw"
_tls_end: .quad 0
    .section .CRT$XLA,"dr"
__xl_a: .quad 0
    .section .CRT$XLZ,"dr"
__xl_z: .quad 0
    .section .rdata$T,"dr"
    .balign 16
    .globl _tls_used
_tls_used:
    .quad _tls_start, _tls_end, _tls_index, __xl_a + 8
    .long 0, 0
"""
"""What of Microsoft's static library is asked for: the entry point, the directory of thread-local storage with the list of its
callbacks (PE format, ".tls section"), a mark for who uses floats, and the table that every C++ type's description begins with."""


def exported_names(library: bytes) -> list[str]:
    """What a DLL exports by name (PE format, "Export Directory Table")."""
    (header,) = struct.unpack_from("<I", library, 0x3C)
    (sections,) = struct.unpack_from("<H", library, header + 6)
    (optional_bytes,) = struct.unpack_from("<H", library, header + 20)
    (directory,) = struct.unpack_from("<I", library, header + 24 + 112)
    table: list[tuple[int, int, int, int]] = [
        struct.unpack_from("<IIII", library, header + 24 + optional_bytes + 40 * at + 8) for at in range(sections)
    ]

    def offset(address: int) -> int:
        for size, begin, size_in_file, place in table:
            if begin <= address < begin + max(size, size_in_file):
                return address - begin + place
        raise ValueError(f"no section has the address {address:#x}")

    def names() -> Iterator[str]:
        (count,) = struct.unpack_from("<I", library, offset(directory) + 24)
        (pointers,) = struct.unpack_from("<I", library, offset(directory) + 32)
        for address in struct.unpack_from(f"<{count}I", library, offset(pointers)):
            begin = offset(address)
            yield library[begin : library.index(b"\0", begin)].decode("ascii")

    return sorted(names())


def wanted(library: str, name: str) -> bool:
    """Whether an export goes into the import library. Some have several libraries; C++'s own names are not to be imported."""
    if name.startswith("?"):
        return False
    if library == "ntdll":
        # The rest of it is a C library of its own.
        return name.startswith(("Nt", "Rtl")) or name == "__chkstk"
    return library != "ucrtbase" or name not in ("memcpy", "memmove", "memset", "memcmp")


class Linker:
    """`lld-link` and what it links with, in a folder."""

    def __init__(self, folder: Path, toolchain: foreign_rust.Toolchain) -> None:
        self.folder = folder / "msvc"
        self.toolchain = toolchain
        self.libraries = self.folder / "lib"

    def make(self, archives: foreign_rust.Archives, wine_libraries: Path, python: Path) -> None:
        """Makes all of it. `archives` have to be up to date; `wine_libraries` has Wine's DLLs, `python` is a CPython's folder."""
        rust = self.toolchain.rust
        (llvm,) = (rust / "usr/lib/x86_64-linux-gnu").glob("libLLVM-*.so")
        archives.unpack([f"lld-{re.sub(r'[^0-9]', '', llvm.name)}"], self.folder)
        self.libraries.mkdir(exist_ok=True)
        for name in LIBRARIES:
            self._import(name, (wine_libraries / f"{name}.dll").read_bytes())
        self._import(CPP_RUNTIME, (python / f"{CPP_RUNTIME}.dll").read_bytes())
        for name, text in (("msvcrt", START), (EMPTY, "")):
            assembled = self.libraries / f"{name}.obj"
            self._run(rust / "usr/bin/x86_64-w64-mingw32-as", "-o", assembled, text=text)
            self._run(self.program, "/lib", f"/out:{self.libraries / name}.lib", assembled)

    @property
    def program(self) -> Path:
        """The linker."""
        (program,) = self.folder.glob("usr/lib/llvm-*/bin/lld-link")
        return program

    def _import(self, name: str, library: bytes) -> None:
        exports = [each for each in exported_names(library) if wanted(name, each)]
        listed = self.libraries / f"{name}.def"
        listed.write_text("\n    ".join([f"LIBRARY {name}.dll\nEXPORTS", *exports]) + "\n")
        self._run(self.program, "/lib", f"/def:{listed}", f"/out:{self.libraries / name}.lib", "/machine:x64")

    def _run(self, *command: str | Path, text: str = "") -> None:
        environment = self.toolchain.environment()
        subprocess.run([str(word) for word in command], env=environment, input=text, text=True, check=True)

    def environment(self) -> dict[str, str]:
        """What cargo needs to be told to link with it."""
        target = TARGET.upper().replace("-", "_")
        flags = [f"/libpath:{self.libraries}", f"{CPP_RUNTIME}.lib", "ucrtbase.lib"]
        return {
            f"CARGO_TARGET_{target}_LINKER": str(self.program),
            f"CARGO_TARGET_{target}_RUSTFLAGS": " ".join(f"-Clink-arg={flag}" for flag in flags),
        }
