"""What macOS's `sample` writes: a tree of calls by indentation, with the number of samples before every frame.

The numbers are of a frame and all below it; what is left after those below was spent in the frame itself. Threads are
the roots of the tree and become labels.

Source of the format: `man sample`, and the reports it writes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...schema.errors import CorruptProfile
from . import Decoded, Failed, Input, Row, one_by_one
from .names import name_reader
from .piecewise import Piecewise
from .profile_builder import Label, Labels, MappedFile, ProfileBuilder
from .profile_columns import ProfileHeader
from .text_lines import read_lines, text_of

_TITLE = re.compile(
    rb"^Analysis of sampling (.*?) \(pid (\d{1,10})\) every (\d{1,9}) (milli|micro)?seconds?", re.MULTILINE
)
_DATE = re.compile(rb"^Date/Time:\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4})", re.MULTILINE)
_GRAPH = re.compile(rb"^\s*Call graph:\s*$", re.MULTILINE)
_IMAGES = re.compile(rb"^\s*Binary Images:\s*$", re.MULTILINE)
_IMAGE = re.compile(
    rb"\s*0x([0-9a-f]{1,16}) - +(?:0x([0-9a-f]{1,16})|\?+) +\+?(\S.*?) \(.*\) (?:<([0-9A-Fa-f-]+)> )?(\S.*)"
)
_NODE = re.compile(rb"([ +!:|]*)(\d{1,18}) (.*)")
_FRAME = re.compile(
    r"(?P<name>.*?)(?:  \(in (?P<image>.*?)\))?(?:  load address 0x[0-9a-f]+)?(?: \+ [0-9a-fx,.]+)?"
    r"(?:  \[0x(?P<address>[0-9a-f]{1,16})[^\]]*\])?(?:  (?P<file>[^\s:]\S*):(?P<line>\d{1,9}))?"
)
_QUEUE = re.compile(r"(?P<thread>.*?)\s+DispatchQueue_\w+: (?P<queue>.*?)")
_NS = {b"milli": 1_000_000, b"micro": 1000, None: 1_000_000_000}
_MOST_DEEP = 10_000


class MacosSample:
    """`Analysis of sampling …`, and a call graph."""

    name = "sample"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it begins as the reports do."""
        return _TITLE.search(head[:4096]) is not None

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile: `samples/count` and `wall/nanoseconds`."""
        return one_by_one(inputs, lambda number, one: _Report(number, one).read())


@dataclass
class _Node:
    """A frame of the tree: its column, its location (0: a thread), and the samples that are its own so far."""

    column: int
    location: int
    own: int


class _Report:
    """One report. Raises `CorruptProfile` when its title or its call graph is missing."""

    def __init__(self, number: int, one: Input) -> None:
        self._raw = one.raw
        title, graph = _TITLE.search(one.raw), _GRAPH.search(one.raw)
        if title is None or graph is None:
            raise CorruptProfile(
                "no line is as 'Analysis of sampling x (pid 1) every 1 millisecond' or 'Call graph:'"
            )
        self._start = graph.end()
        self._interval_ns = int(title.group(3)) * _NS[title.group(4)]
        header = ProfileHeader(
            (("samples", "count"), ("wall", "nanoseconds")),
            period_type=("wall", "nanoseconds"),
            period=self._interval_ns,
            time_ns=_time_ns(one.raw) if one.rules == "verbatim" else 0,
            default_sample_type="wall",
        )
        builder = ProfileBuilder(header, name_reader(one))
        self._profile = Piecewise(builder, Row(number, "wall"))
        self._frames = _Frames(builder, _images(one.raw))
        self._process = (Label("process", text_of(title.group(1))), Label("pid", number=int(title.group(2))))
        self._labels: Labels = self._process

    def read(self) -> Iterator[Decoded]:
        """The pieces of the profile. Raises `CorruptProfile`."""
        path: list[_Node] = []
        for line in read_lines(self._raw, self._start):
            node = _NODE.fullmatch(line)
            if node is None:
                if line.strip(b" +!:|\t"):
                    break
                continue
            while path and path[-1].column >= node.start(2):
                self._leave(path)
            self._enter(path, node)
            if self._profile.full:
                yield self._profile.cut()
        while path:
            self._leave(path)
        yield self._profile.cut()

    def _enter(self, path: list[_Node], node: re.Match[bytes]) -> None:
        count, text = int(node.group(2)), node.group(3)
        if not path:
            self._labels = (*self._process, *_thread_labels(text_of(text)))
            path.append(_Node(node.start(2), 0, count))
            return
        if len(path) >= _MOST_DEEP:
            raise CorruptProfile(f"a stack of more than {_MOST_DEEP} frames")
        path[-1].own -= count
        path.append(_Node(node.start(2), self._frames[text], count))

    def _leave(self, path: list[_Node]) -> None:
        """A frame whose callees are all known."""
        own = path[-1].own
        if own:
            if own < 0:
                raise CorruptProfile(f"the frames below one have {-own} samples more than it has itself")
            stack = [node.location for node in reversed(path) if node.location]
            self._profile.add(stack, (own, own * self._interval_ns), self._labels)
        path.pop()


class _Frames(dict[bytes, int]):
    """Locations by the text behind a count."""

    def __init__(self, builder: ProfileBuilder, images: Sequence[MappedFile]) -> None:
        super().__init__()
        self._builder = builder
        self._images = images
        self._starts = [image.memory_start for image in images]

    def __missing__(self, text: bytes) -> int:
        self[text] = location = self._location(text_of(text.rstrip()))
        return location

    def _location(self, text: str) -> int:
        found = _FRAME.fullmatch(text)
        if found is None:
            return self._builder.frame(text)
        address = int(found["address"] or "0", 16)
        function = self._builder.function(found["name"].strip(), found["file"] or "")
        mapping = self._image(address, found["image"] or "")
        number = self._builder.mapping(mapping) if mapping else 0
        return self._builder.location(((function, int(found["line"] or 0), 0),), number, address)

    def _image(self, address: int, name: str) -> MappedFile | None:
        """The image that holds an address, or else one of which nothing but the name is known."""
        place = bisect_right(self._starts, address) - 1
        if address and place >= 0 and address <= self._images[place].memory_limit:
            return self._images[place]
        return MappedFile(name) if name else None


def _images(raw: bytes) -> list[MappedFile]:
    """The images that the report lists, by where they are in memory."""
    begin = _IMAGES.search(raw)
    found = []
    for line in read_lines(raw, begin.end()) if begin else ():
        image = _IMAGE.fullmatch(line.rstrip())
        if image:
            start, limit = (int(text or b"0", 16) for text in image.group(1, 2))
            build_id = text_of(image.group(4) or b"").replace("-", "").lower()
            found.append(MappedFile(text_of(image.group(5)), build_id, start, max(limit, start)))
    return sorted(found, key=lambda one: one.memory_start)


def _thread_labels(text: str) -> Labels:
    """A thread's name, and the queue that it worked for."""
    found = _QUEUE.fullmatch(text.strip())
    if found:
        return (Label("thread", found["thread"]), Label("queue", found["queue"]))
    return (Label("thread", text.strip()),)


def _time_ns(raw: bytes) -> int:
    """When it was sampled; 0 when the report does not say."""
    found = _DATE.search(raw)
    if not found:
        return 0
    text = found.group(1).decode()
    try:
        when = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f %z" if "." in text else "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return 0
    return max(round(when.timestamp() * 1000) * 1_000_000, 0)
