"""adhocprofiles.v1: upload a file, and see its flame graph."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from typing import cast

from ....schema.errors import RequestError
from ....schema.profile_type import parse_profile_type
from ....schema.proto import adhoc_pb2
from ....schema.request import (
    DiffRequest,
    Flamegraph,
    FlamegraphDiff,
    FlamegraphRequest,
    ProfileTypesRequest,
    Rows,
    Selection,
    TreeQuery,
)
from ...embedded import FilesDatabase
from ..adhoc import AdhocProfile, AdhocProfiles
from .flamebearer import flamebearer
from .query_limits import max_nodes
from .tenancy import tenant_of

Headers = Mapping[str, str]


class AdhocService:
    """Handlers of adhocprofiles.v1.AdHocProfileService."""

    def __init__(self, profiles: AdhocProfiles, multitenancy: bool) -> None:
        self._profiles = profiles
        self._multitenancy = multitenancy

    async def upload(self, request: adhoc_pb2.UploadRequest, headers: Headers) -> adhoc_pb2.GetResponse:
        """Keep a file, and show it."""
        tenant = tenant_of(headers, self._multitenancy)
        try:
            data = base64.b64decode(request.profile, validate=True)
        except binascii.Error as error:
            raise RequestError(f"profile is not base64: {error}") from None
        return await asyncio.to_thread(
            lambda: _shown(*self._profiles.add(tenant, request.name, data), "", request.max_nodes)
        )

    async def get(self, request: adhoc_pb2.GetRequest, headers: Headers) -> adhoc_pb2.GetResponse:
        """Show a file that was kept."""
        tenant = tenant_of(headers, self._multitenancy)
        return await asyncio.to_thread(
            lambda: _shown(*self._profiles.open(tenant, request.id), request.profile_type, request.max_nodes)
        )

    async def list(self, request: adhoc_pb2.ListRequest, headers: Headers) -> adhoc_pb2.ListResponse:
        """Every file, newest first."""
        tenant = tenant_of(headers, self._multitenancy)
        found = await asyncio.to_thread(self._profiles.list, tenant)
        return adhoc_pb2.ListResponse(
            profiles=[
                adhoc_pb2.Listed(id=one.id, name=one.name, uploaded_at=one.uploaded_ms) for one in found
            ]
        )

    async def diff(self, request: adhoc_pb2.DiffRequest, headers: Headers) -> adhoc_pb2.DiffResponse:
        """Two files side by side."""
        tenant = tenant_of(headers, self._multitenancy)
        return await asyncio.to_thread(self._diff, tenant, request)

    def _diff(self, tenant: str, request: adhoc_pb2.DiffRequest) -> adhoc_pb2.DiffResponse:
        database = self._profiles.open_both(tenant, request.left_id, request.right_id)
        types = _types_of_both(database)
        chosen = _chosen(types, request.profile_type)
        left, right = (
            TreeQuery(Selection(f'{{side="{side}"}}', types[chosen])) for side in ("left", "right")
        )
        graph = database.ask(DiffRequest(left, right, max_nodes(request.max_nodes)))
        document = flamebearer(cast(FlamegraphDiff, graph), types[chosen])
        return adhoc_pb2.DiffResponse(profile_types=list(types), flamebearer_profile=json.dumps(document))


def _shown(
    kept: AdhocProfile, database: FilesDatabase, profile_type: str, nodes: int
) -> adhoc_pb2.GetResponse:
    types = _types(database)
    chosen = _chosen(types, profile_type)
    graph = database.ask(FlamegraphRequest(TreeQuery(Selection("{}", types[chosen])), max_nodes(nodes)))
    document = flamebearer(cast(Flamegraph, graph), types[chosen])
    return adhoc_pb2.GetResponse(
        id=kept.id,
        name=kept.name,
        uploaded_at=kept.uploaded_ms,
        profile_type=chosen,
        profile_types=list(types),
        flamebearer_profile=json.dumps(document, separators=(",", ":")),
    )


def _types(database: FilesDatabase) -> dict[str, str]:
    """The profile types by the name of their samples, as front ends show them, in the order of the file."""
    types: dict[str, str] = {}
    for one in database.profile_types:
        types.setdefault(parse_profile_type(one).sample_type, one)
    return types


def _types_of_both(database: FilesDatabase) -> dict[str, str]:
    """The profile types that each of two files has. Raises `RequestError` where there is none."""
    sides = [
        cast(Rows, database.ask(ProfileTypesRequest(Selection(f'{{side="{side}"}}'))))
        .table.column(0)
        .to_pylist()
        for side in ("left", "right")
    ]
    types = {name: one for name, one in _types(database).items() if all(one in side for side in sides)}
    if not types:
        raise RequestError("no common profile types: " + " and ".join(", ".join(side) for side in sides))
    return types


def _chosen(types: Mapping[str, str], asked: str) -> str:
    """The type that is asked for, else the first. Raises `RequestError`."""
    if not types:
        raise RequestError("the file holds no profile with samples")
    if asked and asked not in types:
        raise RequestError(f"profile type {asked!r} is not in the file: there are {', '.join(types)}")
    return asked or next(iter(types))
