"""What tools/linked.py reads from libraries of other systems."""

import pathlib
import struct
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent.parent.parent / "tools")]

import linked  # noqa: E402


@pytest.mark.skipif(sys.platform != "linux", reason="the extension is an ELF file on Linux only")
def test_the_extension_of_this_machine():
    from spprof import _native

    found = linked.read(pathlib.Path(_native.__file__))
    assert found.kind.startswith("ELF ")
    assert found.exported == {"PyInit__native"}
    assert {"PyErr_SetObject", "sigaction"} <= found.undefined
    assert any(name.startswith("libc.") for name in found.libraries)
    assert linked.faults(found, found.kind, None, (99, 0)) == []


def mach_o(symbols):
    """A library for arm64 that loads libSystem, with `symbols` as name and kind."""
    library = b"/usr/lib/libSystem.B.dylib\0"
    load = struct.pack("<IIIIII", 0xC, 24 + 32, 24, 0, 0, 0) + library.ljust(32, b"\0")
    start = 32 + len(load) + 24
    strings, entries = b"\0", b""
    for name, kind in symbols:
        entries += struct.pack("<IBBHQ", len(strings), kind, 0, 0, 0)
        strings += name + b"\0"
    table = struct.pack("<6I", 2, 24, start, len(symbols), start + len(entries), len(strings))
    header = struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 6, 2, len(load) + len(table), 0, 0)
    return header + load + table + entries + strings


def test_a_library_of_macos(tmp_path):
    path = tmp_path / "library.dylib"
    # Exported, undefined, private to the library (0x1f), and a note for a debugger (0x24).
    path.write_bytes(mach_o([(b"_PyInit__native", 0xF), (b"_kill", 0x1), (b"_hidden", 0x1F), (b"_source", 0x24)]))
    found = linked.read(path)
    assert found.kind == "Mach-O arm64"
    assert found.libraries == ["/usr/lib/libSystem.B.dylib"]
    assert (found.exported, found.undefined) == ({"PyInit__native"}, {"kill"})


def test_what_is_wrong_is_said():
    good = linked.Linked("ELF x86_64", {"PyInit__native"}, {"kill", "PyErr_Clear", "_Py_Dealloc"})
    assert linked.faults(good, "ELF x86_64", {"kill"}) == []
    assert linked.faults(good, "ELF aarch64", {"kill"}) == ["it is ELF x86_64, not ELF aarch64"]
    assert linked.faults(good, "ELF x86_64", {"raise"}) == ["the system has no kill"]
    empty = linked.Linked("ELF x86_64")
    assert linked.faults(empty, "ELF x86_64", None, (2, 17)) == ["PyInit__native is not exported"]
    late = linked.Linked(
        "ELF x86_64", {"PyInit__native"}, set(), [], {"GLIBC_2.9", "GLIBC_2.17", "GLIBC_2.28", "GCC_3.0"}
    )
    assert linked.faults(late, "ELF x86_64", None, (2, 17)) == ["it asks for GLIBC_2.28"]
    assert "it asks for the version GLIBC_2.9" in linked.faults(late, "ELF x86_64", set())


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 90, mach_o([])[:40], mach_o([(b"_a", 1)])[:-2]]
)
def test_what_is_no_library(tmp_path, content):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|neither|no library|not found"):
        linked.read(path)
