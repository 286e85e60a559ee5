"""What can be asked of a store, and the shape of each answer: plain values, no handles, no SQL.

Times are nanoseconds since 1970; a range is `[start_ns, end_ns)`, `None` means open. Tabular answers are Arrow
tables whose columns are named in the request's docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa

from .explanation import Explanation
from .profile import Upload

Granularity = Literal["function", "line", "file", "mapping", "address", "source"]
GRANULARITIES: tuple[Granularity, ...] = ("function", "line", "file", "mapping", "address")
"""Those a person can ask for; `source` keeps function, file and line apart, for `LinesRequest`."""
Aggregate = Literal["sum", "avg", "last"]
AGGREGATES: tuple[Aggregate, ...] = ("sum", "avg", "last")
Normalisation = Literal["none", "share", "rate"]
NORMALISATIONS: tuple[Normalisation, ...] = ("none", "share", "rate")
DEFAULT_MAX_NODES = 8192


@dataclass(frozen=True)
class Selection:
    """Which profiles: a label selector, one profile type (an id or a short name; empty: the only one), a range.

    Which of their samples: those of some spans (16 hexadecimal digits each), or of some traces (32); none named: all.
    `profile_ids` (UUIDs) name single profiles; none named: all.
    """

    selector: str = "{}"
    profile_type: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    span_ids: tuple[str, ...] = ()
    trace_ids: tuple[str, ...] = ()
    profile_ids: tuple[str, ...] = ()

    @property
    def picks_samples(self) -> bool:
        """Whether only some samples of the profiles are meant."""
        return bool(self.span_ids or self.trace_ids)


@dataclass(frozen=True)
class FrameFilter:
    """pprof's filters of these names: regular expressions on function, file and mapping names; empty: off.

    `show` and `hide` keep or remove frames; `focus` and `ignore` keep or remove whole stacks.
    """

    show: str = ""
    hide: str = ""
    focus: str = ""
    ignore: str = ""

    @property
    def active(self) -> bool:
        """Whether any filter is set."""
        return bool(self.show or self.hide or self.focus or self.ignore)


@dataclass(frozen=True)
class TreeQuery:
    """A selection, folded into a call tree: the part that flame graphs, tops and diffs have in common.

    `call_site` keeps the stacks that start with these function names, root first. `delta` turns cumulative
    values into differences of consecutive profiles of one series.
    """

    selection: Selection = field(default_factory=Selection)
    granularity: Granularity = "function"
    aggregate: Aggregate = "sum"
    delta: bool = False
    filter: FrameFilter = field(default_factory=FrameFilter)
    call_site: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlamegraphRequest:
    """The call tree as rows of bars, cut to the `max_nodes` largest nodes (0: all). Answer: `Flamegraph`."""

    tree: TreeQuery
    max_nodes: int = DEFAULT_MAX_NODES


@dataclass(frozen=True)
class DiffRequest:
    """Two call trees side by side. Answer: `FlamegraphDiff`."""

    left: TreeQuery
    right: TreeQuery
    max_nodes: int = DEFAULT_MAX_NODES
    normalise: Normalisation = "none"


@dataclass(frozen=True)
class TopRequest:
    """Functions by self value. Answer: a table `function, self, total`, largest self first; `limit` 0: all."""

    tree: TreeQuery
    limit: int = 0


@dataclass(frozen=True)
class DiffTopRequest:
    """Functions of two trees. Answer: a table `function, left_self, right_self, left_total, right_total, delta`.

    `delta` is right_total - left_total, largest magnitude first. Values are floats when normalised.
    """

    left: TreeQuery
    right: TreeQuery
    limit: int = 0
    normalise: Normalisation = "none"


@dataclass(frozen=True)
class TreeRequest:
    """Every node. Answer: a table `node, parent, depth, function, self, total` in pre-order, siblings by name."""

    tree: TreeQuery


@dataclass(frozen=True)
class SandwichRequest:
    """Callers or callees of one function (its exact name). Answer: `Flamegraph`, the function at its root."""

    tree: TreeQuery
    function: str
    direction: Literal["callers", "callees"]
    max_nodes: int = DEFAULT_MAX_NODES


@dataclass(frozen=True)
class LinesRequest:
    """pprof's `list`: values by source line of the functions that `pattern` finds.

    Answer: a table `function, filename, line, self, total`.
    """

    tree: TreeQuery
    pattern: str


@dataclass(frozen=True)
class SeriesRequest:
    """Totals in time. A bucket at tick t holds profiles in `(t - step, t]`; ticks are start + k * step <= last.

    Answer: a table `labels map<string, string>, ts int64, value float64`, series by sum of values descending,
    points ascending. `by` lists the labels to group by; `aggregate` is over the profiles of a bucket. With
    `exemplars` a column `exemplar struct<ts, profile_id, value, labels>` has the largest profile of each point, and
    the labels of its series beside those of `by`.
    """

    selection: Selection
    step_ns: int
    by: tuple[str, ...] = ()
    aggregate: Literal["sum", "avg"] = "sum"
    limit: int = 0
    exemplars: bool = False


@dataclass(frozen=True)
class SpansRequest:
    """What each span adds up to, by series and time. Answer: a table
    `span_id, trace_id, ts, labels, total, profile_id`, oldest first; ids in hexadecimal, no trace: empty.
    """

    selection: Selection


@dataclass(frozen=True)
class ProfilesRequest:
    """Single profiles, newest first. Answer: a table
    `profile_id, ts, profile_type, service_name, labels, samples, total, duration_ns`; `limit` 0: all.
    """

    selection: Selection
    limit: int = 0


@dataclass(frozen=True)
class LabelNamesRequest:
    """Answer: a table `name`, sorted."""

    selection: Selection


@dataclass(frozen=True)
class LabelValuesRequest:
    """Answer: a table `value`, sorted."""

    selection: Selection
    name: str


@dataclass(frozen=True)
class SeriesLabelsRequest:
    """Distinct label sets, projected on `names` (empty: all labels). Answer: a table `labels map`."""

    selection: Selection
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProfileTypesRequest:
    """Answer: a table `profile_type`, sorted."""

    selection: Selection


@dataclass(frozen=True)
class BlocksRequest:
    """Answer: a table `ulid, level, min_ts, max_ts, profiles, samples, size_bytes`, oldest first."""


@dataclass(frozen=True)
class PprofOptions:
    """How a merged pprof is made: go_pgo keeps `keep_locations` leaf-most locations (0: all).

    Files are compressed; who reads the message at once saves that.
    """

    go_pgo: bool = False
    keep_locations: int = 5
    aggregate_callees: bool = True
    rules: Literal["verbatim", "pyroscope"] = "verbatim"
    is_compressed: bool = True


@dataclass(frozen=True)
class ExportRequest:
    """Bytes in one of the output formats. Answer: `Exported`.

    With `sandwich`, a format that shows a flame graph shows that one, of the same tree.
    """

    tree: TreeQuery
    format: str
    pprof: PprofOptions = field(default_factory=PprofOptions)
    max_nodes: int = 0
    versus: TreeQuery | None = None
    sandwich: SandwichRequest | None = None


@dataclass(frozen=True)
class ExplainRequest:
    """What answering another request reads, and why; it is answered, and its answer dropped. Answer: `Explanation`."""

    request: Request


Request = (
    FlamegraphRequest
    | DiffRequest
    | TopRequest
    | DiffTopRequest
    | TreeRequest
    | SandwichRequest
    | LinesRequest
    | SeriesRequest
    | ProfilesRequest
    | SpansRequest
    | LabelNamesRequest
    | LabelValuesRequest
    | SeriesLabelsRequest
    | ProfileTypesRequest
    | BlocksRequest
    | ExportRequest
    | ExplainRequest
)


@dataclass(frozen=True)
class Flamegraph:
    """Rows of bars, top down. A bar is four integers: x offset from the end of the bar before it, total, self,
    index into `names`. Row 0 is one bar named "total". `unit` is the sample unit, `profile_type` the resolved id.
    """

    names: Sequence[str]
    levels: Sequence[Sequence[int]]
    total: int
    max_self: int
    profile_type: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlamegraphDiff:
    """As `Flamegraph`, with seven integers a bar: x, total, self of the left; of the right; name index."""

    names: Sequence[str]
    levels: Sequence[Sequence[int]]
    total: int
    max_self: int
    left_ticks: int
    right_ticks: int
    profile_type: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rows:
    """A tabular answer. `notes` are sentences for a person: defaults taken, windows that differ."""

    table: pa.Table
    profile_type: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """Bytes in an output format."""

    data: bytes
    media_type: str
    profile_type: str = ""
    notes: tuple[str, ...] = ()


Answer = Flamegraph | FlamegraphDiff | Rows | Exported | Explanation


@dataclass(frozen=True)
class Refused:
    """One upload that was not stored, and why."""

    origin: str
    reason: str


@dataclass(frozen=True)
class IngestReport:
    """What became of some uploads. Counts are of profiles (one upload may hold several)."""

    new: int = 0
    known: int = 0
    refused: tuple[Refused, ...] = ()
    blocks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class IngestOptions:
    """How uploads are taken in. `jobs` worker processes decode (0: one a core).

    `progress` is called in the caller's thread with the number of uploads so far whose fate is known.
    """

    jobs: int = 0
    progress: Callable[[int], None] | None = None


DEFAULT_INGEST = IngestOptions()


@dataclass(frozen=True)
class SqlRequest:
    """One SQL statement over the documented views, with named parameters."""

    text: str
    parameters: Mapping[str, object] = field(default_factory=dict)


class Database(Protocol):
    """One tenant of one store, wherever it is: in this process, or behind a URL.

    Safe for use by several threads. Each call sees one catalog version.
    """

    def ask(self, request: Request) -> Answer:
        """Answer a request. Raises `RequestError` or `StorageError`."""
        ...

    def sql(self, request: SqlRequest) -> pa.Table:
        """Run one SQL query. Raises `InvalidSql`."""
        ...

    def ingest(self, uploads: Iterable[Upload], options: IngestOptions = DEFAULT_INGEST) -> IngestReport:
        """Store uploads, durably when it returns; a bad one is refused and the others are stored.

        `uploads` is consumed once, as the work goes on, so that a directory of any size fits in memory.
        """
        ...

    def close(self) -> None:
        """Release files, connections and worker processes."""
        ...
