"""What an output format can ask for while it writes: the tree, the table, the exact stacks, the metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...schema.errors import RequestError
from ...schema.partial import LocationPartial
from ...schema.request import (
    DiffRequest,
    ExportRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    TopRequest,
)
from .calltree import CallTree, largest_nodes, order_nodes
from .locations import gather_locations
from .opened import OpenBlock
from .snapshot import Resolved, Snapshot, resolve, resolve_all_types
from .trees import answer_diff, answer_flamegraph, answer_sandwich, answer_top, gather
from .weights import Profiles, profiles_of, weighted

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleType:
    """One value of an exported profile; `type_no` is its place in the uploads it came from."""

    profile_type: str
    type: str
    unit: str
    period_type: str
    period_unit: str
    type_no: int


class Export:
    """One export request and lazy access to what answers it."""

    def __init__(self, snapshot: Snapshot, request: ExportRequest) -> None:
        self.snapshot = snapshot
        self.request = request

    @cached_property
    def resolved(self) -> Resolved:
        """The selection with its one profile type."""
        return resolve(self.snapshot, self.request.tree.selection)

    @cached_property
    def tree(self) -> CallTree:
        """The call tree, cut to the request's `max_nodes`."""
        nodes = gather(self.snapshot, self.request.tree)[0].nodes
        return order_nodes(largest_nodes(nodes, nodes.column("total").to_numpy(), self.request.max_nodes))

    def flamegraph(self) -> Flamegraph | FlamegraphDiff:
        """The flame graph, or the diff when there is a second query, or the sandwich that is asked for."""
        if self.request.sandwich is not None:
            return answer_sandwich(self.snapshot, self.request.sandwich)
        if self.request.versus is not None:
            return answer_diff(
                self.snapshot, DiffRequest(self.request.tree, self.request.versus, self.request.max_nodes)
            )
        return answer_flamegraph(self.snapshot, FlamegraphRequest(self.request.tree, self.request.max_nodes))

    def top(self) -> pa.Table:
        """Functions by self value."""
        return answer_top(self.snapshot, TopRequest(self.request.tree)).table

    @cached_property
    def every_type(self) -> Resolved:
        """The selection with all its profile types, or the one it names."""
        return resolve_all_types(self.snapshot, self.request.tree.selection)

    @cached_property
    def profiles(self) -> Profiles:
        """The profiles of all types."""
        return profiles_of(self.snapshot, self.every_type)

    @cached_property
    def sample_types(self) -> list[SampleType]:
        """The profile types of the selection, in the order of their uploads."""
        found: dict[str, SampleType] = {}
        for scan in self.every_type.plan.scans:
            for kind in _sample_types(self.snapshot.blocks[scan.ulid], scan.series):
                known = found.get(kind.profile_type)
                if known is None or kind.type_no < known.type_no:
                    found[kind.profile_type] = kind
        return sorted(found.values(), key=lambda kind: (kind.type_no, kind.profile_type))

    @property
    def exact(self) -> bool:
        """Whether frames are as they came in, and all of them are wanted."""
        tree = self.request.tree
        changed = tree.filter.active or tree.granularity != "function" or tree.delta or tree.call_site
        return not changed and not self.request.max_nodes

    def locations(self, labels: bool) -> LocationPartial:
        """Exact stacks of every type of the selection. Raises `RequestError` where frames were asked to change."""
        self.require_exact_stacks()
        by_type = []
        for kind in self.sample_types:
            one = self._of_type(kind.profile_type)
            by_type.append((kind.profile_type, one))
        return gather_locations(self.snapshot, by_type, labels and self.request.tree.aggregate == "sum")

    def require_exact_stacks(self) -> None:
        """Raise `RequestError` where frames were asked to change."""
        tree = self.request.tree
        # Under these rules pprof leaves the stacks of other call sites out.
        choosing = self.request.pprof.rules == "pyroscope" and self.request.format == "pprof"
        if (
            tree.filter.active
            or tree.granularity != "function"
            or tree.delta
            or (tree.call_site and not choosing)
        ):
            raise RequestError(
                f"format {self.request.format!r} keeps exact stacks: frame filters, granularity, call site "
                "and delta do not apply"
            )

    def _of_type(self, profile_type: str) -> Resolved:
        one = self.every_type
        if one.plan.profile_type != profile_type:
            selection = replace(self.request.tree.selection, profile_type=profile_type)
            one = resolve(self.snapshot, selection)
        return replace(one, weights=weighted(self.snapshot, one, self.request.tree.aggregate))


def _sample_types(block: OpenBlock, series: IntArray) -> Iterator[SampleType]:
    """The profile types of some series of a block, each with the lowest number any upload gave it."""
    profiles = block.profiles(series, None, None)
    numbers = block.table("profiles", ["type_no"]).column("type_no").to_numpy()[profiles.row]
    types = block.index.profile_type.take(pa.array(series))
    for profile_type in types.unique().to_pylist():
        mine = series[pc.equal(types, profile_type).to_numpy(zero_copy_only=False)]
        labels = dict(block.index.table.column("labels")[int(mine[0])].as_py())
        yield SampleType(
            profile_type,
            type=labels.get("__type__", ""),
            unit=labels.get("__unit__", ""),
            period_type=labels.get("__period_type__", ""),
            period_unit=labels.get("__period_unit__", ""),
            type_no=int(numbers[np.isin(profiles.series, mine)].astype(np.int64).min(initial=2**16)),
        )
