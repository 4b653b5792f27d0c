"""Reads just enough of a pprof file (github.com/google/pprof, proto/profile.proto) to sum a value by innermost function."""

from __future__ import annotations


def fields(data):
    """Number and value of each field of a message: an int, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        elif kind == 2:
            length = varint()
            yield key >> 3, data[at : at + length]
            at += length
        else:
            size = {1: 8, 5: 4}[kind]
            yield key >> 3, int.from_bytes(data[at : at + size], "little")
            at += size


def integers(values):
    """Repeated integers, packed or not."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        number = shift = 0
        for byte in value:
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                found.append(number)
                number = shift = 0
    return found


def message(data):
    """All values by field number."""
    found = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def by_function(data, wanted):
    """Sum of the value of type `wanted` by the name of each sample's innermost function."""
    profile = message(data)
    strings = [text.decode() for text in profile[6]]
    types = [strings[message(kind)[1][0]] for kind in profile[1]]
    column = types.index(wanted)
    names = {}
    for function in map(message, profile[5]):
        names[function[1][0]] = strings[function[2][0]]
    functions = {}
    for location in map(message, profile[4]):
        # The innermost of inlined functions comes first.
        functions[location[1][0]] = names[message(location[4][0])[1][0]]
    found = {}
    for sample in map(message, profile.get(2, [])):
        places, values = integers(sample.get(1, [])), integers(sample.get(2, []))
        if places:
            name = functions[places[0]]
            found[name] = found.get(name, 0) + values[column]
    return found
