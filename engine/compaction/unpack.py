"""A stored block back into a normalised batch, keyed by content hash, so that blocks merge like batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from ...schema import profile
from ...schema.identity import NO_ID
from ...schema.profile import NormalisedBatch
from ..query.in_use import in_use
from ..query.locations import locations_by_hash, stacks_by_hash
from ..query.opened import OpenBlock
from ..query.visible import VisibleBlock


def unpack(block: OpenBlock) -> NormalisedBatch:
    """Everything that is visible of the block, and what it uses."""
    stacks, stack_ids = stacks_by_hash(block)
    profiles, samples = _profiles(block), _samples(block, stack_ids)
    if not isinstance(block, VisibleBlock):
        return replace(unpack_symbols(block), profiles=profiles, samples=samples, stacks=stacks)
    shown = block.is_shown(0, len(profiles))
    samples = samples.filter(pa.array(np.repeat(shown, profiles.column("n").to_numpy())))
    used = pa.array(np.unique(samples.column("stack_id").to_numpy()))
    return replace(
        unpack_used_symbols(block),
        profiles=profiles.filter(pa.array(shown)),
        samples=samples,
        stacks=stacks.filter(pa.compute.is_in(stacks.column("stack_id"), value_set=used)),
    )


def unpack_symbols(block: OpenBlock) -> NormalisedBatch:
    """The block's series, and what its stacks and samples refer to; neither these nor profiles."""
    return NormalisedBatch(
        series=_series(block),
        locations=locations_by_hash(block, None),
        functions=_functions(block),
        mappings=block.block.table("mappings", profile.MAPPINGS.names),
        labelsets=block.block.table("labelsets", profile.LABELSETS.names).cast(profile.LABELSETS),
    )


def unpack_used_symbols(block: VisibleBlock) -> NormalisedBatch:
    """The same without what visible profiles do not use."""
    every, used = unpack_symbols(block), in_use(block)
    real = pa.compute.invert(block.block.table("functions", ["synthetic"]).column("synthetic"))
    return NormalisedBatch(
        series=every.series.filter(pa.array(used.series)),
        locations=every.locations.filter(pa.array(used.locations)),
        functions=every.functions.filter(pa.array(used.functions[real.to_numpy()])),
        mappings=every.mappings.filter(pa.array(used.mappings)),
        labelsets=every.labelsets.filter(pa.array(used.labelsets))
        if len(used.labelsets)
        else every.labelsets,
    )


def _series(block: OpenBlock) -> pa.Table:
    table = block.index.table
    names = block.index.label("__name__")
    return pa.table(
        [
            table.column("series_id"),
            table.column("service_name"),
            names,
            table.column("profile_type"),
            table.column("labels"),
        ],
        schema=profile.SERIES,
    )


def _profiles(block: OpenBlock) -> pa.Table:
    stored = block.block.table(
        "profiles", ["series", "ts", "profile_id", "upload_id", "n", "total", *profile.CARRIED]
    )
    ids = stored.column("profile_id").combine_chunks().storage
    uploads = stored.column("upload_id").combine_chunks().storage
    columns = {name: stored.column(name) for name in ("ts", "n", "total", *profile.CARRIED)}
    columns["series_id"] = pa.array(block.index.series_id[stored.column("series").to_numpy()], pa.uint64())
    columns["profile_id"] = ids
    columns["upload_id"] = pa.compute.coalesce(uploads, ids)
    return pa.table(columns).select(profile.PROFILES.names).cast(profile.PROFILES)


def _samples(block: OpenBlock, stack_ids: list[np.ndarray]) -> pa.Table:
    extras = list(block.meta.sample_extras)
    stored = block.block.table("samples", ["part", "stack", "value", *extras]).combine_chunks()
    starts = np.cumsum([0, *(len(ids) for ids in stack_ids)])
    every = np.concatenate([*stack_ids, np.zeros(0, np.uint64)])
    stack_id = every[starts[stored.column("part").to_numpy()] + stored.column("stack").to_numpy()]
    rows = len(stored)
    labelset_id = np.zeros(rows, np.uint64)
    if "labelset" in extras:
        known = block.block.table("labelsets", ["labelset_id"]).column("labelset_id").to_numpy()
        number = stored.column("labelset").fill_null(NO_ID).to_numpy()
        labelset_id = np.append(known, np.uint64(0))[np.where(number == NO_ID, -1, number.astype(np.int64))]
    span_id = (
        stored.column("span_id").fill_null(0) if "span_id" in extras else pa.array(np.zeros(rows, np.uint64))
    )
    trace_id = stored.column("trace_id") if "trace_id" in extras else pa.nulls(rows, pa.binary(16))
    return pa.table(
        [stack_id, stored.column("value"), labelset_id, span_id, trace_id], schema=profile.SAMPLES
    )


def _functions(block: OpenBlock) -> pa.Table:
    table = block.block.table("functions", [*profile.FUNCTIONS.names, "synthetic"])
    return table.filter(pa.compute.invert(table.column("synthetic"))).select(profile.FUNCTIONS.names)
