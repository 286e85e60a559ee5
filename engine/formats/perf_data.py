"""`perf.data`, the binary file of `perf record`, through the `perf` program of this machine.

The format follows the kernel's and perf's versions, and its symbols are looked up in files of the machine that
recorded it: perf alone reads all of it. What it says is taken as the text of `perf script`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain

from ...schema.errors import InputError
from . import Decoded, Failed, Input, one_by_one
from .perf_profiles import Source
from .perf_recording import EDGE_BYTES, read_recording
from .perf_script import SampleReader

MAGICS = (b"PERFILE2", b"2ELIFREP")
"""Of this machine's byte order and of the other."""


class PerfData:
    """`perf-data`: read where perf is installed, from files alone."""

    name = "perf-data"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins with one of the magic numbers."""
        return head.startswith(MAGICS)

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile for each event in it."""
        return one_by_one(inputs, _decode)


def _decode(number: int, one: Input) -> Iterator[Decoded]:
    if one.rules == "pyroscope":
        # A push comes from anyone, and perf is no program to be handed what anyone made.
        raise InputError("perf.data is read from files alone: push the text of `perf script`")
    # Its process is started for the few files that need it.
    from .perf_program import perf_script

    with closing(perf_script(one.raw)) as chunks:
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) >= EDGE_BYTES:
                break
        # perf takes the time of its file for that of the recording, but the file was made just now.
        recording = read_recording(head, dated=False)
        yield from SampleReader(Source(number, one, recording)).read(chain([head], chunks))
