"""Ways to spoil a profile: as bytes, as the fields of a protobuf message, as lines and words, as JSON.

All randomness comes from the generator that is passed in, so that a seed tells a mutant.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

_WORD = re.compile(rb"[A-Za-z_]+|[0-9.]+")

EDGES = (0, 1, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def split_fields(message: bytes) -> list[tuple[int, bytes]]:
    """The fields of a good message: tag, and all that follows the tag but for a length."""
    fields: list[tuple[int, bytes]] = []
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        start = at
        if tag & 7 == 2:
            length, start = _read_varint(message, at)
            at = start + length
        else:
            _, at = _read_varint(message, at)
        fields.append((tag, message[start:at]))
    return fields


def join_fields(fields: Sequence[tuple[int, bytes]]) -> bytes:
    """The inverse of `split_fields`."""
    return b"".join(varint(tag) + (varint(len(body)) if tag & 7 == 2 else b"") + body for tag, body in fields)


def flip_bits(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data))]


def cut_out(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.randint(1, 40) :]


def insert(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.randint(1, 40)) + data[at:]


def repeat(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data))
    piece = data[at : at + chance.randint(1, 200)]
    return data[:at] + piece * chance.randint(2, 50) + data[at:]


def _edit_fields(data: bytes, chance: Random, depth: int = 0) -> bytes:
    """One change to one field: of the message, or of a message in it."""
    fields = split_fields(data)
    # A few kinds of fields make up most of a profile; the rare ones deserve as much.
    tag = chance.choice(sorted({tag for tag, _ in fields}))
    at = chance.choice([number for number, field in enumerate(fields) if field[0] == tag])
    body = fields[at][1]
    if tag & 7 == 2 and tag >> 3 in (1, 2, 3, 4, 5) and depth == 0 and body and chance.random() < 0.6:
        fields[at] = tag, _edit_fields(body, chance, 1)
        return join_fields(fields)
    before, after = join_fields(fields[:at]), join_fields(fields[at + 1 :])
    edit = chance.randrange(7)
    if edit == 0:
        return before + after
    if edit == 1:
        return before + join_fields([fields[at]] * chance.randint(2, 5)) + after
    if edit == 2:
        other = chance.randrange(len(fields))
        fields[at], fields[other] = fields[other], fields[at]
        return join_fields(fields)
    if edit == 3:
        return (
            before
            + varint(chance.choice([tag ^ chance.randint(1, 7), chance.randint(1, 200)]))
            + body
            + after
        )
    if tag & 7 == 2:
        length = chance.choice([len(body) + chance.randint(-3, 3), *EDGES])
        return before + varint(tag) + varint(max(length, 0)) + body + after
    return before + varint(tag) + varint(chance.choice(EDGES)) + after


def edit_field(data: bytes, chance: Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        try:
            data = _edit_fields(data, chance)
        except IndexError:
            # It is spoilt so far that it has no fields any more.
            break
    return data


def spoil_gzip(data: bytes, chance: Random) -> bytes:
    return chance.choice([flip_bits, truncate, cut_out, insert])(gzip.compress(data, 1), chance)


def edit_word(data: bytes, chance: Random) -> bytes:
    """One word or number of a text becomes another, an edge, or nothing; or its line goes somewhere else."""
    words = [found.span() for found in _WORD.finditer(data)]
    if not words:
        return flip_bits(data, chance)
    start, stop = chance.choice(words)
    other_start, other_stop = chance.choice(words)
    edge = str(chance.choice([*EDGES, -1, -(2**63), 2**70, 0.5, 1e300])).encode()
    new = chance.choice(
        [
            edge,
            b"",
            data[other_start:other_stop],
            data[start:stop] * chance.randint(2, 2000),
            b"\xff\xfe",
            b";;",
        ]
    )
    return data[:start] + new + data[stop:]


def edit_json(data: bytes, chance: Random) -> bytes:
    """One value of a JSON document becomes another, or a key goes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return flip_bits(data, chance)
    for _ in range(chance.randint(1, 3)):
        _edit_node(document, chance)
    return json.dumps(document).encode()


def _edit_node(document: Any, chance: Random) -> None:
    """Walk down at random, and change what is found there."""
    node = document
    while isinstance(node, (dict, list)) and node:
        key = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
        if isinstance(node[key], (dict, list)) and node[key] and chance.random() < 0.9:
            node = node[key]
            continue
        edit = chance.randrange(4)
        if edit == 0:
            del node[key]
        elif edit == 1 and isinstance(node, list):
            node.insert(key, node[key])
        else:
            node[key] = chance.choice(
                [None, True, "", "x" * 1000, [], {}, [[[]]], -1, 0.5, 1e300, -0.0, *EDGES]
            )
        return


def edit_line(data: bytes, chance: Random) -> bytes:
    """One line of folded stacks: its count, its frames, its separators."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    stack, _, count = lines[at].rpartition(b" ")
    edge = chance.choice([*EDGES, -1, -(2**63), 2**70])
    lines[at] = chance.choice(
        [
            stack + b" " + str(edge).encode(),
            stack + b"  " + count,
            stack + b"\t" + count,
            b";" * chance.randint(1, 2000) + count,
            stack * chance.randint(2, 500) + b" " + count,
            chance.randbytes(20) + b" " + count,
            stack + b"\x00\r " + count,
            count,
            b"",
            stack,
        ]
    )
    return b"\n".join(lines)


BYTES: tuple[Mutation, ...] = (flip_bits, truncate, cut_out, insert, repeat, spoil_gzip)
PPROF: tuple[Mutation, ...] = (*BYTES, *(edit_field,) * 6)
FOLDED: tuple[Mutation, ...] = (*BYTES, *(edit_line,) * 4)
MUTATIONS: Mapping[str, Sequence[Mutation]] = {
    "proto": PPROF,
    "text": (*FOLDED, *(edit_word,) * 6),
    "json": (*BYTES, *(edit_word,) * 2, *(edit_json,) * 8),
    "binary": (*BYTES, *(flip_bits,) * 6),
}
"""By the kind of a format."""


def splice(one: bytes, other: bytes, chance: Random) -> bytes:
    """The beginning of one and the end of another; or both, one after the other."""
    if chance.random() < 0.2:
        return one + other
    return one[: chance.randrange(len(one))] + other[chance.randrange(len(other)) :]


def mutant(corpus: Sequence[bytes], mutations: Sequence[Mutation], chance: Random) -> bytes:
    """One spoilt input."""
    data = chance.choice(corpus)
    if chance.random() < 0.15:
        return splice(data, chance.choice(corpus), chance)
    return chance.choice(mutations)(data, chance)
