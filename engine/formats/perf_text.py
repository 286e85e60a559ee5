"""The text of `perf script`, cut into samples: the line that begins one, and the frames below it.

A sample is a line of fields, of which any may have been left out (`-F`), then one line for each frame, leaf
first, then an empty line; without call chains it is the one line, the frame at its end. Written from perf's
own output (`tools/perf/builtin-script.c` prints it) and its manual page perf-script(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...schema.errors import CorruptProfile, LimitExceeded

PIECE_BYTES = 16 << 20
_CUT_LINES = 1000

_COMM = rb"[ ]*(?:(\S.{0,63}?)[ ]+)??"
_IDS = rb"(?:(-?[0-9]{1,10})(?:/(-?[0-9]{1,10}))?[ ]+)?"
_CPU = rb"\[([0-9]{1,6})\][ ]+"
_MISC = rb"(?:[KUHGgMES]{1,4}[ ]+)?(?:[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\.[0-9]+[ ]+)?"
_TIME = rb"([0-9]{1,20}\.[0-9]{1,9}):(?:[ ]+|$)"
_PERIOD = rb"(?:([0-9]{1,20})[ ]+)?"
_EVENT = rb"(\S{1,200}?):(?:[ ]+|$)"

_WITH_TIME = re.compile(
    _COMM + _IDS + rb"(?:" + _CPU + rb")?" + _MISC + _TIME + _PERIOD + rb"(?:" + _EVENT + rb")?(.*)"
)
_WITH_CPU = re.compile(_COMM + _IDS + _CPU + _MISC + rb"()" + _PERIOD + rb"(?:" + _EVENT + rb")?(.*)")
_WITH_EVENT = re.compile(_COMM + _IDS + rb"()()" + _PERIOD + _EVENT + rb"(.*)")
_WITH_IDS = re.compile(_COMM + rb"(-?[0-9]{1,10})(?:/(-?[0-9]{1,10}))?()()()()[ ]*()")
_WITH_COMM = re.compile(rb"[ ]*(\S.{0,63}?)[ ]*()()()()()()()")

_FRAME = re.compile(rb"\s*([0-9a-f]{1,16})(?: (.*))?")
_FILE = re.compile(rb"(?:(.*) )?\(([/\[].*|inlined|anon_inode:.*)\)", re.DOTALL)
_OFFSET = re.compile(rb"\+0x[0-9a-f]+$")
_SOURCE = re.compile(rb"\s+(\S.*?):([0-9]{1,9})(?: \(discriminator [0-9]+\))?")

UNKNOWN = b"[unknown]"


class Head(NamedTuple):
    """The first line of a sample; fields that it does not have are empty."""

    comm: bytes
    pid: bytes
    tid: bytes
    cpu: bytes
    time: bytes
    period: bytes
    event: bytes
    rest: bytes


class Frame(NamedTuple):
    """A line of a call chain. `address` is as perf prints it: of the file for programs, of memory for the kernel.

    An empty `symbol` or `file` is one that perf did not know. `source` and `line` come from the line below it.
    """

    address: int
    symbol: bytes
    file: bytes
    inlined: bool
    source: bytes = b""
    line: int = 0


NO_HEAD = Head(b"", b"", b"", b"", b"", b"", b"", b"")


def read_head(line: bytes) -> Head | None:
    """The fields of a line that begins a sample, and says the time or the CPU."""
    found = _WITH_TIME.fullmatch(line) or _WITH_CPU.fullmatch(line)
    return None if found is None else Head._make(found.groups(b""))


def read_bare_head(line: bytes) -> Head | None:
    """The fields of a line that says neither: before frames it begins a sample all the same."""
    found = _WITH_EVENT.fullmatch(line) or _WITH_IDS.fullmatch(line) or _WITH_COMM.fullmatch(line)
    return None if found is None else Head._make(found.groups(b""))


def read_frame(line: bytes) -> Frame | None:
    """A frame of a call chain, or at the end of a line; None if it is none."""
    found = _FRAME.fullmatch(line)
    if found is None:
        return None
    symbol, file = found[2] or b"", b""
    in_file = _FILE.fullmatch(symbol)
    if in_file:
        symbol, file = in_file[1] or b"", in_file[2]
    symbol = _OFFSET.sub(b"", symbol)
    if file.startswith(b"/"):
        file = _OFFSET.sub(b"", file)
    inlined = file == b"inlined"
    return Frame(
        address=int(found[1], 16),
        symbol=b"" if symbol == UNKNOWN else symbol,
        file=b"" if inlined or file == UNKNOWN else file,
        inlined=inlined,
    )


def is_frame(line: bytes) -> bool:
    """Whether a line is a frame."""
    return _FRAME.fullmatch(line) is not None


def with_source(frame: Frame, line: bytes) -> Frame:
    """The frame with what the line below it says of its source, if it says something: `-F +srcline`."""
    found = _SOURCE.fullmatch(line)
    if found is None or found[1].startswith(b"??"):
        return frame
    return frame._replace(source=found[1], line=int(found[2]))


def time_ns(text: bytes) -> int:
    """Seconds with a fraction of at most nine digits, in nanoseconds."""
    seconds, _, fraction = text.partition(b".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, b"0"))


class Sample(NamedTuple):
    """A sample's first line and what it says (None: it is no first line), its frames as they are, and how many lines
    down it begins. The line is empty if the sample has none (`-F ip,sym`).
    """

    line: bytes
    head: Head | None
    frames: bytes
    place: int


def split_samples(piece: bytes) -> Iterator[Sample]:
    """The samples of a piece of the text, with the lines of their frames joined by newlines."""
    place = 0
    for block in piece.split(b"\n\n"):
        line, _, frames = block.partition(b"\n")
        if frames.startswith(b"\t") and line[:1] not in b"\t\n#" and _has_only_frames(frames):
            yield Sample(line, read_head(line) or read_bare_head(line), frames, place)
        else:
            yield from _walk(block, place)
        place += block.count(b"\n") + 2


def _has_only_frames(frames: bytes) -> bool:
    """Whether each line begins with a tab, as the first is known to."""
    return frames.count(b"\n") == frames.count(b"\n\t")


def _walk(block: bytes, first: int) -> Iterator[Sample]:
    """The samples of lines of which not each that begins one is behind an empty line."""
    begun: tuple[bytes, Head | None, int] | None = None
    frames: list[bytes] = []
    for place, line in enumerate(block.split(b"\n"), first):
        head = None
        if not line.startswith(b"\t"):
            if not line or line.startswith(b"#") or line.isspace():
                continue
            head = read_head(line)
        if head is None and _continues(line, begun is not None):
            frames.append(line)
            begun = begun or (b"", NO_HEAD, place)
            continue
        if begun:
            yield _sample(begun, frames)
            frames = []
        begun = line, head, place
    if begun:
        yield _sample(begun, frames)


def _sample(begun: tuple[bytes, Head | None, int], frames: list[bytes]) -> Sample:
    line, head, place = begun
    if head is None and frames:
        head = read_bare_head(line)
    return Sample(line, head, b"\n".join(frames), place)


def _continues(line: bytes, begun: bool) -> bool:
    """Whether a line that is no full first line of a sample is a frame, or the source of one: it is indented."""
    if line.startswith(b"\t"):
        return True
    if not begun or not line.startswith(b"  "):
        return False
    return line[2:3] != b" " or is_frame(line)


def read_pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes that come as they please, in pieces that begin and end between samples.

    Raises `LimitExceeded` for a sample that is longer than a piece.
    """
    rest = b""
    for chunk in chunks:
        rest = rest + chunk if rest else chunk
        if len(rest) < PIECE_BYTES:
            continue
        cut = rest.rfind(b"\n\n") + 2
        if cut < 2:
            cut = _cut_at_head(rest)
        yield _unix(rest[:cut])
        rest = rest[cut:]
    if rest:
        yield _unix(rest)


def _unix(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n") if b"\r\n" in text else text


def _cut_at_head(text: bytes) -> int:
    """Where the last line begins that begins a sample."""
    at = len(text)
    for _ in range(_CUT_LINES):
        newline = text.rfind(b"\n", 0, at)
        if newline < 0:
            break
        line = text[newline + 1 : at]
        if read_head(line):
            return newline + 1
        at = newline
    raise LimitExceeded(f"a sample is longer than {PIECE_BYTES} bytes")


def refuse_line(number: int, line: bytes, expected: str) -> CorruptProfile:
    """The error for a line that is not what it must be."""
    shown = line[:60].decode("utf-8", "replace")
    return CorruptProfile(f"line {number}: {shown!r} is no {expected}")
