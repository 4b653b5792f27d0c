"""What the signal handlers can call: `python3 tools/handler_calls.py FILE...`, of built extensions or wheels (x86_64).

Follows the machine code from each handler of ours through every call, jump and address of a function that it mentions, by
objdump and readelf, and compares what is reached with what is allowed: nothing that allocates, locks, panics, unwinds or
uses thread-local storage. It also adds up the stack that the deepest path takes, because a handler may run on
an alternate stack of a few KiB. Prints what it found; the exit status is 1 if anything is reached that should not be.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HANDLERS = {
    "capture::sigprof::entry": frozenset(
        {
            "__errno_location",
            "clock_gettime",
            "pthread_self",
            "pthread_sigmask",
            "sigaddset",
            "sigemptyset",
            "syscall",
        }
    ),
    "capture::fault::on_fault": frozenset(
        {
            "__errno_location",
            "getpid",
            "pthread_sigmask",
            "sigaction",
            "sigaddset",
            "syscall",
        }
    ),
    "capture::termination::on_sigterm": frozenset({"__errno_location", "syscall"}),
}
"""Each handler, and what of the C library it may call; all of it is async-signal-safe in glibc and musl."""

CALLS_BY_POINTER = {
    "capture::handler::on_sigprof": "two functions of CPython (`Host`)",
    "capture::disposition::SavedDisposition::call": "the handler that was there before ours",
    "capture::fault::on_fault": "the same, where the compiler has put it in",
}
"""Functions that call an address they were given, and whose it is."""

OUR_CRATES = ("capture::", "interpreter::", "profile::", "spprof_load")

FROM_CORE = ("memcpy", "memset", "memmove")
"""What the compiler itself may call, of the C library too."""

MAX_STACK_BYTES = 2048
"""What all of a handler may use of the stack that it runs on, beside the kernel's own frame."""

SYMBOL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^\s+([0-9a-f]+):\t(?:lock |rep |repz |notrack |bnd )*(\S+)\s*(.*)$")
TARGET = re.compile(r"^([0-9a-f]+) <")
SLOT = re.compile(r"# ([0-9a-f]+) <")
RELOCATION = re.compile(r"^([0-9a-f]+)\s+[0-9a-f]+\s+(R_X86_64_\w+)\s+(.*)$")
SUBTRACTED = re.compile(r"^\$0x([0-9a-f]+),%rsp$")


@dataclass
class Function:
    """One function as it is in the file."""

    name: str
    stack_bytes: int = 8
    """What a call of it takes: the return address, what is pushed, what is subtracted."""
    mentions: list[str] = field(default_factory=list)
    """Functions that it calls, jumps to or takes the address of, by name."""
    loaded: set[str] = field(default_factory=set)
    """Registers that it has filled from the table of addresses: calls of those are among what it mentions."""
    has_jump_table: bool = False
    calls_by_pointer: int = 0
    uses_thread_local: bool = False


