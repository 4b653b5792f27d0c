"""C code that lets the GIL go: hashing and compressing."""

import hashlib
import zlib

DATA = bytes(range(256)) * 2_000


def work() -> None:
    hashlib.sha256(DATA).digest()
    zlib.compress(DATA[:100_000], 1)
