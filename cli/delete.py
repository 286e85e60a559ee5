"""`flameduck delete`: profiles that go for good, with proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from .asking import EXIT_CODE, existing_store, start_engine
from .options import SelectOptions, StoreOptions, format_option, only_store_options, select_options, time_ns
from .output import Shown, note, show_table, write_json
from .values import format_value

if TYPE_CHECKING:
    from ..engine.client import ClientDatabase
    from ..engine.deleting import StoreDeletions
    from ..schema.deletion import DeleteAnswer, DeleteRequest
    from ..schema.tombstone import Tombstone

_POLL_S = 0.3
_WAIT_S = 600.0
"""So long it is waited for a server to write what was deleted out of its blocks."""


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without, only show what would go.")
@click.option("--all", "everything", is_flag=True, help="Allow the empty selector, which takes every series.")
@click.option(
    "--list", "listing", is_flag=True, help="Show the deletions that are not carried out in every block yet."
)
@click.option("--resume", is_flag=True, help="Carry out those deletions now, after an interruption.")
@only_store_options
@select_options
@format_option(("text", "json"))
def command(
    yes: bool,
    everything: bool,
    listing: bool,
    resume: bool,
    store: StoreOptions,
    select: SelectOptions,
    format: str,
) -> None:
    """Delete the profiles of some series, at once in every answer, then from the files of every block that has any.

    Shows what would go; --yes deletes it, and shows the manifest: which blocks became which, with the checksums of
    their files. What is stored later stays. Where a server keeps the store it is asked to do it, and deletes what it
    has not stored yet as well. The files of the old blocks are removed by `flameduck blocks sweep`.

    \b
    Example:
      flameduck delete -q '{service_name="checkout"}' --from 2026-01-01 --to 2026-02-01
      flameduck delete -q '{service_name="checkout",user="17"}' --yes --format json
    """
    start_engine()
    if sum((yes, listing, resume)) > 1:
        raise click.UsageError("--yes, --list and --resume exclude each other")
    is_json = format == "json"
    with closing(_opened(store)) as place:
        if listing:
            _show_in_force(place.in_force(), is_json)
        elif resume:
            _resume(place, is_json)
        else:
            request = _request(select, yes, everything)
            answer = place.ask(request)
            if not yes:
                _show_answer(answer, is_json)
            else:
                _show_manifest(place.carried_out(answer.id), is_json)


def _request(select: SelectOptions, yes: bool, everything: bool) -> DeleteRequest:
    from ..schema.deletion import DeleteRequest

    now_ns = time.time_ns()
    start_ns, end_ns = time_ns(select.start, now_ns), time_ns(select.end, now_ns)
    return DeleteRequest(select.query, select.type, start_ns, end_ns, everything, yes, _author())


def _author() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # The system knows no name for whoever runs this.
        return ""


class _Store:
    """A store that this process writes to."""

    def __init__(self, deletions: StoreDeletions, close: Callable[[], None]) -> None:
        self._deletions = deletions
        self.close = close
        self.ask = deletions.ask
        self.in_force = deletions.in_force

    def carry_out(self) -> list[str]:
        """Write what was deleted out of all blocks; returns those that were touched."""
        touched = []
        for one in self._deletions.finish():
            touched.append(one.ulid)
            if one.problem:
                click.get_current_context().meta[EXIT_CODE] = 1
                click.echo(f"flameduck: block {one.ulid}: {one.problem}", err=True)
        return touched

    def carried_out(self, tombstone: str) -> Mapping[str, Any]:
        """The manifest of a deletion, carried out if nothing is in the way."""
        self.carry_out()
        return self._deletions.manifest(tombstone) or {}


class _Server:
    """A server, which carries deletions out by itself."""

    def __init__(self, client: ClientDatabase) -> None:
        self._client = client
        self.close = client.close
        self.ask = client.delete
        self.in_force = client.deletions_in_force

    def carry_out(self) -> list[str]:
        """Wait for the server."""
        give_up = time.monotonic() + _WAIT_S
        while self.in_force() and time.monotonic() < give_up:
            time.sleep(_POLL_S)
        return []

    def carried_out(self, tombstone: str) -> Mapping[str, Any]:
        """The manifest of a deletion, once it is carried out; or what there is of it when that takes too long."""
        give_up = time.monotonic() + _WAIT_S
        while True:
            manifest = self._client.deletion(tombstone)
            if manifest["state"] == "done" or time.monotonic() > give_up:
                return manifest
            time.sleep(_POLL_S)


def _opened(store: StoreOptions) -> _Store | _Server:
    from ..engine.opening import server_of

    server = server_of(store.store, store.tenant)
    if server is not None:
        return _Server(server)
    from ..engine.deleting import StoreDeletions
    from ..engine.embedded import open_embedded
    from ..engine.settings import load_settings

    database = open_embedded(existing_store(store.store), store.tenant, load_settings())
    return _Store(StoreDeletions(database.blocks), database.close)


def _resume(place: _Store | _Server, is_json: bool) -> None:
    touched = place.carry_out()
    left = place.in_force()
    if is_json:
        write_json({"touched": touched, "in_force": [one.to_fields() for one in left]}, None)
        return
    click.echo(f"{len(touched)} blocks were touched; {len(left)} deletions are in force")


def _show_in_force(tombstones: Sequence[Tombstone], is_json: bool) -> None:
    if is_json:
        write_json([one.to_fields() for one in tombstones], None)
        return
    rows = [
        [
            one.id,
            one.selector,
            one.profile_type,
            _time(one.start_ns),
            _time(one.end_ns),
            _time(one.time_ns),
            one.author,
        ]
        for one in tombstones
    ]
    header = ["id", "selector", "type", "from", "to", "asked", "by"]
    show_table(Shown(header, rows, [False] * len(header)))


def _time(moment_ns: int | None) -> str:
    from ..schema.times import format_time_ns

    return "" if moment_ns is None else format_time_ns(moment_ns)


def _show_answer(answer: DeleteAnswer, is_json: bool) -> None:
    from dataclasses import asdict

    names = ("profiles", "samples", "size_bytes")
    total = {name: sum(getattr(one, name) for one in answer.touched) for name in names}
    if is_json:
        write_json({**asdict(answer), "total": total}, None)
    else:
        every = [*((one.place, *(getattr(one, name) for name in names)) for one in answer.touched)]
        every.append(("total", *total.values()))
        rows = [
            [place, f"{profiles:,}", f"{samples:,}", format_value(size_bytes, "bytes")]
            for place, profiles, samples, size_bytes in every
        ]
        show_table(Shown(["block", "profiles", "samples", "size"], rows, [False, True, True, True]))
    note("nothing was deleted: --yes does it")


def _show_manifest(manifest: Mapping[str, Any], is_json: bool) -> None:
    if is_json:
        write_json(manifest, None)
        return
    removed = manifest["removed"]
    click.echo(f"deleted {removed['profiles']:,} profiles, {removed['samples']:,} samples ({manifest['id']})")
    rows = [
        [
            " ".join(old["ulid"] for old in change["old"]),
            change["new"]["ulid"] if change["new"] else "",
            f"{change['removed']['profiles']:,}",
            f"{change['removed']['samples']:,}",
        ]
        for change in manifest["changes"]
    ]
    show_table(Shown(["block", "became", "profiles", "samples"], rows, [False, False, True, True]))
    if manifest["state"] != "done":
        note("it is in force, and not carried out in every block yet: see --list")
