"""Runs of `perf script` that end: in time, within limits, and with all their children."""

from __future__ import annotations

import os
import re
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ...schema.errors import CorruptProfile, InputError, LimitExceeded

TIMEOUT_S = 300
MAX_TEXT_BYTES = 8 << 30
MAX_PERF_BYTES = 4 << 30
"""What perf may take: so long, so much text, so much address space."""

_FIELDS = ("comm", "pid", "tid", "cpu", "time", "period", "event", "trace", "ip", "sym", "dso")
_ABSENT = re.compile(r"Cannot print '(\w+)' field")
_READ_BYTES = 1 << 20


def perf_script(raw: bytes) -> Generator[bytes]:
    """What `perf script` prints of the bytes of a perf.data. Raises `InputError`."""
    program = shutil.which("perf")
    if program is None:
        raise InputError("perf.data needs the perf program, which is not installed")
    with tempfile.TemporaryDirectory(prefix="flameduck-perf-") as folder:
        path = Path(folder) / "perf.data"
        path.write_bytes(raw)
        command = [program, "script", "--input", str(path)]
        yield from _output([*command, "--header-only"], path.parent)
        # Fields that were not recorded perf refuses by name, one at a time, before it prints a sample.
        fields = list(_FIELDS)
        while True:
            begun = False
            try:
                wanted = ["--ns", "--no-inline", "--fields", ",".join(fields)]
                for chunk in _output([*command, *wanted], path.parent):
                    begun = True
                    yield chunk
                return
            except CorruptProfile as error:
                absent = _ABSENT.search(str(error))
                if begun or absent is None or absent[1] not in fields:
                    raise
                fields.remove(absent[1])


def _output(command: Sequence[str], folder: Path) -> Generator[bytes]:
    run = _Run(command, folder)
    try:
        yield from run.read()
    finally:
        run.kill()


class _Run:
    """One run of perf, in a process group of its own."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._deadline_s = time.monotonic() + TIMEOUT_S
        self._errors: IO[bytes] = (folder / "errors").open("w+b")
        # No symbols from the network.
        environment = {**os.environ, "LC_ALL": "C", "DEBUGINFOD_URLS": ""}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout
        self._output: IO[bytes] = self._process.stdout
        resource.prlimit(self._process.pid, resource.RLIMIT_AS, (MAX_PERF_BYTES, MAX_PERF_BYTES))

    def read(self) -> Iterator[bytes]:
        """What it prints. Raises `CorruptProfile` with its last word when it fails, `LimitExceeded`."""
        output = self._output.fileno()
        left = MAX_TEXT_BYTES
        while True:
            rest_s = max(self._deadline_s - time.monotonic(), 0)
            if not select.select([output], [], [], rest_s)[0]:
                raise LimitExceeded(f"perf script took longer than the limit of {TIMEOUT_S} s")
            chunk = os.read(output, _READ_BYTES)
            if not chunk:
                break
            left -= len(chunk)
            if left < 0:
                raise LimitExceeded(f"perf script printed more than the limit of {MAX_TEXT_BYTES} bytes")
            yield chunk
        try:
            code = self._process.wait(max(self._deadline_s - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            raise LimitExceeded(f"perf script took longer than the limit of {TIMEOUT_S} s") from None
        if code:
            raise CorruptProfile(f"perf script failed ({code}): {self._last_error()}")

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read(_READ_BYTES).decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it does not say why")

    def kill(self) -> None:
        """End it and its children, if they still run."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()
        self._errors.close()
