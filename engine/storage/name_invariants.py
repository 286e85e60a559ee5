"""What must hold between locations and what is made of them: their own ids, and the frames that they are shown as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...schema import identity
from ...schema.block import PartMeta
from ...schema.identity import NO_ID
from ..trie import Ragged, Trie, depths_of, path_hashes, project_trie
from .blocks import Block
from .layout import display_names
from .part_tries import SymbolTables, node_names

IntArray = npt.NDArray[np.int64]
U64Array = npt.NDArray[np.uint64]

_LINED, _BY_BUILD_ID, _BY_FILE, _BY_SERVICE = (np.uint64(number) for number in range(1, 5))
"""What a location is known by, as `normalize/locations.py` numbers it: a part of what is hashed."""


@dataclass(frozen=True)
class Naming:
    """The locations of a block: their ids, what these are by content, and how locations are shown.

    `wanted` holds for all but those that are known by their service alone, which differ by part (`of_service`);
    `folded` and `address` are what these have besides.
    """

    location_id: U64Array
    wanted: U64Array
    of_service: npt.NDArray[np.bool_]
    folded: U64Array
    address: U64Array
    symbols: SymbolTables
    name_of_function: IntArray
    name_hash: U64Array

    @classmethod
    def of(cls, block: Block) -> Naming:
        """Of a block whose locations, functions and mappings refer to what is there."""
        locations = block.table("locations", ["location_id", "mapping", "address", "is_folded", "lines"])
        functions = block.table("functions", ["function_id", "name"]).combine_chunks()
        mappings = block.table("mappings", ["filename", "build_id", "memory_start", "file_offset"])
        mapping = _numbers(locations.column("mapping"))
        lines = locations.column("lines").combine_chunks()
        line_function = _numbers(lines.values.field("function"))
        names = Ragged(line_function, lines.offsets.to_numpy().astype(np.int64))
        display = display_names(locations, mappings, mapping)
        encoded = functions.column("name").combine_chunks().dictionary_encode()
        folded = locations.column("is_folded").to_numpy().astype(np.uint64) << np.uint64(8)
        known = _Known.of(mappings, mapping)
        is_lined = names.lengths > 0
        address = np.where(is_lined, np.uint64(0), locations.column("address").to_numpy() - known.load_shift)
        kind = np.where(is_lined, _LINED, known.kind) | folded
        module = np.where(is_lined, known.filename, known.module)
        return cls(
            locations.column("location_id").to_numpy(),
            identity.combine(kind, module, address, _lines_hash(lines, functions, names)),
            ~is_lined & (known.kind == _BY_SERVICE),
            folded,
            address,
            SymbolTables.of(functions, names, display, locations),
            _numbers(encoded.indices),
            identity.hash_texts(encoded.dictionary),
        )


@dataclass(frozen=True)
class _Known:
    """What the mapping of each location says of it: what it is known by, if it has no lines."""

    kind: U64Array
    module: U64Array
    filename: U64Array
    load_shift: U64Array

    @classmethod
    def of(cls, mappings: pa.Table, mapping: IntArray) -> _Known:
        """`mapping` is a row for each location, -1: none."""
        nothing = np.uint64(identity.hash_text(b""))
        filename, build_id = (
            np.append(identity.hash_texts(mappings.column(name).combine_chunks()), nothing)[mapping]
            for name in ("filename", "build_id")
        )
        shift = mappings.column("memory_start").to_numpy() - mappings.column("file_offset").to_numpy()
        by_build, by_file = build_id != nothing, filename != nothing
        return cls(
            np.where(by_build, _BY_BUILD_ID, np.where(by_file, _BY_FILE, _BY_SERVICE)),
            np.where(by_build, build_id, filename),
            filename,
            np.append(shift, np.uint64(0))[mapping],
        )


def _lines_hash(lines: pa.ListArray, functions: pa.Table, names: Ragged) -> U64Array:
    """The hash of each location's lines, chained from the outermost."""
    content = identity.combine(
        functions.column("function_id").to_numpy()[names.values],
        *(lines.values.field(name).to_numpy().view(np.uint64) for name in ("line", "column")),
    )
    hashes = np.full(len(names.lengths), identity.ROOT_PATH, np.uint64)
    left = names.lengths.astype(np.int64)
    for rows in _while_any(left):
        left[rows] -= 1
        hashes[rows] = identity.extend_paths(hashes[rows], content[names.offsets[rows] + left[rows]])
    return hashes


def _while_any(left: IntArray) -> Iterator[IntArray]:
    """The places that are above 0, until none is; who asks lowers them."""
    rows = np.flatnonzero(left > 0)
    while len(rows):
        yield rows
        rows = rows[left[rows] > 0]


def broken_locations(naming: Naming) -> Iterator[str]:
    """Locations that are not what their ids say, but for those that are known by their service."""
    if ((naming.location_id != naming.wanted) & ~naming.of_service).any():
        yield "locations: location_id is not that of the content"


def broken_names(block: Block, part: PartMeta, naming: Naming) -> Iterator[str]:
    """What does not hold in a part whose trees do: ids of locations that its service owns, and frames."""
    nodes = block.part_table("stacktraces", ["parent", "size", "location", "frame"], part.part)
    parent, size = (_numbers(nodes.column(name)) for name in ("parent", "size"))
    trie = Trie(parent, _numbers(nodes.column("location")), size, depths_of(parent))
    used = np.unique(trie.symbol[1:])
    owned = used[naming.of_service[used]]
    if (naming.location_id[owned] != _ids_of_service(naming, owned, part.service_name)).any():
        yield "locations: location_id is not that of the content and the service"
    symbols = naming.symbols
    frames, frame_of_node = project_trie(
        trie, node_names(trie, symbols.location_names), len(symbols.function_of_name)
    )
    stored = _stored_frames(block, part.part, naming)
    paths, stored_paths = path_hashes(frames, naming.name_hash), path_hashes(stored, naming.name_hash)
    if len(paths) != len(stored_paths) or (np.sort(paths) != np.sort(stored_paths)).any():
        yield "frames: they are not those of the locations"
    elif (stored_paths[_numbers(nodes.column("frame"))] != paths[frame_of_node]).any():
        yield "stacktraces: frame is not that of the locations"


def _ids_of_service(naming: Naming, locations: IntArray, service: str) -> U64Array:
    module = np.full(len(locations), identity.hash_text(service.encode()), np.uint64)
    nothing = np.full(len(locations), identity.ROOT_PATH, np.uint64)
    return identity.combine(
        _BY_SERVICE | naming.folded[locations], module, naming.address[locations], nothing
    )


def _stored_frames(block: Block, part: int, naming: Naming) -> Trie:
    """The function trie of a part over the numbers of names."""
    frames = block.part_table("frames", ["parent", "size", "function", "depth"], part)
    parent, size, function, depth = (_numbers(column) for column in frames.columns)
    return Trie(parent, np.append(naming.name_of_function, -1)[function], size, depth)


def _numbers(column: pa.ChunkedArray | pa.Array) -> IntArray:
    """Dense ids, `NO_ID` as -1."""
    stored = column.to_numpy()
    return np.where(stored == NO_ID, -1, stored.astype(np.int64))
