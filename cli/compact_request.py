"""Compaction that a server is asked for, and waited for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..engine.client import ClientDatabase
    from .options import StoreOptions

_LOOK_S = 0.25


def request_compaction(store: StoreOptions) -> Sequence[Mapping[str, Any]]:
    """A row for each block that was made, as `flameduck compact` shows them; problems are told.

    Raises `Unavailable` when the job failed, with what the server says of it.
    """
    from ..engine.opening import open_server

    server = open_server(store.store, store.tenant)
    try:
        job = server.compact()
        if job is None:
            return ()
        job = _ended(server, job)
    finally:
        server.close()
    for problem in job["problems"]:
        click.echo(f"flameduck: {problem}", err=True)
    rows = [_row(job, step) for step in job["steps"]]
    if rows:
        rows[-1]["problems"] = job["problems"]
    return rows


def _ended(server: ClientDatabase, job: Mapping[str, Any]) -> Mapping[str, Any]:
    from ..schema.errors import Unavailable

    ulid, attempts = job["id"], job["attempts"]
    while not job["ended"] or "steps" not in job:
        time.sleep(_LOOK_S)
        found = server.jobs(ulid=ulid)["jobs"]
        if not found:
            raise Unavailable(f"job {ulid}: the server does not know it any more; it may have been restarted")
        job = found[0]
        if job["error"] and job["state"] == "queued" and job["attempts"] > attempts:
            raise Unavailable(f"job {ulid}: {job['error']}; it is tried again at {job['retry']}")
    return job


def _row(job: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    before, after = step["before"], step["after"]
    made = after["blocks"] > 0
    return {
        "tenant": job["tenant"],
        "level": step["level"],
        "blocks": before["blocks"],
        "profiles_before": before["profiles"],
        "size_bytes_before": before["size_bytes"],
        "block": step["block"],
        "profiles": after["profiles"] if made else None,
        "samples": after["samples"] if made else None,
        "size_bytes": after["size_bytes"] if made else None,
        "seconds": step["seconds"],
        "problems": [],
    }
