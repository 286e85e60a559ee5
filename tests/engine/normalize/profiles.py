"""Small profiles made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flameduck.schema.proto import profile_pb2

LabelValue = str | tuple[int, str]


class Maker:
    """Builds a message; texts, functions and locations are numbered as they come up."""

    def __init__(self, *sample_types: str, time_ns: int = 10**18) -> None:
        self.message = profile_pb2.Profile(time_nanos=time_ns)
        self._texts: dict[str, int] = {}
        self.text("")
        for kind in sample_types or ("cpu/nanoseconds",):
            name, _, unit = kind.partition("/")
            self.message.sample_type.add(type=self.text(name), unit=self.text(unit))
        self._frames: dict[str, int] = {}

    def text(self, text: str) -> int:
        """The index of a text."""
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            self.message.string_table.append(text.encode())
        return self._texts[text]

    def frame(self, name: str) -> int:
        """The id of a location with one line of one function."""
        if name not in self._frames:
            number = self._frames[name] = len(self.message.location) + 1
            self.message.function.add(id=number, name=self.text(name), system_name=self.text(name))
            self.message.location.add(id=number).line.add(function_id=number, line=number)
        return self._frames[name]

    def sample(self, stack: str, *values: int, **labels: LabelValue) -> Maker:
        """A sample whose stack is named root first, `main;work`; labels are texts or (number, unit)."""
        sample = self.message.sample.add(value=values)
        sample.location_id.extend(self.frame(name) for name in reversed(stack.split(";")) if name)
        for key, value in labels.items():
            if isinstance(value, str):
                sample.label.add(key=self.text(key), str=self.text(value))
            else:
                sample.label.add(key=self.text(key), num=value[0], num_unit=self.text(value[1]))
        return self

    def bytes(self) -> bytes:
        """The message as it is sent."""
        return bytes(self.message.SerializeToString())


def changed(raw: bytes, change: Callable[[profile_pb2.Profile], object]) -> bytes:
    """A message with something done to it."""
    message = profile_pb2.Profile.FromString(raw)
    change(message)
    return bytes(message.SerializeToString())


def plain(stacks: Mapping[str, int] | None = None) -> bytes:
    """A valid profile with a mapping, a label and two types."""
    maker = Maker("samples/count", "cpu/nanoseconds")
    for stack, count in (stacks or {"main;work;read": 3, "main;work": 1, "main": 2}).items():
        maker.sample(stack, count, count * 10_000_000, thread="t1")
    maker.message.mapping.add(id=1, memory_start=0x1000, memory_limit=0x9000, filename=maker.text("/bin/app"))
    for location in maker.message.location:
        location.mapping_id, location.address = 1, 0x1000 + location.id
    return maker.bytes()
