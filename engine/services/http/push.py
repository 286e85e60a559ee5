"""push.v1: profiles from agents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ....schema.errors import CorruptProfile, InputError, LimitExceeded
from ....schema.proto import push_pb2
from ....schema.request import Refused
from ..distributor import Distributor, Pushed
from .tenancy import tenant_of

_SHOWN = 8


class PusherService:
    """Handlers of push.v1.PusherService."""

    def __init__(self, distributor: Distributor, multitenancy: bool) -> None:
        self._distributor = distributor
        self._multitenancy = multitenancy

    async def push(self, request: push_pb2.PushRequest, headers: Mapping[str, str]) -> push_pb2.PushResponse:
        """Store every profile of the request; answered once they are durable.

        Raises `InputError` naming what was refused and how many were stored.
        """
        tenant = tenant_of(headers, self._multitenancy)
        profiles = list(pushed_of(request))
        if not profiles:
            raise CorruptProfile("no profiles received")
        refused = await asyncio.wrap_future(self._distributor.push(tenant, profiles))
        if refused:
            raise refusal(refused, len(profiles))
        return push_pb2.PushResponse()


def pushed_of(request: push_pb2.PushRequest) -> list[Pushed]:
    """The profiles of a request; each is called by its place."""
    return [
        Pushed(
            raw=sample.raw_profile,
            labels=[(label.name, label.value) for label in series.labels],
            sample_id=sample.ID,
            origin=f"series {number}" + (f" sample {place}" if len(series.samples) > 1 else ""),
        )
        for number, series in enumerate(request.series)
        for place, sample in enumerate(series.samples)
    ]


def refusal(refused: Sequence[Refused], profiles: int) -> InputError:
    """What to answer when some of so many profiles were refused."""
    reasons = [f"{one.origin}: {one.reason}" for one in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        reasons.append(f"and {len(refused) - _SHOWN} more")
    stored = profiles - len(refused)
    text = "; ".join(reasons) + (f"; {stored} of {profiles} profiles were stored" if profiles > 1 else "")
    over = all("limit" in one.reason for one in refused)
    return LimitExceeded(text) if over else CorruptProfile(text)
