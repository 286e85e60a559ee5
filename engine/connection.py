"""The Python API: `flameduck.open()` and the `Connection` it returns, over any `Database`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack, cast

from ..schema.errors import RequestError
from ..schema.explanation import Explanation
from ..schema.profile import Upload
from ..schema.request import (
    DEFAULT_MAX_NODES,
    BlocksRequest,
    Database,
    DiffRequest,
    DiffTopRequest,
    Exported,
    ExportRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    IngestOptions,
    IngestReport,
    LabelNamesRequest,
    LabelValuesRequest,
    LinesRequest,
    PprofOptions,
    ProfilesRequest,
    ProfileTypesRequest,
    Refused,
    Request,
    Rows,
    SandwichRequest,
    SeriesLabelsRequest,
    SeriesRequest,
    SqlRequest,
    TopRequest,
    TreeRequest,
)
from ..schema.times import parse_duration_ns
from .explaining import Explained, ExplainingDatabase
from .keywords import (
    DiffKeywords,
    IngestKeywords,
    SelectKeywords,
    Side,
    TreeKeywords,
    both_sides,
    selection,
    to_time_ns,
    tree_query,
)
from .opening import open_database, open_sides
from .results import FlamegraphView, SqlResult, format_of_path
from .uploads import Pathish, UploadOptions, Uploads, What

ASKING = (
    "flamegraph",
    "top",
    "tree",
    "lines",
    "callers",
    "callees",
    "diff",
    "diff_top",
    "series",
    "profiles",
    "label_names",
    "label_values",
    "series_labels",
    "profile_types",
    "export",
)
"""The methods of a `Connection` that can be explained."""


def open_connection(
    where: What,
    *more: What,
    tenant: str = "anonymous",
    input_format: str = "",
    raw_names: bool = False,
    executor: str = "",
) -> Connection:
    """Open a store (a directory or a URL), or profile files without one: `flameduck.open()`.

    A path is read as files when it is a file, or a directory that holds files and no store; several paths are
    files. Files carry the label `file`. A new or empty directory is a new store. With `raw_names`, the function
    names of files stay as they are.

    With an `executor`, `local` (a process a core) or the scheduler of a Dask cluster, `dask://host:8786`, its workers
    read the blocks of a store: worth it for very long ranges. They must see the store as it is named here.

    Raises `InputError` when a file cannot be read, `Unavailable` when a cluster does not answer.
    """
    opened = open_database((where, *more), tenant, input_format, raw_names, executor)
    return Connection(opened.database, opened.refused, opened.warnings)


def open_comparison(before: What, after: What, input_format: str = "", raw_names: bool = False) -> Connection:
    """Open two files, directories or globs side by side: the label `side` is `before` or `after`."""
    opened = open_sides(before, after, input_format, raw_names)
    return Connection(opened.database, opened.refused, opened.warnings)


class Connection:
    """An open store, or open files: every question, and ingest. Use it with `with`, or close it.

    Safe for use by several threads.
    """

    def __init__(
        self, database: Database, refused: Sequence[Refused] = (), warnings: Sequence[str] = ()
    ) -> None:
        self.database = database
        self.refused = tuple(refused)
        """Files that were asked for and refused, where others were not."""
        self.warnings = tuple(warnings)
        """What is odd about the files that were read."""

    def __repr__(self) -> str:
        return f"<flameduck connection: {type(self.database).__name__}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release files, connections and worker processes."""
        self.database.close()

    def ingest(self, what: What | Iterable[What], **said: Unpack[IngestKeywords]) -> IngestReport:
        """Store files, directories, globs, URLs, bytes or uploads; what is refused is in the report.

        `labels` are added to every profile; `rules` is `verbatim` (as pprof reads it) or `pyroscope`; `time`
        stands in for profiles without one (a file's modification time does by default); `name` sets
        `__name__`; `input_format` says what the content does not; with `raw_names`, function names stay as they
        are.
        """
        options = UploadOptions(
            labels=said.get("labels", {}),
            name=said.get("name", ""),
            time_ns=to_time_ns(said.get("time")) or 0,
            rules=said.get("rules", "verbatim"),
            input_format=said.get("input_format", ""),
            raw_names=said.get("raw_names", False),
        )
        single = isinstance(what, (str, bytes, os.PathLike, Upload))
        uploads = Uploads([cast(What, what)] if single else cast(Iterable[What], what), options)
        report = self.database.ingest(uploads, IngestOptions(jobs=said.get("jobs", 0)))
        return replace(report, refused=(*report.refused, *uploads.refused))

    def sql(self, text: str, **parameters: object) -> SqlResult:
        """Run one SQL query over the documented views; `$name` in it is the parameter `name`."""
        return SqlResult(self.database.sql(SqlRequest(text, parameters)))

    def flamegraph(
        self, selector: str = "{}", *, max_nodes: int = DEFAULT_MAX_NODES, **query: Unpack[TreeKeywords]
    ) -> FlamegraphView:
        """The call tree as a flame graph, cut to the `max_nodes` largest nodes (0: all)."""
        tree = tree_query(selector, query)
        graph = cast(Flamegraph, self.database.ask(FlamegraphRequest(tree, max_nodes)))
        return FlamegraphView(
            graph, lambda name: self._export(ExportRequest(tree, name, max_nodes=max_nodes))
        )

    def top(self, selector: str = "{}", *, limit: int = 0, **query: Unpack[TreeKeywords]) -> SqlResult:
        """Functions by self value: `function, self, total`; `limit` 0: all."""
        return self._rows(TopRequest(tree_query(selector, query), limit))

    def tree(self, selector: str = "{}", **query: Unpack[TreeKeywords]) -> SqlResult:
        """Every node of the call tree: `node, parent, depth, function, self, total`, in pre-order."""
        return self._rows(TreeRequest(tree_query(selector, query)))

    def lines(self, pattern: str, selector: str = "{}", **query: Unpack[TreeKeywords]) -> SqlResult:
        """Values by line of the functions that `pattern` finds: `function, filename, line, self, total`."""
        return self._rows(LinesRequest(tree_query(selector, query), pattern))

    def callers(
        self,
        function: str,
        selector: str = "{}",
        *,
        max_nodes: int = DEFAULT_MAX_NODES,
        **query: Unpack[TreeKeywords],
    ) -> FlamegraphView:
        """Who calls `function` (its exact name), as a flame graph with the function at its root."""
        return self._sandwich(SandwichRequest(tree_query(selector, query), function, "callers", max_nodes))

    def callees(
        self,
        function: str,
        selector: str = "{}",
        *,
        max_nodes: int = DEFAULT_MAX_NODES,
        **query: Unpack[TreeKeywords],
    ) -> FlamegraphView:
        """What `function` (its exact name) calls, as a flame graph with the function at its root."""
        return self._sandwich(SandwichRequest(tree_query(selector, query), function, "callees", max_nodes))

    def diff(self, left: Side, right: Side, **how: Unpack[DiffKeywords]) -> FlamegraphView:
        """Two call trees side by side, as a flame graph; see `diff_top` for the sides."""
        trees = both_sides(left, right, how)
        max_nodes = how.get("max_nodes", DEFAULT_MAX_NODES)
        graph = cast(
            FlamegraphDiff, self.database.ask(DiffRequest(*trees, max_nodes, how.get("normalise", "none")))
        )
        before, after = trees
        return FlamegraphView(
            graph, lambda name: self._export(ExportRequest(before, name, max_nodes=max_nodes, versus=after))
        )

    def diff_top(self, left: Side, right: Side, **how: Unpack[DiffKeywords]) -> SqlResult:
        """Functions of two trees, largest change first.

        A side is a selector, or a mapping with `selector` and any of `TreeKeywords`; what `how` says holds
        for both unless a side says otherwise. `normalise` is `none`, `share` or `rate`.
        """
        trees = both_sides(left, right, how)
        return self._rows(DiffTopRequest(*trees, how.get("limit", 0), how.get("normalise", "none")))

    def series(
        self,
        selector: str = "{}",
        *,
        step: int | str = "15s",
        by: Sequence[str] = (),
        aggregate: Literal["sum", "avg"] = "sum",
        limit: int = 0,
        **query: Unpack[SelectKeywords],
    ) -> SqlResult:
        """Totals in time: `labels, ts, value`. `step` is ns or a text like `15s`; `by` lists labels."""
        step_ns = parse_duration_ns(step) if isinstance(step, str) else step
        return self._rows(SeriesRequest(selection(selector, query), step_ns, tuple(by), aggregate, limit))

    def profiles(self, selector: str = "{}", *, limit: int = 0, **query: Unpack[SelectKeywords]) -> SqlResult:
        """Single profiles, newest first."""
        return self._rows(ProfilesRequest(selection(selector, query), limit))

    def label_names(self, selector: str = "{}", **query: Unpack[SelectKeywords]) -> list[str]:
        """Label names, sorted."""
        return self._column(LabelNamesRequest(selection(selector, query)))

    def label_values(self, name: str, selector: str = "{}", **query: Unpack[SelectKeywords]) -> list[str]:
        """The values of one label, sorted."""
        return self._column(LabelValuesRequest(selection(selector, query), name))

    def series_labels(
        self, selector: str = "{}", *, names: Sequence[str] = (), **query: Unpack[SelectKeywords]
    ) -> list[dict[str, str]]:
        """Distinct label sets, projected on `names` (empty: all labels)."""
        rows = self._rows(SeriesLabelsRequest(selection(selector, query), tuple(names)))
        return [row["labels"] for row in rows.to_dicts()]

    def profile_types(self, selector: str = "{}", **query: Unpack[SelectKeywords]) -> list[str]:
        """Profile type ids, sorted."""
        return self._column(ProfileTypesRequest(selection(selector, query)))

    def blocks(self) -> SqlResult:
        """The blocks: `ulid, level, min_ts, max_ts, profiles, samples, size_bytes`, oldest first."""
        return self._rows(BlocksRequest())

    def export(
        self,
        selector: str = "{}",
        *,
        format: str = "",
        path: Pathish | None = None,
        pprof: PprofOptions | None = None,
        max_nodes: int = 0,
        **query: Unpack[TreeKeywords],
    ) -> bytes:
        """Bytes in an output format, by default what the suffix of `path` names; written there too."""
        if not format and path is None:
            raise RequestError("export needs a format or a path whose suffix names one")
        chosen = format or format_of_path(cast(Pathish, path))
        request = ExportRequest(tree_query(selector, query), chosen, pprof or PprofOptions(), max_nodes)
        data = self._export(request).data
        if path is not None:
            Path(path).write_bytes(data)
        return data

    def explain(self, method: str, *arguments: Any, **said: Any) -> Explanation:
        """What a question reads, and why: `db.explain("top", '{service_name="cart"}', type="cpu")`.

        `method` is the name of one that asks (`ASKING`), the rest is what it takes. The question is
        answered, and the answer dropped. Raises `RequestError` for another name.
        """
        if method not in ASKING:
            raise RequestError(f"{method!r} cannot be explained: expected one of {', '.join(ASKING)}")
        try:
            getattr(Connection(ExplainingDatabase(self.database)), method)(*arguments, **said)
        except Explained as explained:
            return explained.explanation
        raise RequestError(f"{method!r} asked nothing")

    def _rows(self, request: Request) -> SqlResult:
        answer = cast(Rows, self.database.ask(request))
        return SqlResult(answer.table, answer.notes)

    def _column(self, request: Request) -> list[str]:
        return [str(row[0]) for row in self._rows(request)]

    def _export(self, request: ExportRequest) -> Exported:
        return cast(Exported, self.database.ask(request))

    def _sandwich(self, request: SandwichRequest) -> FlamegraphView:
        graph = cast(Flamegraph, self.database.ask(request))
        nodes = request.max_nodes
        return FlamegraphView(
            graph,
            lambda name: self._export(ExportRequest(request.tree, name, max_nodes=nodes, sandwich=request)),
        )
