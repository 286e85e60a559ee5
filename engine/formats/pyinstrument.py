"""Sessions of pyinstrument: `pyinstrument -r pyisession`, a stack and a time for every sample; and `-r json`, a tree.

A frame of a session is a text: name, file and first line of a function between zero characters, then attributes, each
after a character 1: `l` and the line, `c` and the class of the method.

Source: pyinstrument 5's session.py, frame_info.py and renderers/jsonrenderer.py; recordings of 5.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ...schema.errors import InputError, LimitExceeded
from . import Decoded, Failed, Input, Row
from .json_document import array_pieces, decode_json
from .json_head import json_paths
from .names import NameReader, name_reader
from .profile_builder import Label, Labels, ProfileBuilder
from .profile_columns import ProfileHeader
from .seconds import exact_ns

PIECE_SAMPLES = 250_000
MAX_DEPTH = 400
"""Of the tree, which is nested JSON; msgspec takes a little more."""

_NAME = "wall"
_WALL = ("wall", "nanoseconds")
_TYPES = (("samples", "count"), _WALL)
_THREAD_FILE = "<thread>"
_SESSION = frozenset({"frame_records", "start_call_stack"})
_TREE = frozenset({"root_frame.function", "root_frame.children"})
_MOST_DIGITS = 9


class _Session(msgspec.Struct):
    frame_records: msgspec.Raw
    start_time: float = 0.0
    duration: float = 0.0
    min_interval: float = 0.0
    max_interval: float = 0.0
    target_description: str = ""


class _Node(msgspec.Struct):
    function: str
    time: float
    file_path: str = ""
    line_no: int = 0
    class_name: str = ""
    children: list[_Node] = []


class _Tree(msgspec.Struct):
    root_frame: _Node | None
    start_time: float = 0.0
    duration: float = 0.0
    target_description: str = ""


_Record = tuple[list[str], float]


class Pyinstrument:
    """A session of pyinstrument, or the tree that it makes of one."""

    name = "pyinstrument"

    def matches(self, head: bytes, filename: str) -> bool:
        """Whether it is JSON with the keys of either."""
        paths = json_paths(head)
        return paths >= _SESSION or paths >= _TREE

    def decode(self, inputs: Sequence[Input]) -> Iterator[Decoded | Failed]:
        """Each input is one profile."""
        for number, one in enumerate(inputs):
            try:
                pieces = _tree(number, one) if b'"root_frame"' in one.raw[:4096] else _session(number, one)
                yield from pieces
            except InputError as error:
                yield Failed(number, str(error))


def _session(number: int, one: Input) -> Iterator[Decoded]:
    session = decode_json(one.raw, _Session)
    is_regular = session.min_interval == session.max_interval
    header = ProfileHeader(
        sample_types=_TYPES,
        period_type=_WALL if is_regular else ("", ""),
        period=exact_ns(session.min_interval, "min_interval") if is_regular else 0,
        time_ns=exact_ns(session.start_time, "start_time"),
        duration_ns=exact_ns(session.duration, "duration"),
        comments=(session.target_description,) if session.target_description else (),
        default_sample_type="wall",
    )
    stacks = _Stacks(header, name_reader(one))
    more = False
    for piece in array_pieces(session.frame_records):
        for infos, seconds in decode_json(piece, list[_Record], "frame_records"):
            stacks.add(infos, seconds)
            if stacks.builder.samples >= PIECE_SAMPLES:
                yield Decoded(stacks.builder.to_batch(), [Row(number, _NAME)], more)
                stacks.builder.drop_samples()
                more = True
    yield Decoded(stacks.builder.to_batch(), [Row(number, _NAME)], more)


class _Stacks:
    """The samples of a session; each text of a frame is read once."""

    def __init__(self, header: ProfileHeader, names: NameReader) -> None:
        self.builder = ProfileBuilder(header, names)
        self._known: dict[str, int | Labels] = {}

    def add(self, infos: Sequence[str], seconds: float) -> None:
        """A sample: texts of frames, root first."""
        frames: list[int] = []
        labels: Labels = ()
        for info in infos:
            found = self._known.get(info)
            if found is None:
                found = self._known[info] = self._read(info)
            if isinstance(found, int):
                frames.append(found)
            else:
                labels = found
        frames.reverse()
        self.builder.add(frames, (1, exact_ns(seconds, "frame_records: time")), labels)

    def _read(self, info: str) -> int | Labels:
        """The location that a text stands for, or the labels of a thread."""
        identifier, *attributes = info.split("\x01")
        name, filename, number = (*identifier.split("\x00"), "", "")[:3]
        if filename == _THREAD_FILE:
            label = Label("thread", name)
            return (label, Label("tid", number=int(number))) if _is_number(number, 19) else (label,)
        said = {one[:1]: one[1:] for one in attributes}
        owner = said.get("c", "")
        first_line = int(number) if _is_number(number, _MOST_DIGITS) else 0
        line = int(said["l"]) if _is_number(said.get("l", ""), _MOST_DIGITS) else 0
        full_name = f"{owner}.{name}" if owner else name
        return self.builder.location(((self.builder.function(full_name, filename, first_line), line, 0),))


def _is_number(text: str, most_digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most_digits


def _tree(number: int, one: Input) -> Iterator[Decoded]:
    tree = decode_json(one.raw, _Tree)
    header = ProfileHeader(
        sample_types=(_WALL,),
        time_ns=exact_ns(tree.start_time, "start_time"),
        duration_ns=exact_ns(tree.duration, "duration"),
        comments=(tree.target_description,) if tree.target_description else (),
    )
    builder = ProfileBuilder(header, name_reader(one))
    if tree.root_frame is not None:
        _add_nodes(builder, tree.root_frame)
    yield Decoded(builder.to_batch(), [Row(number, _NAME)])


def _add_nodes(builder: ProfileBuilder, root: _Node) -> None:
    """What a node has beyond its children is its own time. Raises `LimitExceeded` for a tree that is too deep."""
    pending: list[tuple[_Node, tuple[int, ...]]] = [(root, ())]
    while pending:
        node, above = pending.pop()
        if len(above) >= MAX_DEPTH:
            raise LimitExceeded(f"root_frame: more than {MAX_DEPTH} levels")
        name = f"{node.class_name}.{node.function}" if node.class_name else node.function
        function = builder.function(name, node.file_path, max(node.line_no, 0))
        stack = (builder.location(((function, 0, 0),)), *above)
        own_ns = exact_ns(node.time, "time") - sum(exact_ns(child.time, "time") for child in node.children)
        if own_ns:
            builder.add(stack, (own_ns,))
        pending.extend((child, stack) for child in node.children)
