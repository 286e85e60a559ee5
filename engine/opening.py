"""What a path or a URL means: a store, profile files, or a server; and the `Database` over it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..schema.errors import FlameduckError, InputError, RequestError
from ..schema.profile import Upload
from ..schema.request import Database, Refused
from ..schema.tenant import ANONYMOUS, HEAD, SERVER_NOTE
from .served import ServedStore, running_server
from .settings import load_settings
from .uploads import UploadOptions, Uploads, What, directory_files, is_url

if TYPE_CHECKING:
    from .client import ClientDatabase

PROFILE_SUFFIXES = (".gz", ".pb", ".pprof", ".prof", ".zst", ".folded", ".collapsed", ".txt", ".json", ".jfr")
"""A path that is not there and ends so is a file that is missing, not a new store."""

_SERVERS = ("http://", "https://")

SIDE = "side"
"""The label that tells the two sides of a comparison of files apart."""


@dataclass(frozen=True)
class Opened:
    """A database, the files that were refused where others were not, and warnings about the rest."""

    database: Database
    refused: tuple[Refused, ...] = ()
    warnings: tuple[str, ...] = ()


def open_database(
    places: Sequence[What], tenant: str, input_format: str = "", raw_names: bool = False, executor: str = ""
) -> Opened:
    """The database over a store, or over files. Raises `InputError`, `RequestError` or `StorageError`.

    `executor` names who reads the blocks of a store, as `executor_named` takes it; empty: this process.
    """
    where = places[0]
    if len(places) == 1 and not isinstance(where, (bytes, Upload)) and is_store(os.fspath(where)):
        return Opened(open_store(os.fspath(where), tenant, executor))
    if executor:
        raise RequestError(
            f"executor {executor}: only the blocks of a store are read by others, files are not"
        )
    return open_profiles(Uploads(places, _options(input_format, raw_names)))


def open_sides(before: What, after: What, input_format: str = "", raw_names: bool = False) -> Opened:
    """The database over two sides of files; the label `side` is `before` or `after`. Raises `InputError`."""
    options = _options(input_format, raw_names)
    sides = [
        Uploads([place], replace(options, labels={SIDE: name}))
        for name, place in (("before", before), ("after", after))
    ]
    return open_profiles(*sides)


def _options(input_format: str, raw_names: bool) -> UploadOptions:
    """Files that are read without a store: labelled with their names; what has no time at all is from now."""
    limit = load_settings().max_file_bytes
    return UploadOptions(
        input_format=input_format,
        untimed_ns=time.time_ns(),
        file_label=True,
        raw_names=raw_names,
        max_bytes=limit,
    )


def is_store(where: str) -> bool:
    """Whether a path or URL is a store, also an empty or a new one; otherwise it names profile files."""
    if is_url(where):
        return not where.endswith(PROFILE_SUFFIXES)
    path = Path(where.removeprefix("file://"))
    if path.is_dir():
        return holds_store(path) or not directory_files(str(path))
    return where != "-" and not path.exists() and not _looks_like_files(path)


def holds_store(directory: Path) -> bool:
    """Whether some tenant has a catalog, or blocks, below a directory, or a server its head."""
    signs = ("*/catalog", "*/blocks", HEAD, SERVER_NOTE)
    return any(next(directory.glob(pattern), None) is not None for pattern in signs)


def _looks_like_files(path: Path) -> bool:
    return path.name.endswith(PROFILE_SUFFIXES) or any(char in str(path) for char in "*?[")


def open_store(where: str, tenant: str, executor: str = "") -> Database:
    """The database over a store, or over a running server by its URL.

    Raises `RequestError` when an `executor` is to read what a server has, and as `executor_named` does.
    """
    server = server_of(where, tenant)
    is_server = where.startswith(_SERVERS)
    if executor:
        if is_server:
            raise RequestError(f"executor {executor}: workers read blocks in a store, not through a server")
        if server is not None:
            raise RequestError(
                f"executor {executor}: the server of this store has profiles that are in no block yet; ask without"
            )
        return _executed(where, tenant, executor)
    if server is not None and is_server:
        return server
    from .embedded import open_embedded

    store = open_embedded(where, tenant, load_settings())
    return store if server is None else ServedStore(server, store)


def server_of(where: str, tenant: str) -> ClientDatabase | None:
    """The server at a URL, or the one that keeps a local store for a tenant; None where there is none."""
    if where.startswith(_SERVERS):
        url = where
    else:
        running = None if is_url(where) else running_server(where.removeprefix("file://"))
        if running is None or (tenant != ANONYMOUS and not running.multitenancy):
            return None
        url = running.url
    from .client import ClientDatabase

    return ClientDatabase(url, tenant)


def _executed(where: str, tenant: str, executor: str) -> Database:
    from .embedded import open_embedded
    from .execution.named import executor_named

    workers = executor_named(executor)
    try:
        return open_embedded(where, tenant, load_settings(), workers)
    except FlameduckError:
        workers.close()
        raise


def open_server(where: str, tenant: str) -> ClientDatabase:
    """The server at a URL, or the one that keeps a local store. Raises `RequestError` where there is none."""
    server = server_of(where, tenant)
    if server is None:
        raise RequestError(
            f"{where}: no server keeps it on this machine; name one with --url http://host:4040"
        )
    return server


def open_profiles(*groups: Uploads) -> Opened:
    """The database over files without a store. Raises `InputError` when a group has none that can be read."""
    from .embedded import open_files

    database = open_files(chain(*groups), load_settings())
    refused = (*(item for group in groups for item in group.refused), *database.refused)
    bad = {item.origin for item in refused}
    for group in groups:
        if bad.issuperset(group.origins):
            reasons = [f"{item.origin}: {item.reason}" for item in refused if item.origin in group.origins]
            others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            raise InputError(reasons[0] + others if reasons else "no files")
    return Opened(database, refused, database.warnings)
