"""Questions that wait are bounded, and neither they nor SQL hold up pushes and what is asked about labels."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from flameduck.engine.services.bounded_threads import BoundedThreads
from flameduck.engine.services.http.app import make_app
from flameduck.engine.services.server import Server
from flameduck.engine.settings import ServerSettings, Settings
from flameduck.schema.errors import Overloaded, Unavailable
from flameduck.schema.request import Answer, LabelNamesRequest, Request
from tests.engine.services.test_crash import PUSH, push_body
from tests.running_server import TYPE, running_server

GIVE_UP_S = 30
QUERIER = "/querier.v1.QuerierService"
NOW = {"start": 1_750_000_000_000, "end": 1_750_000_060_000}
TREE = {"profileTypeID": TYPE, "labelSelector": "{}", **NOW}
RENDER = {"query": TYPE + "{}", "from": "now-1h"}


def test_what_does_not_fit_is_refused_until_there_is_room() -> None:
    threads, goes_on = BoundedThreads("test", 1, 1, "full"), threading.Event()
    first, second = (threads.submit(lambda: goes_on.wait(GIVE_UP_S)) for _ in range(2))
    with pytest.raises(Overloaded, match="full"):
        threads.submit(bool)
    goes_on.set()
    assert first.result()
    assert second.result()
    assert threads.submit(lambda: 5).result() == 5
    with pytest.raises(ValueError, match="no"):
        threads.submit(_fail).result()
    assert threads.submit(lambda: 6).result() == 6
    threads.close()
    with pytest.raises(Unavailable, match="the server is stopping"):
        threads.submit(bool)


def _fail() -> None:
    raise ValueError("no")


def test_what_is_cancelled_makes_room_and_is_not_done() -> None:
    threads, goes_on, done = BoundedThreads("test", 1, 1, "full"), threading.Event(), []
    first = threads.submit(lambda: goes_on.wait(GIVE_UP_S))
    assert threads.submit(lambda: done.append("cancelled")).cancel()
    other = threads.submit(lambda: done.append("other"))
    goes_on.set()
    assert first.result()
    other.result()
    assert done == ["other"]
    threads.close()


def test_closing_drops_what_waits() -> None:
    threads, begun, goes_on = BoundedThreads("test", 1, 5, "full"), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        goes_on.wait(GIVE_UP_S)
        return "done"

    first, second = threads.submit(work), threads.submit(work)
    assert begun.wait(GIVE_UP_S)
    closing = threading.Thread(target=threads.close)
    closing.start()
    with pytest.raises(CancelledError):
        second.result(GIVE_UP_S)
    goes_on.set()
    closing.join()
    assert first.result() == "done"


class Held:
    """A server in this process whose questions about samples wait until they may go on."""

    def __init__(self, folder: Path) -> None:
        settings = ServerSettings(query_concurrency=1, max_waiting_queries=2)
        self.server = Server(str(folder / "store"), Settings(threads=1), settings)
        self.app = make_app(self.server, Settings(), settings, "http://test")
        self.goes_on = threading.Event()
        self.asked = 0
        self._ask = self.server.querier.ask

    def ask(self, tenant: str, request: Request) -> Answer:
        """In place of the querier's."""
        if not isinstance(request, LabelNamesRequest):
            self.asked += 1
            assert self.goes_on.wait(GIVE_UP_S)
        return self._ask(tenant, request)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """One whose questions wait."""
    made = Held(tmp_path)
    monkeypatch.setattr(made.server.querier, "ask", made.ask)
    yield made
    made.goes_on.set()
    made.server.stop()


Send = Callable[[httpx.AsyncClient], Any]
WAYS: Sequence[tuple[str, Send]] = (
    ("connect", lambda client: client.post(f"{QUERIER}/SelectMergeStacktraces", json=TREE)),
    ("diff", lambda client: client.post(f"{QUERIER}/Diff", json={"left": TREE, "right": TREE})),
    ("render", lambda client: client.get("/pyroscope/render", params=RENDER)),
    ("profiles", lambda client: client.get("/api/v1/profiles", params={"type": TYPE})),
    ("export", lambda client: client.get("/api/v1/export", params={"type": TYPE, "format": "folded"})),
)


def test_every_route_is_bounded(held: Held) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(held.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            waiting = [asyncio.create_task(WAYS[0][1](client)) for _ in range(3)]
            while held.asked < 1 or sum(task.done() for task in waiting):
                await asyncio.sleep(0.01)
            # The others are queued by the time that a further one is taken up.
            await asyncio.sleep(0.2)
            for name, send in WAYS:
                reply = await send(client)
                assert (reply.status_code, reply.json()["code"]) == (429, "resource_exhausted"), name
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json()["message"] == "2 questions wait already; limit max_waiting_queries"
            labels = await client.post(f"{QUERIER}/LabelNames", json=NOW)
            assert labels.status_code == 200, labels.text
            held.goes_on.set()
            assert [reply.status_code for reply in await asyncio.gather(*waiting)] == [200] * 3
            metrics = (await client.get("/metrics")).text
            assert f"flameduck_query_overloads_total {float(len(WAYS))}" in metrics
            assert (await WAYS[0][1](client)).status_code == 200

    asyncio.run(run())


def test_a_crowd_of_questions_holds_up_no_push(tmp_path: Path) -> None:
    options = ("--query-concurrency", "1", "--max-waiting-queries", "3", "--flush-age-s", "3600")
    with running_server(tmp_path / "store", *options) as server:
        for number in range(3):
            server.answer(PUSH, push_body(number))

        def ask(_: int) -> httpx.Response:
            return server.rpc(f"{QUERIER[1:]}/SelectMergeStacktraces", TREE)

        with ThreadPoolExecutor(24) as threads:
            asked = [threads.submit(ask, number) for number in range(200)]
            for number in range(3, 13):
                server.answer(PUSH, push_body(number))
                server.answer(f"{QUERIER[1:]}/LabelNames", NOW)
            replies = [one.result() for one in asked]
        by_status = {reply.status_code for reply in replies}
        assert by_status <= {200, 429}
        assert 200 in by_status
        for reply in replies:
            assert reply.status_code == 200 or int(reply.headers["retry-after"]) >= 1
