"""A decoder that dies, or never ends, takes nothing with it but the upload that it was lost to."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import pytest

import flameduck
from flameduck.engine.embedded import open_embedded
from flameduck.engine.execution import Death
from flameduck.engine.execution.inline import InlineExecutor
from flameduck.engine.ingest.run import ingest
from flameduck.engine.settings import Settings
from flameduck.schema.profile import Upload
from flameduck.schema.request import DEFAULT_INGEST
from tests.engine.ingest.made_profiles import made_total, made_upload


class Deadly(bytes):
    """Bytes that kill the process into which they are sent, in the way that they say."""

    way: Callable[[int], object] = staticmethod(os._exit)

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return self.way, (0,)


class Segfault(Deadly):
    """The same through memory that is not there."""

    way = staticmethod(ctypes.string_at)


class Endless(Deadly):
    """Bytes that keep the process busy into which they are sent."""

    way = staticmethod(time.sleep)

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return self.way, (3600,)


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


class Impatient(InlineExecutor):
    """Gives up what would never end, as worker processes do when its time is over."""

    def map(
        self, task: Callable[[Any], Any], items: Iterable[Any], died: Callable[[Any, Death], Any]
    ) -> Iterator[Any]:
        for group in items:
            endless = any(isinstance(upload.data, Endless) for upload in group)
            yield died(group, Death(7)) if endless else task(group)


def test_a_group_is_taken_apart_when_its_time_is_over() -> None:
    uploads = [made_upload(number) for number in range(130)]
    for at in (100, 30, 29):
        uploads.insert(at, Upload(Endless(b"x"), {}, f"endless-{at}"))
    store = open_embedded(f"memory://{uuid4().hex}", "anonymous", Settings())
    report = ingest(store.blocks, uploads, Impatient(), DEFAULT_INGEST)
    assert report.new == 130
    assert {refused.origin: refused.reason for refused in report.refused} == {
        f"endless-{at}": "it took the decoder longer than 7 s (the setting decode_seconds)"
        for at in (29, 30, 100)
    }


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_what_never_ends_is_refused_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nightly, since a worker on a busy machine may take seconds to start, which must not be taken for a hang."""
    monkeypatch.setenv("FLAMEDUCK_DECODE_SECONDS", "30")
    uploads = [made_upload(number) for number in range(130)]
    for at in (100, 30, 29):
        uploads.insert(at, Upload(Endless(b"x"), {}, f"endless-{at}"))
    with flameduck.open(f"memory://{uuid4().hex}") as db:
        report = db.ingest(uploads, jobs=2)
        assert report.new == 130
        assert {refused.origin: refused.reason for refused in report.refused} == {
            f"endless-{at}": "it took the decoder longer than 30 s (the setting decode_seconds)"
            for at in (29, 30, 100)
        }
        assert db.flamegraph(type="cpu").total == made_total(range(130))
