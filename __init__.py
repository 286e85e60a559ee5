"""flameduck: a continuous-profiling database over open Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flameduck.engine.connection import Connection
    from flameduck.engine.uploads import What

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(
    where: What,
    *more: What,
    tenant: str = "anonymous",
    input_format: str = "",
    raw_names: bool = False,
    executor: str = "",
) -> Connection:
    """Open a store (a directory or a URL), or profile files without one.

    A path is read as files when it is a file, or a directory that holds files and no store; several paths are
    files. A new or empty directory is a new store. With `raw_names`, the function names of files stay as they
    are. An `executor`, `local` or the `dask://host:8786` of a cluster, has its workers read the blocks of a store. The
    engine is imported on the first call.
    """
    from flameduck.engine.connection import open_connection

    return open_connection(
        where, *more, tenant=tenant, input_format=input_format, raw_names=raw_names, executor=executor
    )
