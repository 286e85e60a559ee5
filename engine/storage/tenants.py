"""The tenants that have something in a store."""

from __future__ import annotations

from collections.abc import Sequence

from ...schema.errors import RequestError
from ...schema.tenant import checked_tenant
from .objects_protocol import Objects


def tenants_of(objects: Objects) -> Sequence[str]:
    """The directories with the name of a tenant, by name; what else is there is not looked at. Raises `StorageError`."""
    return [name for name in objects.directories() if _is_tenant(name)]


def _is_tenant(name: str) -> bool:
    try:
        return checked_tenant(name) == name
    except RequestError:
        return False
