"""What the import libraries for MSVC are made of."""

import pathlib
import struct
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent.parent / "tools")]

import msvc  # noqa: E402


def library(names):
    """A DLL that exports these names, of one section, loaded 0x1000 further on than it stands in the file."""
    header, sections, section, loaded = 0x40, 0x40 + 24 + 240, 0x200, 0x1200
    content = bytearray(section)
    struct.pack_into("<I", content, 0x3C, header)
    struct.pack_into("<H", content, header + 6, 1)
    struct.pack_into("<H", content, header + 20, 240)
    struct.pack_into("<II", content, header + 24 + 112, loaded, 40)
    text = b"".join(name.encode() + b"\0" for name in names)
    pointers, addresses = b"", loaded + 40 + 4 * len(names)
    for name in names:
        pointers += struct.pack("<I", addresses)
        addresses += len(name) + 1
    table = struct.pack("<6IIII", 0, 0, 0, 0, 1, len(names), len(names), 0, loaded + 40).ljust(40, b"\0")
    body = table + pointers + text
    struct.pack_into("<8s4I", content, sections, b".edata", len(body), loaded, len(body), section)
    return bytes(content) + body


def test_exports_are_found_by_name():
    assert msvc.exported_names(library(["WriteFile", "CloseHandle"])) == ["CloseHandle", "WriteFile"]


def test_what_no_section_has_is_an_error():
    whole = bytearray(library(["WriteFile"]))
    struct.pack_into("<I", whole, 0x40 + 24 + 112, 0x9000)
    with pytest.raises(ValueError, match="0x9000"):
        msvc.exported_names(bytes(whole))


def test_each_name_comes_from_one_library():
    assert [name for name in ("vcruntime140", "ucrtbase", "ntdll") if msvc.wanted(name, "memcpy")] == ["vcruntime140"]
    assert [name for name in ("ucrtbase", "ntdll") if msvc.wanted(name, "strlen")] == ["ucrtbase"]
    assert msvc.wanted("ntdll", "NtReadFile")
    assert msvc.wanted("ntdll", "__chkstk")
    assert not msvc.wanted("vcruntime140", "??1type_info@@UEAA@XZ")
