"""What tests ask a server about its jobs, and the process that does them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psutil

from tests.running_server import RunningServer

GIVE_UP_S = 60

Found = TypeVar("Found")


def until(find: Callable[[], Found | None], seconds: float = GIVE_UP_S, pause_s: float = 0.05) -> Found:
    """What is found in the end."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        found = find()
        if found:
            return found
        time.sleep(pause_s)
    raise AssertionError(f"not within {seconds} s")


def jobs(server: RunningServer, path: str = "/api/v1/jobs", **headers: str) -> Sequence[dict[str, Any]]:
    """The jobs of the tenant, the newest first."""
    reply = server.http.get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    listed: list[dict[str, Any]] = reply.json()["jobs"]
    return listed


def left_alone(server: RunningServer) -> Sequence[dict[str, str]]:
    """The blocks that do not hold."""
    listed: list[dict[str, str]] = server.http.get("/api/v1/jobs").json()["left_alone"]
    return listed


def compact(server: RunningServer, **headers: str) -> dict[str, Any]:
    """The job that was asked for."""
    reply = server.http.post("/api/v1/jobs/compact", headers=headers)
    assert reply.status_code == 202, reply.text
    job: dict[str, Any] = reply.json()["job"]
    return job


def ended(server: RunningServer, ulid: str, **headers: str) -> dict[str, Any]:
    """The job of an id, once it has come to its end."""

    def look() -> dict[str, Any] | None:
        (job,) = jobs(server, f"/api/v1/jobs?id={ulid}", **headers)
        return job if job["ended"] else None

    return until(look)


def child_of(server: RunningServer) -> psutil.Process | None:
    """The process that does jobs, if there is one."""
    for child in psutil.Process(server.process.pid).children():
        try:
            if any("job_child" in word for word in child.cmdline()):
                return child
        except psutil.NoSuchProcess:
            continue
    return None


def caught(server: RunningServer) -> psutil.Process:
    """The process that does jobs, stopped as soon as it is there."""
    child = until(lambda: child_of(server), pause_s=0.005)
    child.suspend()
    return child
