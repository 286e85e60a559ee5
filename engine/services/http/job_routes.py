"""Routes about what is done to blocks in the background: what waits, runs and was done, and a way to ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ....schema.times import format_time_ns
from ..compactor import Compactor
from ..job import RUNNING, Amount, Job, Step
from .tenancy import tenant_of

_SHOWN_LEFT_ALONE = 1000


class JobRoutes:
    """Handlers of /api/v1/jobs."""

    def __init__(self, compactor: Compactor, multitenancy: bool) -> None:
        self._compactor = compactor
        self._multitenancy = multitenancy

    async def jobs(self, request: Request) -> Response:
        """The jobs of the tenant, the newest first, and the blocks of it that were left alone; of one job, with an
        `id`, its steps too.
        """
        tenant = tenant_of(request.headers, self._multitenancy)
        ulid = request.query_params.get("id", "")
        return JSONResponse(await asyncio.to_thread(self._listed, tenant, ulid))

    async def all_jobs(self, request: Request) -> Response:
        """The same of all tenants."""
        ulid = request.query_params.get("id", "")
        return JSONResponse(await asyncio.to_thread(self._listed, None, ulid))

    async def compact(self, request: Request) -> Response:
        """Have the tenant's blocks compacted now: 202 and the job; 200 and the job that is there already, or null
        where there is nothing to do.
        """
        tenant = tenant_of(request.headers, self._multitenancy)
        job, is_new = await asyncio.to_thread(self._compactor.request, tenant)
        shown = None if job is None else self._shown(job)
        return JSONResponse({"job": shown}, 202 if is_new else 200)

    def _listed(self, tenant: str | None, ulid: str) -> Mapping[str, Any]:
        alone = [
            {"tenant": name, "block": ulid, "reason": reason}
            for ulid, (name, reason) in sorted(self._compactor.left_alone(tenant).items())[:_SHOWN_LEFT_ALONE]
        ]
        if ulid:
            found = self._compactor.book.listed(tenant, lambda job: self._told(job, ulid))
            return {"jobs": [job for job in found if job is not None], "left_alone": alone}
        return {"jobs": list(self._compactor.book.listed(tenant, self._shown)), "left_alone": alone}

    def _told(self, job: Job, ulid: str) -> Mapping[str, Any] | None:
        """The one job with its steps."""
        if job.ulid != ulid:
            return None
        return {**self._shown(job), "steps": [_step(step) for step in job.steps]}

    def _shown(self, job: Job) -> Mapping[str, Any]:
        """A job as JSON. Times are RFC 3339, null as long as they are not."""
        return {
            "id": job.ulid,
            "tenant": job.tenant,
            "kind": job.kind,
            "trigger": job.trigger,
            "state": job.state,
            "attempts": job.attempts,
            "error": job.error,
            "created": _time(job.created_ns),
            "started": _time(job.started_ns),
            "ended": _time(job.ended_ns),
            "retry": _time(job.retry_ns),
            "pid": self._compactor.pid or None if job.state == RUNNING else None,
            "before": _amount(job.before),
            "after": _amount(job.after),
            "problems": [f"block {ulid}: {reason}" for ulid, reason in job.problems.items()],
        }


def _step(step: Step) -> Mapping[str, Any]:
    return {
        "level": step.level,
        "block": step.block or None,
        "seconds": round(step.seconds, 3),
        "before": _amount(step.before),
        "after": _amount(step.after),
    }


def _amount(amount: Amount) -> Mapping[str, int]:
    return {
        "blocks": amount.blocks,
        "profiles": amount.profiles,
        "samples": amount.samples,
        "size_bytes": amount.size_bytes,
    }


def _time(time_ns: int) -> str | None:
    return format_time_ns(time_ns) if time_ns else None
