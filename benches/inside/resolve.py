"""N6, N7, N8: look-up of real code objects, and what the ring and the symbols hold. Needs the build for benchmarks.

The code objects are those of the standard library's modules, compiled here; for N8 there are besides as many generated
functions as asked for, more than the limit of the symbols can hold.

`python resolve.py ROUNDS GENERATED`
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import threading
import types

import spprof


class Resolved(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cold_ns", "warm_ns", "most_bytes", "lines"))


class Held(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("ring_bytes", "slots_bytes", "symbols_bytes"))


def codes_in(code):
    pending = [code]
    while pending:
        code = pending.pop()
        yield code
        pending += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def standard_library_codes():
    folder = os.path.dirname(os.__file__)
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as source:
                found += codes_in(compile(source.read(), os.path.join(folder, name), "exec"))
    return found


def generated_codes(count):
    """Functions with 200-character names and 40 lines each."""
    codes = []
    body = "".join(f"    x += {line}\n" for line in range(40))
    for first in range(0, count, 500):
        source = "".join(f"def {'f' * 190}_{number}(x):\n{body}" for number in range(first, min(first + 500, count)))
        codes += list(codes_in(compile(source, f"<generated {first}>", "exec")))
    return codes


def resolve(library, codes, rounds, limit_mb):
    draw = random.Random(1)
    addresses = (ctypes.c_uint64 * len(codes))(*map(id, codes))
    offsets = (ctypes.c_int32 * len(codes))(*(2 * draw.randrange(max(1, len(code.co_code) // 2)) for code in codes))
    return library.spprof_bench_resolve(addresses, offsets, len(codes), rounds, limit_mb << 20)


def main(rounds, generated):
    # PyDLL keeps the GIL, so that no code object dies meanwhile.
    library = ctypes.PyDLL(spprof._native.__file__)
    library.spprof_bench_resolve.restype = Resolved
    library.spprof_bench_resolve.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_uint64,
        ctypes.c_size_t,
    )
    library.spprof_bench_held.restype = Held
    forever = threading.Event()
    threads = [threading.Thread(target=forever.wait, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    spprof.start(interval_ms=10)
    codes = standard_library_codes()
    runs = [resolve(library, codes, rounds, 100) for _ in range(9)]
    held = library.spprof_bench_held()
    many = generated_codes(generated)
    full = resolve(library, many, 0, 100)
    spprof.stop()
    forever.set()
    for thread in threads:
        thread.join()
    print(
        json.dumps(
            {
                "codes": len(codes),
                "cold_per_s": [len(codes) / run.cold_ns * 1e9 for run in runs],
                "warm_per_s": [rounds * len(codes) / run.warm_ns * 1e9 for run in runs],
                "ring_bytes": held.ring_bytes,
                "slots_bytes": held.slots_bytes,
                "generated": len(many),
                "most_symbols_bytes": full.most_bytes,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