def output_of(*command: str) -> list[str]:
    """What a tool prints, in lines."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def without_hash(name: str) -> str:
    """A demangled name without the generics and versions that tell instances apart."""
    return re.sub(r"::h[0-9a-f]{16}$", "", name.split("@", 1)[0])


class Extension:
    """The functions of one extension file."""

    def __init__(self, path: Path) -> None:
        self.functions: dict[int, Function] = {}
        slots = dict(_slots(path))
        current: Function | None = None
        for line in output_of("objdump", "-d", "-C", "--no-show-raw-insn", str(path)):
            symbol = SYMBOL.match(line)
            if symbol:
                current = Function(without_hash(symbol[2]))
                self.functions[int(symbol[1], 16)] = current
            instruction = INSTRUCTION.match(line)
            if instruction and current:
                self._take(current, instruction[2], instruction[3], slots)
        self._by_address()

    def _take(self, function: Function, operation: str, operands: str, slots: dict[int, str | int]) -> None:
        if "%fs:" in operands:
            function.uses_thread_local = True
        subtracted = SUBTRACTED.match(operands)
        if operation.startswith("push"):
            function.stack_bytes += 8
        elif operation.startswith("sub") and subtracted:
            function.stack_bytes += int(subtracted[1], 16)
        is_transfer = operation.startswith(("call", "j"))
        target, slot = TARGET.match(operands), SLOT.search(operands)
        if is_transfer and target:
            function.mentions.append(f"@{target[1]}")
        elif slot:
            # A place in the table of addresses, or the address of a function itself.
            address = int(slot[1], 16)
            found = slots.get(address, address if operation.startswith("lea") else None)
            if found is not None:
                function.mentions.append(found if isinstance(found, str) else f"@{found:x}")
                function.loaded.add(operands.split(",")[-1].split()[0])
            elif is_transfer:
                function.calls_by_pointer += 1
        elif operation == "movslq":
            function.has_jump_table = True
        elif is_transfer and operands.startswith("*"):
            is_switch = operation.startswith("jmp") and function.has_jump_table
            if operands[1:] not in function.loaded and not is_switch:
                function.calls_by_pointer += 1

    def _by_address(self) -> None:
        """Puts names in the place of addresses; those inside a function are its own jumps."""
        starts = {f"@{address:x}": function.name for address, function in self.functions.items()}
        for function in self.functions.values():
            names = [starts.get(mention, "") if mention.startswith("@") else mention for mention in function.mentions]
            function.mentions = [name for name in names if name]

    def named(self, name: str) -> list[Function]:
        """All functions of that name: generic ones are there several times."""
        return [function for function in self.functions.values() if function.name == name]


def _slots(path: Path) -> Iterator[tuple[int, str | int]]:
    """Places that the dynamic linker fills in: the name of a function of another file, or the address of one of ours."""
    for line in output_of("readelf", "-rW", str(path)):
        relocation = RELOCATION.match(line)
        if relocation is None:
            continue
        place, kind, value = int(relocation[1], 16), relocation[2], relocation[3]
        if kind == "R_X86_64_RELATIVE":
            yield place, int(value, 16)
        elif kind in ("R_X86_64_GLOB_DAT", "R_X86_64_JUMP_SLOT", "R_X86_64_64"):
            yield place, without_hash(value.split()[1])


def reached_from(extension: Extension, handlers: Iterable[Function]) -> dict[str, list[str]]:
    """Every name that can be reached, and the way there."""
    ways = {handler.name: [handler.name] for handler in handlers}
    pending = list(ways)
    while pending:
        name = pending.pop()
        for function in extension.named(name):
            for mention in function.mentions:
                if mention not in ways:
                    ways[mention] = [*ways[name], mention]
                    pending.append(mention)
    return ways


def deepest(extension: Extension, name: str, above: tuple[str, ...] = ()) -> int:
    """Stack of the deepest path from a function on, bytes; 0 for what is outside of the file, which is not known."""
    if name in above:
        raise RecursionError(f"{name} calls itself: {' > '.join(above)}")
    of_each = [
        function.stack_bytes
        + max((deepest(extension, next_one, (*above, name)) for next_one in function.mentions), default=0)
        for function in extension.named(name)
    ]
    return max(of_each, default=0)


def check(extension: Extension, handler: str, allowed: frozenset[str]) -> list[str]:
    """What is wrong with one handler, a sentence each."""
    entries = extension.named(handler)
    if not entries:
        return [f"{handler} is not in the file: it has no symbols, or the handler has another name now"]
    ways = reached_from(extension, entries)
    wrong = []
    outside = set()
    for name, way in sorted(ways.items()):
        functions = extension.named(name)
        shown = " > ".join(way)
        if not functions:
            outside.add(name)
            if name not in allowed and name not in FROM_CORE:
                wrong.append(f"{shown}: not on the list of what a handler may call")
        elif not name.lstrip("<").startswith(OUR_CRATES) and name not in FROM_CORE:
            wrong.append(f"{shown}: not ours")
        if any(function.uses_thread_local for function in functions):
            wrong.append(f"{shown}: uses thread-local storage")
        if any(function.calls_by_pointer for function in functions) and name not in CALLS_BY_POINTER:
            wrong.append(f"{shown}: calls an address, and nobody knows whose")
    stack_bytes = deepest(extension, handler)
    if stack_bytes > MAX_STACK_BYTES:
        wrong.append(f"{handler} may use {stack_bytes} bytes of stack: more than {MAX_STACK_BYTES}")
    inside = len(ways) - len(outside)
    print(
        f"{handler}: {inside} functions, {stack_bytes} bytes of stack, calls {', '.join(sorted(outside)) or 'nothing'}"
    )
    return wrong


def is_bound_at_once(path: Path) -> bool:
    """Whether all addresses are filled in when the file is loaded: to look one up later takes locks."""
    return any("BIND_NOW" in line for line in output_of("readelf", "-dW", str(path)))


def main() -> int:
    """Checks the files that are named and returns the exit status."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="+", type=Path, help="an extension file, or a wheel")
    options = parser.parse_args()
    wrong = []
    for path in options.file:
        print(f"{path}:")
        with tempfile.TemporaryDirectory() as folder:
            if path.suffix == ".whl":
                with zipfile.ZipFile(path) as wheel:
                    (name,) = [name for name in wheel.namelist() if name.endswith(".so")]
                    unpacked = Path(wheel.extract(name, folder))
            else:
                unpacked = path
            extension = Extension(unpacked)
            for handler, allowed in HANDLERS.items():
                wrong += check(extension, handler, allowed)
            if not is_bound_at_once(unpacked):
                wrong.append("addresses of functions are looked up when they are first called (no BIND_NOW)")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
