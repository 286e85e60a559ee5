"""The door to DuckDB: one in-process instance, one cursor a request, Arrow tables in and out.

Settings are made once, globally, since a cursor does not inherit what another cursor set. A `Session` belongs
to one thread at a time; threads take a session each. DuckDB's errors become ours here and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..schema.errors import FlameduckError, InvalidSql, StorageError, Unavailable
from .settings import Settings

if TYPE_CHECKING:
    # Imported when a database is made: questions about a few files need none.
    import duckdb

NO_PARAMETERS: Mapping[str, object] = MappingProxyType({})
NO_TABLES: Mapping[str, pa.Table] = MappingProxyType({})

_PERFECT_HASH_BITS = 22
"""Group-bys on dense integer ids use an array instead of a hash table up to this many bits of key."""

_HARMFUL_OPTIMIZERS = "partial_aggregate_pushdown"
"""Groups whole tables of stacks and nodes before it joins them: `top` over 60 blocks took 2.2 s, not 1.2."""

_WRAPPING = frozenset({"EXPLAIN", "MULTI"})
"""Statements that may hold a query or something else. MULTI has a PIVOT in it, which runs as several statements."""

_COMMENTS = r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*"
_EXPLAIN = re.compile(
    _COMMENTS + r"EXPLAIN\s+(ANALYZE\s+)?(\(\s*(ANALYZE|FORMAT)\b[^()]*\)\s*)?", re.IGNORECASE | re.DOTALL
)
_HIDING = ("copy", "query", "json_execute")
_WRITING = re.compile("COPY|JSON_EXECUTE|INSERT|DELETE|UPDATE|MERGE|CREATE")
_BATCH_ROWS = 10_000
_WIDE_ROW_BYTES = 100_000
"""A batch is in memory before it is counted. Rows of this size do not pass a limit on the answer by more than once."""


@dataclass(frozen=True)
class DatabaseLimits:
    """What one DuckDB instance may use; None leaves DuckDB's default (all cores, 80 % of memory).

    `temp_bytes` is how much SQL may spill. `home` is where DuckDB looks for what a person keeps (secrets,
    extensions); None: where that person does.
    """

    threads: int | None = None
    memory_bytes: int | None = None
    temp_directory: str | None = None
    temp_bytes: int | None = None
    home: str | None = None


@dataclass(frozen=True)
class AnswerLimits:
    """How large one answer may become."""

    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Query:
    """SQL text with named parameters (`$name`), and the name that messages give it."""

    name: str
    text: str


@cache
def query_file(package: str, name: str) -> Query:
    """The query in `<name>.sql` of a package, for example `("flameduck.engine.query.sql", "stack_sums")`."""
    import importlib.resources

    text = importlib.resources.files(package).joinpath(f"{name}.sql").read_text("utf-8")
    return Query(f"{name}.sql", text)


class DuckDB:
    """One in-process DuckDB instance. Safe for several threads: each takes its own `session`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        # Guards `_scripts`, the names of scripts whose definitions all sessions share.
        self._lock = Lock()
        self._scripts: set[str] = set()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A cursor for one request; what it registers and sets is gone afterwards."""
        with _errors_of("session"):
            cursor = self._connection.cursor()
        session = Session(cursor, self._run_once)
        try:
            yield session
        finally:
            cursor.close()

    def _run_once(self, query: Query, session: Session) -> None:
        with self._lock:
            if query.name not in self._scripts:
                session.run(query)
                self._scripts.add(query.name)

    def confine(self, paths: Sequence[str]) -> None:
        """Let SQL read these files alone from now on, no extension, and no setting be changed. For good."""
        with _errors_of("confine"):
            self._connection.execute("SET GLOBAL allowed_paths = $paths", {"paths": list(paths)})
            self._connection.execute("SET GLOBAL enable_external_access = false")
            self._connection.execute("SET GLOBAL lock_configuration = true")

    def register_filesystem(self, filesystem: object) -> None:
        """Let SQL read URLs through an fsspec file system, whose files must be safe under threads."""
        with _errors_of("filesystem"):
            self._connection.register_filesystem(filesystem)

    def close(self) -> None:
        """Release the instance; open sessions end with it."""
        self._connection.close()

    def __enter__(self) -> DuckDB:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session:
    """One cursor: variables, registered tables and queries of one request. One thread at a time."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, run_once: Callable[[Query, Session], None]) -> None:
        self._cursor = cursor
        self._run_once = run_once

    def arrow(
        self,
        query: Query,
        parameters: Mapping[str, object] = NO_PARAMETERS,
        tables: Mapping[str, pa.Table] = NO_TABLES,
    ) -> pa.Table:
        """The answer of one query that this package wrote.

        Binds the parameters that the query names and ignores the others. `tables` are Arrow tables that the
        query can name, for its duration. A HUGEINT column whose values fit is BIGINT in the answer.
        """
        for name, table in tables.items():
            self.register(name, table)
        try:
            with _errors_of(query.name):
                return self._fetch(self._only_statement(query), parameters)
        finally:
            for name in tables:
                self._cursor.unregister(name)

    def measure(self) -> None:
        """Let DuckDB count what the queries of this session scan."""
        self._cursor.execute("PRAGMA enable_profiling = 'no_output'")

    def measured(self) -> tuple[int, int]:
        """How many rows and bytes of files the last query scanned, after `measure`."""
        profile = json.loads(self._cursor.get_profiling_information(format="json"))
        scans = [node for node in _nodes(profile["operator"]) if node["type"] == "TABLE_SCAN"]
        return sum(int(one.get("rows_scanned", 0)) for one in scans), sum(
            int(one.get("bytes_scanned", 0)) for one in scans
        )

    def answer(
        self,
        query: Query,
        parameters: Mapping[str, object] = NO_PARAMETERS,
        limits: AnswerLimits | None = None,
    ) -> pa.Table:
        """The answer of a query that a user wrote: one statement, which only reads.

        Raises `InvalidSql` for anything else, for parameters that are missing or not named in it, and for an
        answer over the limits, before it is whole. Limits are for strangers, whose plans are looked at as well.
        """
        with _errors_of(query.name):
            statement = self._only_statement(query)
            inner = self._checked_inner(query, statement)
            unknown = ", ".join(f"${name}" for name in sorted(set(parameters) - statement.named_parameters))
            if unknown:
                raise InvalidSql(f"{query.name}: the query has no parameter {unknown}")
            # A CTE may hold an INSERT, which the parser calls a SELECT all the same.
            self._cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                if limits is not None:
                    self._check_plan(query, inner, parameters)
                return self._fetch(statement, parameters, limits)
            finally:
                self._cursor.execute("ROLLBACK")

    def _checked_inner(self, query: Query, statement: duckdb.Statement) -> str:
        """The text of the query in a statement. Raises `InvalidSql` for a statement that is no query.

        What is explained is carried out under ANALYZE, and PIVOT may stand within COPY or CREATE: of those two, what
        remains must parse as a subquery, which only a query does.
        """
        kind, text = _kind(statement), statement.query.strip().rstrip(";")
        if kind == "SELECT":
            return text
        if kind in _WRAPPING:
            inner = _EXPLAIN.sub("", text, count=1)
            try:
                inside = self._cursor.extract_statements(f"FROM ({inner}\n)")
                if [_kind(one) for one in inside] in (["SELECT"], ["MULTI"]):
                    return inner
            except _duckdb_errors():
                kind = "what it runs" if kind == "MULTI" else kind
        raise InvalidSql(f"{query.name}: only queries are allowed here, not {kind or 'this'}")

    def _check_plan(self, query: Query, inner: str, parameters: Mapping[str, object]) -> None:
        """Raises `InvalidSql` for a query of a stranger whose plan writes a file, or runs SQL made from text.

        A WITH clause may hold a COPY, which a read-only transaction does not mind. To plan a PIVOT is to run a part
        of it, so that one may not even have the words that could hide a COPY.
        """
        statement = self._only_statement(Query(query.name, f"EXPLAIN (FORMAT json)\n{inner}"))
        hiding = next((word for word in _HIDING if word in inner.lower()), None)
        if _kind(statement) == "MULTI" and hiding is not None:
            raise InvalidSql(f"{query.name}: PIVOT and {hiding!r} do not go together here")
        rows = self._cursor.execute(statement, _named(statement, parameters)).fetchall()
        written = [name for _, plan in rows for name in _operators(json.loads(plan)) if _WRITING.search(name)]
        if written:
            raise InvalidSql(f"{query.name}: only queries are allowed here, not {written[0]}")

    def run(self, query: Query, parameters: Mapping[str, object] = NO_PARAMETERS) -> None:
        """Run a script of our own, statement by statement, each with the parameters that it names."""
        with _errors_of(query.name):
            for statement in self._cursor.extract_statements(query.text):
                self._cursor.execute(statement, _named(statement, parameters))

    def run_once(self, query: Query) -> None:
        """Run a script of definitions for all sessions of this instance, unless it has been."""
        self._run_once(query, self)

    def register(self, name: str, table: pa.Table) -> None:
        """Let queries of this session read an Arrow table by name."""
        with _errors_of(name):
            self._cursor.register(name, table)

    def interrupt(self) -> None:
        """Stop the query that another thread runs in this session; it raises `Unavailable` there."""
        self._cursor.interrupt()

    def _only_statement(self, query: Query) -> duckdb.Statement:
        statements = self._cursor.extract_statements(query.text)
        if len(statements) != 1:
            raise InvalidSql(f"{query.name}: expected one statement, found {len(statements)}")
        return statements[0]

    def _fetch(
        self,
        statement: duckdb.Statement,
        parameters: Mapping[str, object],
        limits: AnswerLimits | None = None,
    ) -> pa.Table:
        relation = self._cursor.sql(statement, params=_named(statement, parameters) or None)
        if relation is None:
            return pa.table({})
        huge = [str(kind) == "HUGEINT" for kind in relation.types]
        if limits is None:
            table = relation.to_arrow_table()
        else:
            batch_rows = min(_BATCH_ROWS, limits.size_bytes // _WIDE_ROW_BYTES + 1)
            with relation.to_arrow_reader(batch_rows) as reader:
                table = pa.Table.from_batches(_bounded(reader, limits), reader.schema)
        return _with_bigint(table, huge) if any(huge) else table


def connect(limits: DatabaseLimits | None = None) -> DuckDB:
    """A new in-process DuckDB with this package's settings. Raises `Unavailable` when it cannot be had."""
    import duckdb

    limits = limits or DatabaseLimits()
    with _errors_of("connect"):
        connection = duckdb.connect(config=_config(limits))
        # Only settable once the parquet extension is there, so not in the configuration.
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET GLOBAL disabled_optimizers = $names", {"names": _HARMFUL_OPTIMIZERS})
    return DuckDB(connection)


def connect_within(settings: Settings) -> DuckDB:
    """A new in-process DuckDB that uses what the settings allow. Raises `Unavailable` when it cannot be had."""
    os.makedirs(settings.spill_directory, exist_ok=True)
    limits = DatabaseLimits(
        threads=settings.threads or None,
        memory_bytes=settings.memory_bytes,
        temp_directory=settings.spill_directory,
    )
    return connect(limits)


def _config(limits: DatabaseLimits) -> dict[str, str | bool | int | float | list[str]]:
    config: dict[str, str | bool | int | float | list[str]] = {
        "perfect_ht_threshold": _PERFECT_HASH_BITS,
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
    }
    if limits.threads is not None:
        config["threads"] = limits.threads
    if limits.memory_bytes is not None:
        config["memory_limit"] = f"{limits.memory_bytes}B"
    if limits.temp_directory is not None:
        config["temp_directory"] = limits.temp_directory
    if limits.temp_bytes is not None:
        config["max_temp_directory_size"] = f"{limits.temp_bytes}B"
    if limits.home is not None:
        config |= {"home_directory": limits.home, "secret_directory": f"{limits.home}/secrets"}
        config |= {"allow_persistent_secrets": False, "extension_directory": f"{limits.home}/extensions"}
    return config


def _bounded(batches: Iterable[pa.RecordBatch], limits: AnswerLimits) -> Iterator[pa.RecordBatch]:
    """The batches, as long as they are within limits. Raises `InvalidSql`."""
    rows = size_bytes = 0
    for batch in batches:
        rows += batch.num_rows
        size_bytes += batch.nbytes
        if rows > limits.rows:
            raise InvalidSql(f"the answer has more than {limits.rows} rows: add a LIMIT")
        if size_bytes > limits.size_bytes:
            raise InvalidSql(f"the answer has more than {limits.size_bytes} bytes: select less")
        yield batch


def _named(statement: duckdb.Statement, parameters: Mapping[str, object]) -> dict[str, object]:
    """The parameters that a statement names: DuckDB refuses a missing one and an excess one alike."""
    return {name: parameters[name] for name in statement.named_parameters if name in parameters}


def _with_bigint(table: pa.Table, huge: list[bool]) -> pa.Table:
    """HUGEINT columns, the type of DuckDB's sums, as BIGINT where all values fit."""
    for position, name in enumerate(table.column_names):
        if huge[position]:
            try:
                column = table.column(position).cast(pa.int64())
            except pa.ArrowInvalid:
                continue
            table = table.set_column(position, name, column)
    return table


def _operators(plan: object) -> Iterator[str]:
    """The names of all operators in a plan."""
    if isinstance(plan, list):
        for one in plan:
            yield from _operators(one)
    elif isinstance(plan, dict):
        yield str(plan.get("name", ""))
        yield from _operators(plan.get("children", []))


def _nodes(tree: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """The operators of a profile, from the top down."""
    for node in tree:
        yield node
        yield from _nodes(node.get("children", ()))


def _kind(statement: duckdb.Statement) -> str:
    """The kind of a statement; empty for those that DuckDB's Python package has no name for."""
    try:
        return str(statement.type.name)
    except ValueError:
        return ""


def _duckdb_errors() -> type[Exception]:
    """The class of all of DuckDB's errors."""
    import duckdb

    return duckdb.Error


@contextmanager
def _errors_of(origin: str) -> Iterator[None]:
    """Map DuckDB's errors to ours, naming what was run."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise _translated(type(error), error, origin) from None
    except OSError as error:
        # A stream of Arrow batches tells an error of DuckDB's by its text alone.
        name, is_duckdbs, _ = str(error).partition(" Error: ")
        if not is_duckdbs:
            raise
        raise _translated(_error_class(name), error, origin) from None


def _error_class(name: str) -> type[duckdb.Error]:
    """DuckDB's class of the errors whose texts begin with a name: those of "Out of Memory" are
    `OutOfMemoryException`.
    """
    import duckdb

    wanted = f"{name.replace(' ', '')}Exception".casefold()
    kinds = (
        kind for kind in vars(duckdb).values() if isinstance(kind, type) and issubclass(kind, duckdb.Error)
    )
    return next((kind for kind in kinds if kind.__name__.casefold() == wanted), duckdb.Error)


@cache
def _error_kinds() -> Sequence[tuple[tuple[type[duckdb.Error], ...], type[FlameduckError]]]:
    """DuckDB's errors and what they are here, the first that fits."""
    import duckdb

    busy = (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.ResourceInUseException)
    broken = (
        duckdb.IOException,
        duckdb.SerializationException,
        duckdb.InternalException,
        duckdb.FatalException,
    )
    return ((busy, Unavailable), (broken, StorageError), ((duckdb.Error,), InvalidSql))


def _translated(raised: type[duckdb.Error], error: Exception, origin: str) -> FlameduckError:
    kind = next(ours for theirs, ours in _error_kinds() if issubclass(raised, theirs))
    # The text starts with DuckDB's class of the error ("Binder Error: "), which tells a reader nothing.
    _, _, reason = str(error).strip().partition(": ")
    return kind(f"{origin}: {reason or error}")
