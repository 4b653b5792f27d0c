"""Where CPython keeps what spprof reads: writes the tables of 3.9 to 3.12, checks what we rely on in all versions.

    python3 tools/layouts/generate.py [--check] [PYTHON ...]

PYTHON are interpreters with their headers beside them; one for each minor version is enough. `layouts.c` is compiled
against each one's headers with `cc`; from 3.14 on a second time as a free-threaded build's. Written are

    crates/interpreter/src/layout/tables.rs          for which 3.9, 3.10, 3.11 and 3.12 must be among them
    crates/interpreter/tests/builds/found/NAME.txt  what was found in each build: the truth of the tests

With --check nothing is written: the exit status is 1, and standard error says what differs, if the tables are not what
the headers say, or if a rule that debug_offsets.rs relies on does not hold.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

Facts = dict[str, int]

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
TABLES = ROOT / "crates/interpreter/src/layout/tables.rs"
FOUND = ROOT / "crates/interpreter/tests/builds/found"
WITH_TABLES = ("3.9", "3.10", "3.11", "3.12")

HEADER = """\
//! Layouts of the versions that do not describe themselves: 3.9 to 3.12, release builds with the GIL, 64-bit.
//!
//! Written by `tools/layouts/generate.py`, which compiles `tools/layouts/layouts.c` against the headers of an
//! interpreter of each version; `generate.py --check` compares. Change the generator, not this file. The numbers hold
//! for every final release of a minor version: CPython does not change these structures in patch releases.

