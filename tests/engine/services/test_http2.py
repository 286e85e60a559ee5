"""HTTP/2 clients that are still sending when their answer is known, frame by frame."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from starlette.responses import PlainTextResponse
from starlette.types import Message

from flameduck.engine.services.http import drained
from tests.running_server import RunningServer, running_server

LIMIT = 100_000
RPC = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
PLAIN = [("content-type", "application/x-protobuf")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    store = tmp_path_factory.mktemp("http2") / "store"
    with running_server(store, "--body-limit-bytes", str(LIMIT)) as one:
        yield one


@dataclass
class Answer:
    """What a stream has got so far."""

    head: dict[bytes, bytes] = field(default_factory=dict)
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    has_ended: bool = False


class Client:
    """One connection."""

    def __init__(self, server: RunningServer) -> None:
        url = httpx.URL(server.url)
        self._socket = socket.create_connection((url.host, url.port), timeout=30)
        self._h2 = H2Connection()
        self._h2.initiate_connection()
        self._flush()
        self.answers: dict[int, Answer] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def begin(self, path: str, headers: list[tuple[str, str]]) -> int:
        """A POST, whose stream is returned."""
        stream = self._h2.get_next_available_stream_id()
        pseudo = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        self._h2.send_headers(stream, [*pseudo, *headers])
        self._flush()
        self.answers[stream] = Answer()
        return stream

    def send(self, stream: int, body: bytes, last: bool = False) -> None:
        """Bytes of a body, as fast as the server's window lets them through."""
        while body:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room:
                piece, body = body[:room], body[room:]
                self._h2.send_data(stream, piece)
                self._flush()
            else:
                self._receive()
        if last:
            self._h2.end_stream(stream)
            self._flush()

    def answer(self, stream: int) -> Answer:
        """The whole answer."""
        while not self.answers[stream].has_ended:
            self._receive()
        return self.answers[stream]

    def listen(self, seconds: float) -> None:
        """Take what comes in that time, if anything does."""
        self._socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return
        finally:
            self._socket.settimeout(30)

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        assert data, "the server closed the connection"
        for event in self._h2.receive_data(data):
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived(stream_id=stream, headers=headers):
                self.answers[stream].head = dict(headers)
            case TrailersReceived(stream_id=stream, headers=headers):
                self.answers[stream].trailers = dict(headers)
            case DataReceived(stream_id=stream, data=data, flow_controlled_length=size):
                self.answers[stream].body += data
                self._h2.acknowledge_received_data(size, stream)
            case StreamEnded(stream_id=stream):
                self.answers[stream].has_ended = True
            case StreamReset(stream_id=stream, error_code=code):
                raise AssertionError(f"stream {stream} was reset: {code}")
            case _:
                pass

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def message(size: int) -> bytes:
    """The head of a gRPC message of that many bytes."""
    return b"\0" + size.to_bytes(4, "big")


@pytest.mark.parametrize("pause_s", [0, 0.3])
def test_a_message_over_the_limit_is_answered_while_it_is_sent(server: RunningServer, pause_s: float) -> None:
    with Client(server) as client:
        for _ in range(3):
            stream = client.begin(RPC, GRPC)
            client.send(stream, message(4 * LIMIT) + bytes(2 * LIMIT))
            client.listen(pause_s or 0.001)
            client.send(stream, bytes(2 * LIMIT), last=True)
            answer = client.answer(stream)
            assert (answer.head | answer.trailers)[b"grpc-status"] == b"8"


@pytest.mark.parametrize("pause_s", [0, 0.3])
def test_a_body_over_the_limit_costs_no_other_request(server: RunningServer, pause_s: float) -> None:
    """Of the same connection."""
    with Client(server) as client:
        other = client.begin("/v1development/profiles", PLAIN)
        stream = client.begin("/v1development/profiles", PLAIN)
        client.send(stream, bytes(2 * LIMIT))
        client.listen(pause_s or 0.001)
        client.send(stream, bytes(2 * LIMIT), last=True)
        answer = client.answer(stream)
        assert (answer.head[b":status"], b"too large" in answer.body) == (b"413", True)
        client.send(other, b"", last=True)
        assert client.answer(other).head[b":status"] == b"400"


def test_a_refused_request_is_answered_while_it_is_sent(server: RunningServer) -> None:
    with Client(server) as client:
        stream = client.begin("/nothing", PLAIN)
        client.send(stream, bytes(LIMIT))
        client.listen(0.3)
        client.send(stream, bytes(LIMIT), last=True)
        assert client.answer(stream).head[b":status"] == b"404"


def test_a_body_without_an_end_costs_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the answer, and not before its time is over."""
    monkeypatch.setattr(drained, "PATIENCE_S", 0.05)
    happened: list[str] = []

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"more", "more_body": True}

    async def send(message: Message) -> None:
        happened.append(message["type"])

    async def serve() -> None:
        app = drained.Drained(PlainTextResponse("no", 413), lambda: happened.append("closed"))
        await app({"type": "http"}, receive, send)

    asyncio.run(serve())
    assert happened == ["http.response.start", "http.response.body", "closed"]
