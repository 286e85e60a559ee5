"""Names of the locations of a Partial: their functions, or what stands in for them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.partial import LocationPartial
from ..trie import Ragged, offsets_of


def location_names(partial: LocationPartial) -> tuple[Ragged, pa.Array]:
    """For each location its names root first, as positions in the returned array of names.

    A location without lines is `[base name of its mapping's file]`, or `<unknown>`.
    """
    lines = partial.locations.column("lines").combine_chunks()
    lengths = np.diff(lines.offsets.to_numpy()).astype(np.int64)
    functions = partial.functions.column("function_id").combine_chunks()
    of_line = pc.index_in(lines.values.field("function_id"), value_set=functions).to_numpy().astype(np.int64)
    shown = bare_names(partial).dictionary_encode()
    names = pa.concat_arrays([partial.functions.column("name").combine_chunks(), shown.dictionary])
    bare = lengths == 0
    padded = np.where(bare, 1, lengths)
    offsets = offsets_of(padded)
    values = np.empty(int(offsets[-1]), np.int64)
    values[np.repeat(~bare, padded)] = Ragged(of_line, offsets_of(lengths)).reversed().values
    values[offsets[:-1][bare]] = shown.indices.to_numpy()[bare] + len(functions)
    return Ragged(values, offsets), names


def bare_names(partial: LocationPartial) -> pa.Array:
    """What each location would be called without lines."""
    rows = pc.index_in(
        partial.locations.column("mapping_id").combine_chunks(),
        value_set=partial.mappings.column("mapping_id").combine_chunks(),
    )
    base = pc.replace_substring_regex(partial.mappings.column("filename").combine_chunks(), r"^.*/", "").take(
        rows
    )
    bracketed = pc.binary_join_element_wise("[", base, "]", "")
    return pc.if_else(pc.fill_null(pc.equal(bracketed, "[]"), True), "<unknown>", bracketed)
