"""Whose data a request is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....schema.errors import RequestError
from ....schema.tenant import ANONYMOUS, checked_tenant
from .rpc import Handler, Unauthenticated

HEADER = "x-scope-orgid"


def tenant_of(headers: Mapping[str, str], multitenancy: bool) -> str:
    """The tenant that the headers name. Raises `Unauthenticated` where there must be one and is none."""
    if not multitenancy:
        return ANONYMOUS
    name = headers.get(HEADER, "")
    if not name:
        raise Unauthenticated("no org id")
    try:
        return checked_tenant(name)
    except RequestError as error:
        raise Unauthenticated(str(error)) from None


def tenant_first(handler: Handler, multitenancy: bool) -> Handler:
    """A handler that finds fault with the tenant before anything else."""

    async def answer(request: Any, headers: Mapping[str, str]) -> Any:
        tenant_of(headers, multitenancy)
        return await handler(request, headers)

    return answer
