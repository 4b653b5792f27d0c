"""What a linked extension is: its kind, what it gives and what it asks of the system that loads it.

Read from the file itself, as ELF (System V ABI, chapters 4 and 5) or Mach-O (Apple's <mach-o/loader.h> and <mach-o/nlist.h>),
because the machine that links for other systems has no tools of theirs. Only files of 64 bits, little-endian, are known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

ENTRY = "PyInit__native"
"""What CPython calls when it imports the extension."""

ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
ELF_LIBRARY = 3
ELF_DYNAMIC, ELF_SYMBOLS, ELF_VERSIONS = 6, 11, 0x6FFFFFFE
ELF_NEEDED = 1
MACH_O_MACHINES = {0x01000007: "x86_64", 0x0100000C: "arm64"}
MACH_O_LIBRARY = 6
MACH_O_SYMBOLS, MACH_O_LOADS = 2, (0xC, 0x80000018, 0x8000001F)


@dataclass
class Linked:
    """A library; symbols are named as in C, without the underscore that Mach-O puts before each."""

    kind: str
    exported: set[str] = field(default_factory=set)
    undefined: set[str] = field(default_factory=set)
    libraries: list[str] = field(default_factory=list)
    """What the loader has to load first."""
    versions: set[str] = field(default_factory=set)
    """Versions of symbols that it asks for, such as GLIBC_2.17."""


def read(path: Path) -> Linked:
    """Reads a library; raises ValueError if it is none."""
    data = path.read_bytes()
    try:
        if data[:6] == b"\x7fELF\x02\x01":
            return _read_elf(data)
        if data[:4] == struct.pack("<I", 0xFEEDFACF):
            return _read_mach_o(data)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"{path} is damaged or of an unknown machine: {error}") from None
    raise ValueError(f"{path} is neither ELF nor Mach-O of 64 bits")


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()


def _read_elf(data: bytes) -> Linked:
    kind, machine = struct.unpack_from("<HH", data, 16)
    if kind != ELF_LIBRARY:
        raise ValueError("an ELF file that is no library")
    found = Linked(f"ELF {ELF_MACHINES[machine]}")
    (headers,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    # Of each: type, offset, size, number of the section with its strings.
    sections = [
        (*struct.unpack_from("<I", data, at + 4), *struct.unpack_from("<QQI", data, at + 24))
        for at in range(headers, headers + size * count, size)
    ]
    for kind, offset, length, link in sections:
        if kind == ELF_SYMBOLS:
            for at in range(offset + 24, offset + length, 24):
                name, binding, _, section = struct.unpack_from("<IBBH", data, at)
                # What is weak may be absent (STB_WEAK): Rust's library asks so for what only glibc has.
                if section == 0 and binding >> 4 == 2:
                    continue
                (found.exported if section else found.undefined).add(_text(data, sections[link][1] + name))
        elif kind == ELF_DYNAMIC:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                if tag == ELF_NEEDED:
                    found.libraries.append(_text(data, sections[link][1] + value))
        elif kind == ELF_VERSIONS:
            found.versions |= _elf_versions(data, offset, sections[link][1])
    return found


def _elf_versions(data: bytes, at: int, strings: int) -> set[str]:
    found = set()
    step = -1
    while step != 0:
        _, count, _, inner, step = struct.unpack_from("<HHIII", data, at)
        inner += at
        for _ in range(count):
            _, _, _, name, inner_step = struct.unpack_from("<IHHII", data, inner)
            found.add(_text(data, strings + name))
            inner += inner_step
        at += step
    return found


def _read_mach_o(data: bytes) -> Linked:
    _, machine, _, kind, count, _, _, _ = struct.unpack_from("<8I", data, 0)
    if kind != MACH_O_LIBRARY:
        raise ValueError("a Mach-O file that is no library")
    found = Linked(f"Mach-O {MACH_O_MACHINES[machine]}")
    at = 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        if command in MACH_O_LOADS:
            (name,) = struct.unpack_from("<I", data, at + 8)
            found.libraries.append(_text(data, at + name))
        elif command == MACH_O_SYMBOLS:
            symbols, amount, strings, _ = struct.unpack_from("<4I", data, at + 8)
            for each in range(symbols, symbols + 16 * amount, 16):
                name, kind, _, _, _ = struct.unpack_from("<IBBHQ", data, each)
                # N_STAB has bits of 0xe0, N_PEXT is 0x10, N_TYPE 0x0e (0 is undefined), N_EXT 0x01.
                if not kind & 0xF0 and kind & 1:
                    symbol = _text(data, strings + name)
                    (found.exported if kind & 0x0E else found.undefined).add(symbol.removeprefix("_"))
        at += size
    return found


def faults(linked: Linked, kind: str, known: set[str] | None, newest_glibc: tuple[int, int] = (0, 0)) -> list[str]:
    """What is wrong with an extension that should be of `kind`.

    `known` are the symbols that its system has. Where it is None they have versions instead, of `newest_glibc` at most.
    """
    wrong = []
    if linked.kind != kind:
        wrong.append(f"it is {linked.kind}, not {kind}")
    if ENTRY not in linked.exported:
        wrong.append(f"{ENTRY} is not exported")
    others = {name for name in linked.undefined if not name.startswith(("Py", "_Py"))}
    if known is not None:
        wrong += [f"the system has no {name}" for name in sorted(others - known)]
        wrong += [f"it asks for the version {name}" for name in sorted(linked.versions)]
    for version in linked.versions if known is None else ():
        if version.startswith("GLIBC_") and tuple(map(int, version[6:].split("."))) > newest_glibc:
            wrong.append(f"it asks for {version}")
    return wrong
