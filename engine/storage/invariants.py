"""What must hold in a block beyond the checksums of its files: orders, ids in range, trees, sums, content hashes, names.

What does not hold is told in words that begin with the table. A check that needs what an earlier one found broken is
left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schema import identity, tables
from ...schema.block import PartMeta
from ...schema.identity import NO_ID
from ..trie import offsets_of
from .blocks import Block
from .name_invariants import Naming, broken_locations, broken_names
from .rollup_invariants import broken_rollups
from .sample_rows import id_words
from .trie_invariants import broken_tries

IntArray = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

_NUMBERED = {
    "index": "series",
    "locations": "location",
    "functions": "function",
    "mappings": "mapping",
    "labelsets": "labelset",
}
"""The tables whose rows are numbered through, and the column of the number."""

_SPANS = {
    "profiles": "profiles",
    "samples": "samples",
    "series": "index",
    "stacks": "stacks",
    "stacktraces": "stacktraces",
    "frames": "frames",
}
"""Which table the row ranges of a part are about, by the name that they have in its metadata."""


def broken_invariants(block: Block) -> Iterator[str]:
    """What does not hold. Raises `CorruptBlock` for a file that cannot be read."""
    for check in (_columns, _rows, _numbers):
        broken = list(check(block))
        yield from broken
        if broken:
            return
    broken = list(_symbols(block))
    yield from broken
    naming = None if broken else Naming.of(block)
    is_broken = bool(broken)
    for problem in chain(_series(block), _profiles(block), _parts(block, naming)):
        is_broken = True
        yield problem
    if not is_broken:
        yield from broken_rollups(block)


def _parts(block: Block, naming: Naming | None) -> Iterator[str]:
    """What does not hold in single parts; without `naming`, names are left out."""
    if naming is not None:
        yield from broken_locations(naming)
    for part in block.meta.parts:
        broken = [*_samples(block, part), *broken_tries(block, part)]
        if naming is not None and not broken:
            broken += broken_names(block, part, naming)
        yield from (f"{problem} in part {part.part}" for problem in broken)


def _columns(block: Block) -> Iterator[str]:
    for name, schema in tables.TABLES.items():
        wanted = list(schema)
        if name == "samples":
            wanted += [field for field in tables.SAMPLE_EXTRAS if field.name in block.meta.sample_extras]
        rows = None if block.table(name, []).num_rows == 0 else (0, 1)
        found = block.table(name, [field.name for field in wanted], rows).schema
        for field in wanted:
            if field.name not in found.names:
                yield f"{name}: {field.name} is missing"
            elif found.field(field.name).type != field.type:
                yield f"{name}: {field.name} is {found.field(field.name).type} and not {field.type}"


def _rows(block: Block) -> Iterator[str]:
    """Tables are as long as the metadata says, and each of its parts follows the one before."""
    meta = block.meta
    if [part.part for part in meta.parts] != list(range(len(meta.parts))):
        yield "meta.json: parts are not numbered through"
    for name, table in _SPANS.items():
        rows = len(block.table(table, ["block"]))
        told = getattr(meta, name, rows)
        if told != rows:
            yield f"meta.json: {told} {name}, where {table} has {rows} rows"
        ends = [0, *chain.from_iterable(getattr(part, name) for part in meta.parts), rows]
        if ends[0::2] != ends[1::2] or ends != sorted(ends):
            yield f"meta.json: the {name} of parts are not the {rows} rows of {table}"
    for name in tables.TABLES:
        if (_column(block, name, "block") != meta.block).any():
            yield f"{name}: block is not {meta.block} everywhere"


def _numbers(block: Block) -> Iterator[str]:
    for name, column in _NUMBERED.items():
        number = _column(block, name, column)
        if (number != np.arange(len(number))).any():
            yield f"{name}: {column} does not count rows"


def _symbols(block: Block) -> Iterator[str]:
    """Locations and functions: what they refer to is there, names are in order, and ids are those of the content."""
    functions, locations = _length(block, "functions"), _length(block, "locations")
    mapping = _column(block, "locations", "mapping")
    if ((mapping >= _length(block, "mappings")) & (mapping != NO_ID)).any():
        yield "locations: mapping is out of range"
    lines = block.table("locations", ["lines"]).column("lines").combine_chunks()
    if (lines.flatten().field("function").to_numpy() >= functions).any():
        yield "locations: a line's function is out of range"
    if len(np.unique(_column(block, "locations", "location_id"))) != locations:
        yield "locations: location_id comes twice"
    yield from _functions(block)


def _functions(block: Block) -> Iterator[str]:
    table = block.table(
        "functions", ["function_id", "name", "system_name", "filename", "start_line", "synthetic"]
    )
    names = table.column("name").to_pylist()
    # UTF-8 sorts as the code points do, which is how Python compares.
    if any(later < earlier for earlier, later in pairwise(names)):
        yield "functions: name is not in order"
    texts = (
        identity.hash_texts(table.column(name).combine_chunks())
        for name in ("name", "system_name", "filename")
    )
    start_line = table.column("start_line").to_numpy().view(np.uint64)
    is_synthetic = table.column("synthetic").to_numpy()
    wanted = np.where(is_synthetic, 0, identity.combine(*texts, start_line))
    if (table.column("function_id").to_numpy() != wanted).any():
        yield "functions: function_id is not that of the content"


def _series(block: Block) -> Iterator[str]:
    """The index: its parts, its ids, and what it says of the profiles of each series."""
    table = block.table("index", ["part", "series_id", "labels", "min_ts", "max_ts", "profiles", "samples"])
    wanted = np.array(
        [identity.series_id(dict(labels)) for labels in table.column("labels").to_pylist()], np.uint64
    )
    if (table.column("series_id").to_numpy() != wanted).any():
        yield "index: series_id is not that of the labels"
    if (table.column("part").to_numpy() != _part_numbers(block, "series")).any():
        yield "index: part is not that of the metadata"
    series, ts = _column(block, "profiles", "series"), _column(block, "profiles", "ts")
    samples = _column(block, "profiles", "n").astype(np.int64)
    if (series >= len(table)).any():
        yield "profiles: series is out of range"
        return
    if (np.bincount(series, minlength=len(table)) != table.column("profiles").to_numpy()).any():
        yield "index: profiles is not how many a series has"
    counted = np.zeros(len(table), np.int64)
    np.add.at(counted, series, samples)
    if (counted != table.column("samples").to_numpy()).any():
        yield "index: samples is not how many a series has"
    for name, extreme in (("min_ts", np.minimum), ("max_ts", np.maximum)):
        told = table.column(name).fill_null(0).to_numpy()
        found = told.copy()
        found[series] = ts
        extreme.at(found, series, ts)
        if (found != told).any():
            yield f"index: {name} is not that of the profiles"


def _profiles(block: Block) -> Iterator[str]:
    """The profiles: sorted, none twice, their samples one after the other."""
    series, ts, n = (_column(block, "profiles", name) for name in ("series", "ts", "n"))
    ids = block.table("profiles", ["profile_id"]).column("profile_id").combine_chunks().storage
    keys = (series.astype(np.int64), ts, *id_words(ids))
    order = np.lexsort(keys[::-1])
    if (order != np.arange(len(order))).any():
        yield "profiles: not sorted by series, ts, profile_id"
    same = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    if same.any():
        yield "profiles: one of them comes twice"
    if (_column(block, "profiles", "part") != _part_numbers(block, "profiles")).any():
        yield "profiles: part is not that of the metadata"
    offsets = offsets_of(n.astype(np.int64))
    if (_column(block, "profiles", "start") != offsets[:-1]).any() or offsets[-1] != block.meta.samples:
        yield "profiles: start and n do not divide the samples"


def _samples(block: Block, part: PartMeta) -> Iterator[str]:
    """The samples of a part: they say what their profiles say, are sorted, refer to what is there, and add up."""
    first, last = part.samples
    profiles = block.table("profiles", ["part", "series", "ts", "n", "total"], part.profiles)
    n = profiles.column("n").to_numpy().astype(np.int64)
    if int(n.sum()) != last - first:
        yield "samples: there are more or fewer than profiles say"
        return
    columns = ["part", "series", "ts", "stack", "value", *block.meta.sample_extras]
    samples = block.table("samples", columns, part.samples)
    for name in ("part", "series", "ts"):
        if (samples.column(name).to_numpy() != np.repeat(profiles.column(name).to_numpy(), n)).any():
            yield f"samples: {name} is not that of the profile"
    stack, value = samples.column("stack").to_numpy().astype(np.int64), samples.column("value").to_numpy()
    if (stack >= part.stacks[1] - part.stacks[0]).any():
        yield "samples: stack is out of range"
    owner = np.repeat(np.arange(len(n)), n)
    if (np.diff(owner << 32 | stack) < 0).any():
        yield "samples: stack is not sorted within a profile"
    sums = np.zeros(len(n), np.int64)
    np.add.at(sums, owner, value)
    if (sums != profiles.column("total").to_numpy()).any():
        yield "profiles: total is not the sum of the samples"
    if "labelset" in block.meta.sample_extras:
        labelset = samples.column("labelset").fill_null(0).to_numpy()
        if labelset.any() and (labelset >= _length(block, "labelsets")).any():
            yield "samples: labelset is out of range"


def _column(block: Block, table: str, name: str) -> Numbers:
    numbers: Numbers = block.table(table, [name]).column(name).to_numpy()
    return numbers


def _length(block: Block, table: str) -> int:
    return len(block.table(table, ["block"]))


def _part_numbers(block: Block, name: str) -> IntArray:
    """The part of each row, as the metadata tells it."""
    spans = [getattr(part, name) for part in block.meta.parts]
    return np.repeat(np.arange(len(spans)), [last - first for first, last in spans])
