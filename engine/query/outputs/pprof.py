"""pprof out: exact stacks with lines, mappings and sample labels, or pprof's own merge of several profiles.

Metadata follows `pprof -proto`: the earliest time, durations added up, the largest period, comments united.
Under the pyroscope rules it is what Pyroscope's SelectMergeProfile answers. Go's PGO keeps the leaf-most
locations; to count callees together, a location that is any stack's leaf loses its line wherever it stands.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....schema.partial import LocationPartial
from ....schema.proto import profile_pb2
from ....schema.request import PprofOptions
from ..export import Export, SampleType
from ..profile_facts import ProfileFacts, profile_facts
from .pprof_folding import OTHER, folder, starts_with
from .pprof_mappings import MappingChoice

_OTHER_FUNCTION = {"function_id": OTHER, "name": "other", "system_name": "", "filename": "", "start_line": 0}
_OTHER_LINE = {"function_id": OTHER, "line": 0, "column": 0}
_OTHER_LOCATION = {"location_id": OTHER, "is_folded": False, "lines": [_OTHER_LINE]}
_PYROSCOPE_PERIODS = {"process_cpu": 1_000_000_000, "memory": 524_288}


def write_pprof(export: Export) -> bytes:
    """A pprof of the selection: all its profile types, or the one that it names."""
    return _written(export, export.request.pprof)


def write_go_pgo(export: Export) -> bytes:
    """A pprof for Go's profile-guided optimisation, whatever the request's options say of that."""
    return _written(export, replace(export.request.pprof, go_pgo=True))


def _written(export: Export, options: PprofOptions) -> bytes:
    data: bytes = build_pprof(export, options).SerializeToString(deterministic=True)
    return gzip.compress(data, 6, mtime=0) if options.is_compressed else data


def build_pprof(export: Export, options: PprofOptions) -> profile_pb2.Profile:
    """The message that `write_pprof` writes."""
    labels = options.rules == "verbatim" and not options.go_pgo
    partial = export.locations(labels)
    if not len(partial.values) and options.rules == "pyroscope":
        return profile_pb2.Profile()
    facts = profile_facts(export)
    choice = MappingChoice(partial, facts.mappings)
    writer = _Writer(partial, export.sample_types, choice, options.rules == "pyroscope")
    if options.go_pgo:
        writer.keep_leaves(options.keep_locations, options.aggregate_callees)
    elif options.rules == "pyroscope":
        writer.keep_call_site(export.request.tree.call_site)
        writer.fold(export.request.max_nodes)
    writer.write_samples()
    if options.rules == "pyroscope":
        _pyroscope_metadata(writer, export)
    else:
        _verbatim_metadata(writer, facts)
    return writer.message


def _verbatim_metadata(writer: _Writer, facts: ProfileFacts) -> None:
    message, text = writer.message, writer.text
    if writer.types:
        message.period_type.type = text(writer.types[0].period_type)
        message.period_type.unit = text(writer.types[0].period_unit)
    message.time_nanos = facts.time_ns
    message.duration_nanos = facts.duration_ns
    message.period = facts.period
    message.comment.extend(map(text, facts.comments))
    message.default_sample_type = text(facts.default_sample_type)
    message.drop_frames = text(facts.drop_frames)
    message.keep_frames = text(facts.keep_frames)
    message.doc_url = text(facts.doc_url)


def _pyroscope_metadata(writer: _Writer, export: Export) -> None:
    message, text = writer.message, writer.text
    kind = writer.types[0]
    message.default_sample_type = text(kind.type)
    message.period_type.type = text(kind.period_type)
    message.period_type.unit = text(kind.period_unit)
    message.period = _PYROSCOPE_PERIODS.get(kind.profile_type.split(":")[0], 1)
    end_ns = export.request.tree.selection.end_ns
    # The wire's inclusive millisecond end is one nanosecond less than the half-open end.
    message.time_nanos = end_ns - 1 if end_ns is not None else profile_facts(export).time_ns


@dataclass(frozen=True)
class _Sample:
    """One sample: locations leaf first, and what it is labelled with (0: nothing)."""

    locations: tuple[int, ...]
    labelset: int


class _Writer:
    """Fills one pprof message; ids and strings are numbered as they come up.

    With `placeless`, what is in a mapping with function names has no address: nobody looks it up any more.
    """

    def __init__(
        self, partial: LocationPartial, types: list[SampleType], mappings: MappingChoice, placeless: bool
    ) -> None:
        self.message = profile_pb2.Profile()
        self._placeless = placeless
        self.types = types
        self._strings: dict[str, int] = {}
        self._partial = partial
        self._mappings = mappings
        self._functions: dict[int, int] = {}
        self._locations: dict[int, int] = {}
        self._samples = _samples(partial, {kind.profile_type: n for n, kind in enumerate(types)})
        self._without_line: set[int] = set()
        self.text("")
        for kind in types:
            self.message.sample_type.add(type=self.text(kind.type), unit=self.text(kind.unit))
        for mapping in mappings.written:
            self._add_mapping(mapping)

    def text(self, value: str) -> int:
        """The index of a string, added if it is new."""
        index = self._strings.get(value)
        if index is None:
            index = self._strings[value] = len(self._strings)
            self.message.string_table.append(value.encode())
        return index

    def keep_leaves(self, count: int, aggregate_callees: bool) -> None:
        """Cut stacks to their `count` leaf-most locations (0: all); drop the leaf's line when asked to."""
        cut: dict[_Sample, list[int]] = {}
        for sample, values in self._samples.items():
            short = _Sample(sample.locations[:count] if count else sample.locations, 0)
            known = cut.get(short)
            cut[short] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
        self._samples = cut
        if aggregate_callees:
            self._without_line = {sample.locations[0] for sample in cut if sample.locations}

    def keep_call_site(self, names: Sequence[str]) -> None:
        """Keep the stacks that begin with these functions; none: all."""
        if names:
            frames = self._frames()
            self._samples = {
                sample: values
                for sample, values in self._samples.items()
                if starts_with(sample.locations, frames, names)
            }

    def fold(self, max_nodes: int) -> None:
        """Cut stacks to the largest functions of the call tree (0: none is cut); equal ones become one."""
        if not max_nodes:
            return
        stacks = ((sample.locations, values[0]) for sample, values in self._samples.items())
        fold = folder(stacks, self._frames(), max_nodes)
        cut: dict[_Sample, list[int]] = {}
        for sample, values in self._samples.items():
            short = _Sample(fold(sample.locations), 0)
            known = cut.get(short)
            cut[short] = values if known is None else [a + b for a, b in zip(known, values, strict=True)]
        self._samples = cut

    def _frames(self) -> Mapping[int, Sequence[str]]:
        """The names of each location, the outermost first; without any, a name that no other has."""
        functions = self._partial.functions
        ids, names = (functions.column(name).to_pylist() for name in ("function_id", "name"))
        named = dict(zip(ids, names, strict=True))
        return {
            row["location_id"]: [named[line["function_id"]] for line in reversed(row["lines"])]
            or [f"<{row['location_id']}>"]
            for row in self._partial.locations.select(["location_id", "lines"]).to_pylist()
        }

    def write_samples(self) -> None:
        """Add every sample, with the locations and functions it uses."""
        locations = {row["location_id"]: row for row in self._partial.locations.to_pylist()}
        locations[OTHER] = _OTHER_LOCATION
        functions = {row["function_id"]: row for row in self._partial.functions.to_pylist()}
        functions[OTHER] = _OTHER_FUNCTION
        labelsets = {row["labelset_id"]: row["labels"] for row in self._partial.labelsets.to_pylist()}
        numbers = self._locations
        for sample, values in self._samples.items():
            # Most come again: asking a dictionary here costs a fifth of a call.
            ids = [numbers.get(key) or self._location(locations[key], functions) for key in sample.locations]
            written = self.message.sample.add(location_id=ids, value=values)
            for label in labelsets.get(sample.labelset, ()):
                written.label.add(
                    key=self.text(label["key"]),
                    str=self.text(label["str"]),
                    num=label["num"],
                    num_unit=self.text(label["unit"]),
                )

    def _location(self, row: Mapping[str, Any], functions: Mapping[int, Mapping[str, Any]]) -> int:
        """The number of a location that is new."""
        key = int(row["location_id"])
        number = self._locations[key] = len(self._locations) + 1
        address, mapping_id = (0, 0) if key == OTHER else self._mappings.place(row)
        if self._placeless and mapping_id and self._mappings.written[mapping_id - 1]["has_functions"]:
            address = 0
        written = self.message.location.add(
            id=number, mapping_id=mapping_id, address=address, is_folded=row["is_folded"]
        )
        for position, line in enumerate(row["lines"]):
            line_number = 0 if position == 0 and key in self._without_line else line["line"]
            function_id = self._function(functions[line["function_id"]])
            written.line.add(function_id=function_id, line=line_number, column=line["column"])
        return number

    def _function(self, row: Mapping[str, Any]) -> int:
        key = int(row["function_id"])
        known = self._functions.get(key)
        if known is None:
            known = self._functions[key] = len(self._functions) + 1
            names = {name: self.text(str(row[name])) for name in ("name", "system_name", "filename")}
            self.message.function.add(id=known, start_line=row["start_line"], **names)
        return known

    def _add_mapping(self, row: Mapping[str, Any]) -> None:
        names = {name: self.text(str(row[name])) for name in ("filename", "build_id")}
        kinds = ("has_",) if self._placeless and row["has_functions"] else ("memory_", "file_offset", "has_")
        plain = {name: row[name] for name in row if name.startswith(kinds)}
        self.message.mapping.add(id=len(self.message.mapping) + 1, **names, **plain)


def _samples(partial: LocationPartial, type_numbers: Mapping[str, int]) -> dict[_Sample, list[int]]:
    """Values by stack and label set, one value a type."""
    lists = partial.stacks.column("locations").to_pylist()
    stacks = dict(zip(partial.stacks.column("stack_id").to_pylist(), map(tuple, lists), strict=True))
    rows: Iterable[tuple[int, int, str, int]] = zip(
        *(
            partial.values.column(name).to_pylist()
            for name in ("stack_id", "labelset_id", "profile_type", "value")
        ),
        strict=True,
    )
    samples: dict[_Sample, list[int]] = {}
    for stack_id, labelset, profile_type, value in rows:
        values = samples.setdefault(_Sample(stacks[stack_id], labelset), [0] * len(type_numbers))
        values[type_numbers[profile_type]] += value
    return samples