use super::{
    Bytecode, BytesLayout, CodeLayout, FrameLayout, FrameSize, Gil, Innermost, Interpreter, Layout, LineTableKind, ObjectLayout,
    Position, Runtime, TextLayout, ThreadStateLayout, TypeLayout, WideText, gil_size_bytes,
};
use crate::identity::Identity;
"""

FUNCTION = """
/// From the headers of {release}.
pub(super) fn python_{name}(identity: Identity) -> Layout {{
    Layout {{
        identity,
        free_threaded: false,
        runtime: Runtime {{ interpreters_head: {runtime[interpreters_head]} }},
        interpreter: Interpreter {{
            next: {interpreter[next]},
            threads_head: {interpreter[threads_head]},
            gc_collecting: {interpreter[gc_collecting]},
            gc_frame: None,
        }},
        thread_state: ThreadStateLayout {{
            previous: {thread[previous]},
            next: {thread[next]},
            interp: {thread[interpreter]},
            thread_id: {thread[thread_id]},
            id_bytes: 8,
            native_thread_id: {native_thread_id},
            innermost: {innermost},
            base_frame: None,
            datastack_chunk: {datastack_chunk},
        }},
        frame: FrameLayout {{
            previous: {frame[previous]},
            code: {frame[executable]},
            position: {position},
            owner: {owner},
            is_entry: {is_entry},
            tlbc_index: None,
        }},
        code: CodeLayout {{
            filename: {code[filename]},
            name: {best_name},
            first_line: {code[first_line]},
            line_table: {code[line_table]},
            line_table_kind: {line_table_kind},
            bytecode: {bytecode},
            first_traceable: {first_traceable},
            frame_size: {frame_size},
            thread_copies: None,
        }},
        object: ObjectLayout {{ ob_type: {object[ob_type]}, ob_size: {object[ob_size]} }},
        type_object: TypeLayout {{ tp_name: {type_object[tp_name]} }},
        bytes: BytesLayout {{ data: {bytes[data]} }},
        text: TextLayout {{
            length: {unicode[length]},
            state: {unicode[state]},
            kind_shift: {unicode[kind_bit]},
            ascii_size: {unicode[ascii_data]},
            compact_size: {unicode[compact_data]},
            wide: {wide},
        }},
        gil: {gil_place},
        gil_size_bytes: gil_size_bytes({gil[before_condition_bytes]}),
        gil_last_holder: {gil[last_holder]},
        gil_locked: {gil[locked]},
        gil_waiters: None,
    }}
}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", default=[sys.executable])
    arguments = parser.parse_args()

    builds: dict[str, Facts] = {}
    for python in arguments.pythons:
        for name, facts in builds_of(python):
            builds[name] = facts
    problems = [problem for name, facts in builds.items() for problem in broken_rules(name, facts)]
    if arguments.check:
        problems += differences(builds)
        print(f"checked {', '.join(builds)}")
    else:
        missing = [name for name in WITH_TABLES if name not in builds]
        if missing:
            parser.error(f"the tables need an interpreter of each of {', '.join(missing)} as well")
        TABLES.write_text(rust(builds, WITH_TABLES))
        for name, facts in builds.items():
            lines = [f"{key} {value}\n" for key, value in facts.items()]
            (FOUND / f"{name}.txt").write_text("".join(lines))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def builds_of(python: str) -> Iterator[tuple[str, Facts]]:
    """The builds that this interpreter's headers describe: (name, facts) pairs."""
    major, minor, flags, asked_include = run([python, "-c", ASK_VERSION_AND_HEADERS]).splitlines()
    include = pathlib.Path(asked_include)
    if not (include / "Python.h").exists():
        # An interpreter that was moved after it was built knows its old place; its headers moved with it.
        include = pathlib.Path(python).resolve().parent.parent / "include" / include.name
    name = f"{major}.{minor}{flags}"
    facts = facts_of(include, [])
    if int(minor) == 13:
        # Its headers have no initializer of the table alone, so it comes from the interpreter.
        facts.update(parsed(run([python, "-c", READ_TABLE_OF_3_13])))
    yield name, facts
    if int(minor) >= 14 and "t" not in flags:
        yield f"{name}t", facts_of(include, ["-DPy_GIL_DISABLED=1"])


ASK_VERSION_AND_HEADERS = """
import sys, sysconfig
print(*sys.version_info[:2], sys.abiflags, sysconfig.get_path("include"), sep="\\n")
"""

READ_TABLE_OF_3_13 = """
import ctypes
runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
for at in range(73):
    print(f"debug_offsets.{at:03}", ctypes.c_uint64.from_address(runtime + 8 * at).value)
"""


def facts_of(include: pathlib.Path, defines: list[str]) -> Facts:
    """What layouts.c prints for these headers: `{"code.filename": 112, ...}`."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "layouts"
        folders = [f"-I{include}", f"-I{include}/internal", f"-I{include}/internal/mimalloc"]
        run(["cc", *defines, *folders, str(HERE / "layouts.c"), "-o", str(program)])
        return parsed(run([str(program)]))


def run(command: list[str], text: str = "") -> str:
    """Standard output of a command that must succeed; its complaints go to ours."""
    return subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True).stdout


def parsed(printed: str) -> Facts:
    """`name value` lines as a dictionary."""
    return {key: int(value) for key, value in (line.split() for line in printed.splitlines())}


def broken_rules(name: str, facts: Facts) -> list[str]:
    """What the Rust code takes for granted about this build, and is not so."""
    free_threaded = bool(facts["free_threaded"])
    own_copies = "code.thread_copies" in facts
    condition_and_mutex = facts["gil.condition_bytes"] + facts["gil.mutex_bytes"]
    rules = [
        # python: `tp_dealloc` is found from `tp_name`, which the debug offsets have.
        ("type_object.tp_dealloc", facts["type_object.tp_name"] + 24),
        # text.rs: compact strings end where legacy ones keep their pointer; `compact` and `ascii` follow `kind`.
        ("unicode.data_pointer", facts["unicode.compact_data"]),
        ("unicode.compact_bit", facts["unicode.kind_bit"] + 3),
        ("unicode.ascii_bit", facts["unicode.kind_bit"] + 4),
        ("bytes.ob_size", facts["object.ob_size"]),
        # layout/mod.rs: `gil_size_bytes`.
        ("gil.size_bytes", facts["gil.before_condition_bytes"] + 2 * condition_and_mutex),
        ("gil.condition_bytes", 48),
    ]
    if facts["hexversion"] >= 0x030B0000:
        # frame_walk.rs: where the frames of a chunk begin.
        rules.append(("chunk.data", 24))
    if facts["hexversion"] >= 0x030D0000:
        # debug_offsets.rs: what the table of 3.13 and later leaves out.
        rules += [
            ("gil.before_condition_bytes", 40 if free_threaded else 32),
            ("code.frame_words", facts["code.first_line"] + 8),
            ("code.first_traceable", facts["code.bytecode"] - (24 if own_copies else 16)),
            ("unicode.kind_bit", 8 if own_copies else 2),
            ("unicode.compact_data", facts["unicode.ascii_data"] + 16),
        ]
    return [
        f"{name}: {fact} is {facts[fact]}, spprof takes it to be {expected}"
        for fact, expected in rules
        if facts[fact] != expected
    ]


def differences(builds: dict[str, Facts]) -> list[str]:
    """Which tables in tables.rs are not what the headers say."""
    written = TABLES.read_text()
    stale = [name for name in WITH_TABLES if name in builds and rust(builds, [name], header="").strip() not in written]
    return [f"{TABLES.name}: the layout of {name} is not what its headers say; run generate.py" for name in stale]


def rust(builds: dict[str, Facts], names: Sequence[str], header: str = HEADER) -> str:
    """The Rust text of these builds' tables, formatted."""
    text = header + "".join(function(name, builds[name]) for name in names)
    return run(["rustfmt", "--edition", "2024", "--config-path", str(ROOT)], text)


def function(name: str, facts: Facts) -> str:
    """The Rust function that returns one build's layout."""
    groups: dict[str, dict[str, int]] = {}
    for key, value in facts.items():
        group, _, field = key.partition(".")
        groups.setdefault(group, {})[field] = value
    frame, code, thread = groups["frame"], groups["code"], groups["thread"]
    hexversion = facts["hexversion"]
    version = hexversion >> 16 & 0xFF
    if "cframe_current_frame" in thread:
        innermost = (
            f"Innermost::ThroughCFrame {{ cframe: {thread['frame_root']},"
            f" current_frame: {thread['cframe_current_frame']} }}"
        )
    else:
        innermost = f"Innermost::Direct({thread['frame_root']})"
    position = {9: "LastIndexBytes", 10: "LastIndexUnits"}.get(version, "Pointer")
    line_table_kind = {9: "Lnotab", 10: "Ranges"}.get(version, "Locations")
    wide = "None"
    if "unicode.wstr" in facts:
        wide = f"Some(WideText {{ pointer: {facts['unicode.wstr']}, length: {facts['unicode.wstr_length']} }})"
    if "code.frame_words" in facts:
        frame_size = f"Some(FrameSize::Words({facts['code.frame_words']}))"
    elif "frame.specials_words" in facts:
        frame_size = (
            f"Some(FrameSize::Parts {{ locals: {facts['code.locals']}, stack: {facts['code.stack']},"
            f" specials_words: {facts['frame.specials_words']} }})"
        )
    else:
        frame_size = "None"
    if "gil.runtime_offset" in facts:
        gil_place = f"Gil::InRuntime({facts['gil.runtime_offset']})"
    else:
        gil_place = f"Gil::PointerInInterpreter({facts['gil.interpreter_pointer']})"
    return FUNCTION.format(
        **{group: fields for group, fields in groups.items() if group not in ("hexversion", "free_threaded")},
        name=name.replace(".", "_"),
        release=f"{hexversion >> 24}.{version}.{hexversion >> 8 & 0xFF}",
        native_thread_id=option(thread.get("native_thread_id")),
        innermost=innermost,
        position=f"Position::{position}({frame['instruction']})",
        owner=option(frame.get("owner")),
        is_entry=option(frame.get("is_entry")),
        datastack_chunk=option(thread.get("datastack_chunk")),
        frame_size=frame_size,
        best_name=code.get("qualname", code["name"]),
        line_table_kind=f"LineTableKind::{line_table_kind}",
        bytecode=f"Bytecode::{'Inline' if version >= 11 else 'Object'}({code['bytecode']})",
        first_traceable=option(code.get("first_traceable")),
        wide=wide,
        gil_place=gil_place,
    )


def option(value: int | None) -> str:
    """A Rust `Option` of a number."""
    return "None" if value is None else f"Some({value})"


if __name__ == "__main__":
    sys.exit(main())
