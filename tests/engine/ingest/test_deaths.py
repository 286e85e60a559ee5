"""A decoder that dies takes nothing with it but the upload that it died of."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from uuid import uuid4

import flameduck
from flameduck.schema.profile import Upload
from tests.engine.ingest.made_profiles import made_total, made_upload


class Deadly(bytes):
    """Bytes that kill the process into which they are sent, in the way that they say."""

    way: Callable[[int], object] = staticmethod(os._exit)

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return self.way, (0,)


class Segfault(Deadly):
    """The same through memory that is not there."""

    way = staticmethod(ctypes.string_at)


def test_a_death_costs_its_upload_alone() -> None:
    uploads = [made_upload(number) for number in range(200)]
    for at, deadly in ((190, Segfault), (70, Deadly), (69, Segfault)):
        uploads.insert(at, Upload(deadly(b"x"), {}, f"deadly-{at}"))
    with flameduck.open(f"memory://{uuid4().hex}") as db:
        report = db.ingest(uploads, jobs=2)
        assert report.new == 200
        assert {refused.origin: refused.reason for refused in report.refused} == {
            f"deadly-{at}": "it crashed the decoder" for at in (69, 70, 190)
        }
        assert db.flamegraph(type="cpu").total == made_total(range(200))
