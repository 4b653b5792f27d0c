"""Names and lines of every instruction of the standard library, as the interpreter itself gives them."""

import dis
import importlib.util
import marshal
import os
import sys
import sysconfig
import zipfile

import pytest
from spprof import _native
from support import codes_in, function_name

PYC_HEADER_BYTES = 16


def source_files():
    """The standard library's files."""
    files = []
    for directory, directories, names in os.walk(sysconfig.get_path("stdlib")):
        directories[:] = sorted(set(directories) - {"site-packages", "__pycache__"})
        files += [os.path.join(directory, name) for name in sorted(names) if name.endswith(".py")]
    # Distributions have links among them whose target is not installed.
    return [path for path in files if os.path.isfile(path)]


def compiled(path):
    """The module's code object, or None where it is not meant to compile: bad syntax is what some test files are for.

    Compiling them all takes three quarters of the test, so what lies in `__pycache__` is taken from there. It may be older than
    the source: it is code of this interpreter all the same, and nothing is compared with the source.
    """
    try:
        with open(importlib.util.cache_from_source(path), "rb") as file:
            content = file.read()
        if content.startswith(importlib.util.MAGIC_NUMBER):
            return marshal.loads(content[PYC_HEADER_BYTES:])
    except OSError:
        pass
    with open(path, "rb") as file:
        source = file.read()
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None


def modules():
    """The code objects of the standard library's modules."""
    for path in source_files():
        module = compiled(path)
        if module is not None:
            yield module
    # CPython for Windows may come without the source: compiled, in an archive.
    archive = os.path.join(sys.prefix, "python{}{}.zip".format(*sys.version_info))
    if os.path.isfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if name.endswith(".pyc"):
                    yield marshal.loads(packed.read(name)[PYC_HEADER_BYTES:])


def lines_by_code_unit(code):
    """The line of each code unit (two bytes), None where there is none, as this interpreter says."""
    units = len(code.co_code) // 2
    if sys.version_info >= (3, 11):
        lines = [line for line, _, _, _ in code.co_positions()]
        assert len(lines) == units
        return lines
    lines = [None] * units
    if sys.version_info >= (3, 10):
        for begin, end, line in code.co_lines():
            lines[begin // 2 : end // 2] = [line] * ((end - begin) // 2)
        return lines
    starts = [*dis.findlinestarts(code), (len(code.co_code), None)]
    # `findlinestarts` leaves out a line that repeats, so what is between two starts is the former's.
    for (begin, line), (end, _) in zip(starts, starts[1:]):
        lines[begin // 2 : end // 2] = [line] * ((end - begin) // 2)
    return lines


def printable(text):
    """A string as it can be encoded: U+FFFD for each lone surrogate."""
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def assert_read_right(code):
    name, filename, lines = _native.code_lines(code)

    assert name == printable(function_name(code))
    assert filename == printable(code.co_filename)
    assert lines == lines_by_code_unit(code), f"{filename}:{code.co_firstlineno} {name}"


@pytest.mark.filterwarnings("ignore")
def test_every_instruction_of_the_standard_library():
    seen = 0
    for module in modules():
        for code in codes_in(module):
            assert_read_right(code)
            seen += 1
    assert seen > 15_000


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "größe",
        "имя",
        "测试",
        "𝒳",
        "a\ud800b",
        "\udfff",
        "\ud83d\ude00",
        "😀\udc80",
        "é",
        "",
        "nul\0inside",
        "x" * 10_000,
        "ß" * 10_000,
        "名" * 10_000,
        "😀" * 10_000,
    ],
    # Not all of it: the id is in the environment of the tests, and Windows takes no more than 32,767 characters there.
    ids=lambda name: ascii(name[:10]),
)
def test_strings_of_every_kind(name):
    code = compile("1", "file", "exec")
    names = {"co_name": name, "co_qualname": name} if hasattr(code, "co_qualname") else {"co_name": name}

    assert_read_right(code.replace(co_filename=name, **names))


@pytest.mark.parametrize("first_line", [1, 2, 127, 128, 255, 256, 65_535, 65_536, 1_000_000, 2**31 - 200_000])
@pytest.mark.parametrize("gap", [0, 1, 62, 63, 64, 126, 127, 128, 254, 255, 256, 1000, 70_000])
def test_lines_at_the_edges_of_the_table(first_line, gap):
    # Forward by a gap within one expression and back again, so that both signs of a line step are in the table.
    source = "f = lambda a: (a +" + "\n" * gap + "a.b(\n a,\n a) + a[" + "\n" * gap + "0])\nf\n"
    for code in codes_in(compile(source, "file", "exec")):
        assert_read_right(code.replace(co_firstlineno=first_line))


@pytest.mark.parametrize("operands", [1, 10, 300, 5000])
def test_long_instructions_and_long_runs_on_one_line(operands):
    source = "x = 0\ny = [" + ", ".join(f"x + a{number}" for number in range(operands)) + "]\nz = 1\n"
    assert_read_right(compile(source, "file", "exec"))


def test_what_is_no_code_object_is_refused():
    with pytest.raises(TypeError, match="code_lines takes a code object, not int"):
        _native.code_lines(1)
