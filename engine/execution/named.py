"""Executors by name: what a person says about where work is to run."""

from __future__ import annotations

from ...schema.errors import RequestError
from . import Executor

LOCAL = "local"
CLUSTERS = ("dask://", "dask+tls://")


def executor_named(name: str, jobs: int = 0) -> Executor:
    """Worker processes of this machine for `local`, `jobs` of them (0: one a core); a cluster for `dask://host:port`.

    Workers are used for a single item too. Raises `RequestError` for another name, or for `jobs` of a cluster, and
    `Unavailable` when the cluster does not answer.
    """
    if name == LOCAL:
        from .local import LocalExecutor

        return LocalExecutor(jobs, inline=False)
    if not name.startswith(CLUSTERS):
        raise RequestError(
            f"executor {name[:200]!r}: expected local, dask://host:port or dask+tls://host:port"
        )
    if jobs:
        raise RequestError(
            f"the cluster {name} has its own number of workers: jobs go with the executor local"
        )
    from .dask import DaskExecutor

    return DaskExecutor(name)
