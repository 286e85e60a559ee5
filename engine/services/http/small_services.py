"""Feature flags, the version of the query API, and the settings that front ends keep."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from threading import Lock

from ....schema.errors import ObjectMissing, RequestError
from ....schema.proto import capabilities_pb2, settings_pb2, version_pb2
from ...storage.objects import Objects
from .rpc import AlreadyThere
from .tenancy import tenant_of

Headers = Mapping[str, str]

QUERIER_API = 1
MAX_SETTING_BYTES = 1 << 20

_FLAGS = (
    ("pyroscopeRuler", False, "Metrics made of profiles by rules."),
    ("pyroscopeRulerFunctions", False, "Such metrics of single functions."),
    ("utf8LabelNames", False, "Label names of any letters for clients that do not ask for them."),
    ("v2StorageLayer", True, "Profiles are in blocks that a catalog lists."),
)


class FeatureFlagsService:
    """Handlers of capabilities.v1.FeatureFlagsService."""

    async def get_feature_flags(
        self, request: capabilities_pb2.GetFeatureFlagsRequest, headers: Headers
    ) -> capabilities_pb2.GetFeatureFlagsResponse:
        """Every flag that clients know."""
        flags = [
            capabilities_pb2.FeatureFlag(name=name, enabled=enabled, description=text)
            for name, enabled, text in _FLAGS
        ]
        return capabilities_pb2.GetFeatureFlagsResponse(feature_flags=flags)


class VersionService:
    """Handlers of version.v1.Version."""

    async def version(
        self, request: version_pb2.VersionRequest, headers: Headers
    ) -> version_pb2.VersionResponse:
        """The version of the query API."""
        return version_pb2.VersionResponse(QuerierAPI=QUERIER_API)


class SettingsService:
    """Handlers of settings.v1.SettingsService: one document a tenant, in the store."""

    def __init__(self, objects: Objects, multitenancy: bool) -> None:
        self._objects = objects
        self._multitenancy = multitenancy
        self._lock = Lock()

    async def get(
        self, request: settings_pb2.GetSettingsRequest, headers: Headers
    ) -> settings_pb2.GetSettingsResponse:
        """All settings of the tenant, by name."""
        tenant = tenant_of(headers, self._multitenancy)
        known = await asyncio.to_thread(self._read, tenant)
        return settings_pb2.GetSettingsResponse(settings=[_setting(*item) for item in sorted(known.items())])

    async def set(
        self, request: settings_pb2.SetSettingsRequest, headers: Headers
    ) -> settings_pb2.SetSettingsResponse:
        """Keep one setting. Raises `AlreadyThere` for an older one, else `RequestError` for a bad one."""
        tenant = tenant_of(headers, self._multitenancy)
        wanted = request.setting
        if not wanted.name:
            raise RequestError("setting.name is required")
        size_bytes = len(wanted.name.encode()) + len(wanted.value.encode())
        if size_bytes > MAX_SETTING_BYTES:
            raise RequestError(f"setting has {size_bytes} bytes; limit {MAX_SETTING_BYTES}")
        kept = (wanted.value, wanted.modifiedAt or time.time_ns() // 10**6)
        await asyncio.to_thread(self._change, tenant, wanted.name, kept)
        return settings_pb2.SetSettingsResponse(setting=_setting(wanted.name, kept))

    async def delete(
        self, request: settings_pb2.DeleteSettingsRequest, headers: Headers
    ) -> settings_pb2.DeleteSettingsResponse:
        """Forget one setting. Raises `RequestError` where no name is given."""
        tenant = tenant_of(headers, self._multitenancy)
        if not request.name:
            raise RequestError("name is required")
        await asyncio.to_thread(self._change, tenant, request.name, None)
        return settings_pb2.DeleteSettingsResponse()

    def _read(self, tenant: str) -> dict[str, tuple[str, int]]:
        try:
            document = json.loads(self._objects.read(_path(tenant)))
        except ObjectMissing:
            return {}
        return {name: (value, at) for name, (value, at) in document.items()}

    def _change(self, tenant: str, name: str, kept: tuple[str, int] | None) -> None:
        with self._lock:
            known = self._read(tenant)
            if kept is None:
                known.pop(name, None)
            elif name in known and known[name][1] > kept[1]:
                raise AlreadyThere("newer update already written")
            else:
                known[name] = kept
            self._objects.write(_path(tenant), json.dumps(known).encode())


def _path(tenant: str) -> str:
    return f"{tenant}/settings.json"


def _setting(name: str, kept: tuple[str, int]) -> settings_pb2.Setting:
    return settings_pb2.Setting(name=name, value=kept[0], modifiedAt=kept[1])
