"""`flameduck upload`: push pprof files to a server, as an agent does."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .asking import report, start_engine
from .ingest import labels_of
from .options import time_ns
from .output import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..engine.client import ClientDatabase
    from ..schema.profile import Upload
    from ..schema.request import Refused


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...", type=click.Path())
@click.option("--url", default="http://127.0.0.1:4040", show_default=True, help="The server's URL.")
@click.option("--tenant", default="", help="The tenant, where the server has several.")
@click.option("--service", default="", metavar="NAME", help="The label service_name of every profile.")
@click.option(
    "-l", "--label", multiple=True, metavar="KEY=VALUE", help="A label of every profile; repeat it for more."
)
@click.option("--name", default="", help="The label __name__, such as memory; by default what the types say.")
@click.option("--time", metavar="TIME", help="Time of every profile; by default its own, else the file's.")
def command(
    paths: Sequence[str],
    url: str,
    tenant: str,
    service: str,
    label: tuple[str, ...],
    name: str,
    time: str | None,
) -> None:
    """Push pprof files through the push API of a server: ours, or a Pyroscope.

    What is pushed twice counts once on ours. A file that cannot be taken is refused with its reason, the others are
    pushed, and the exit code is 1. For files of other formats: flameduck ingest --store URL.

    \b
    Example:
      flameduck upload cpu.pb.gz --service checkout --label region=eu
      flameduck upload 'profiles/*.pb.gz' --url https://profiles.example.com --tenant acme --time -10m
      go test -cpuprofile cpu.out ./... && flameduck upload cpu.out --service tests
    """
    start_engine()
    from ..engine.client import ClientDatabase
    from ..engine.uploads import UploadOptions, Uploads
    from ..schema.labels import SERVICE_NAME

    said = labels_of(label) | ({SERVICE_NAME: service} if service else {})
    uploads = Uploads(paths, UploadOptions(labels=said, name=name))
    client = ClientDatabase(url, tenant)
    try:
        pushed, refused = _push(client, uploads, time_ns(time, clock.time_ns()) or 0)
    finally:
        client.close()
    refused += uploads.refused
    write_text(f"{pushed} pushed, {len(refused)} refused\n", None)
    report(refused, ())


def _push(client: ClientDatabase, uploads: Iterable[Upload], override_ns: int) -> tuple[int, list[Refused]]:
    """How many were pushed, and which were not."""
    from ..schema.errors import InputError, RequestError
    from ..schema.request import Refused

    pushed = 0
    refused: list[Refused] = []
    for upload in uploads:
        try:
            client.push(upload, override_ns)
            pushed += 1
        except (InputError, RequestError) as error:
            refused.append(Refused(upload.origin, str(error)))
    return pushed, refused
