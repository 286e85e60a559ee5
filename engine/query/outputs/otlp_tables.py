"""The dictionary of an OTLP request that is written: every entry once, the first of each table the empty one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ....schema.partial import LocationPartial
from ....schema.proto import otlp_profiles_pb2 as otlp
from ...formats.otlp_meaning import BUILD_IDS, IS_FOLDED, MAPPING_FLAG, MAPPING_FLAGS
from .pprof_mappings import MappingChoice

_GNU, _GO, _ = BUILD_IDS
_TRACE = re.compile("[0-9a-f]{32}")
_SPAN = re.compile("[0-9a-f]{16}")

AttributeValue = str | int | bool | Sequence[str]


class TableWriter:
    """Fills a dictionary; entries are numbered as they come up."""

    def __init__(self, partial: LocationPartial, mappings: MappingChoice) -> None:
        self.message = otlp.ProfilesDictionary()
        self._mappings = mappings
        self._texts: dict[str, int] = {}
        self._attributes: dict[tuple[str, AttributeValue, str], int] = {}
        self._links: dict[tuple[str, str], int] = {}
        self._functions: dict[int, int] = {}
        self._locations: dict[int, int] = {}
        self._stacks: dict[int, int] = {}
        self._labelled: dict[int, tuple[list[int], int]] = {0: ([], 0)}
        self._rows = {
            name: {row[f"{name}_id"]: row for row in getattr(partial, f"{name}s").to_pylist()}
            for name in ("stack", "location", "function", "labelset")
        }
        self.text("")
        tables = self.message
        for table in (tables.location_table, tables.function_table, tables.mapping_table):
            table.add()
        for table in (tables.link_table, tables.attribute_table, tables.stack_table):
            table.add()
        for mapping in mappings.written:
            self._add_mapping(mapping)

    def text(self, value: str) -> int:
        """The index of a string."""
        index = self._texts.get(value)
        if index is None:
            index = self._texts[value] = len(self._texts)
            self.message.string_table.append(value.encode())
        return index

    def attribute(self, key: str, value: AttributeValue, unit: str = "") -> int:
        """The index of an attribute. A list is one of texts."""
        known = (
            key,
            value if isinstance(value, (str, int)) else tuple(value),
            f"{type(value).__name__} {unit}",
        )
        index = self._attributes.get(known)
        if index is None:
            index = self._attributes[known] = len(self._attributes) + 1
            written = self.message.attribute_table.add(
                key_strindex=self.text(key), unit_strindex=self.text(unit)
            )
            _set_value(written.value, value)
        return index

    def stack(self, stack_id: int) -> int:
        """The index of a stack."""
        index = self._stacks.get(stack_id)
        if index is None:
            places = [self._location(key) for key in self._rows["stack"][stack_id]["locations"]]
            index = self._stacks[stack_id] = len(self._stacks) + 1
            self.message.stack_table.add(location_indices=places)
        return index

    def labels(self, labelset_id: int) -> tuple[list[int], int]:
        """The attributes and the link that stand for a label set."""
        known = self._labelled.get(labelset_id)
        if known is None:
            known = self._labelled[labelset_id] = self._label(self._rows["labelset"][labelset_id]["labels"])
        return known

    def _label(self, labels: Sequence[Mapping[str, Any]]) -> tuple[list[int], int]:
        ids = {"trace_id": "", "span_id": ""}
        attributes = []
        for label in labels:
            key, text, unit = label["key"], label["str"], label["unit"]
            form = {"trace_id": _TRACE, "span_id": _SPAN}.get(key)
            if (
                form
                and form.fullmatch(text)
                and text.strip("0")
                and not ids[key]
                and not label["num"]
                and not unit
            ):
                ids[key] = text
            else:
                attributes.append(self.attribute(key, text or label["num"], unit))
        return attributes, self._link(ids["trace_id"], ids["span_id"])

    def _link(self, trace_id: str, span_id: str) -> int:
        if not trace_id and not span_id:
            return 0
        index = self._links.get((trace_id, span_id))
        if index is None:
            index = self._links[trace_id, span_id] = len(self._links) + 1
            self.message.link_table.add(trace_id=bytes.fromhex(trace_id), span_id=bytes.fromhex(span_id))
        return index

    def _location(self, key: int) -> int:
        index = self._locations.get(key)
        if index is not None:
            return index
        row = self._rows["location"][key]
        address, mapping = self._mappings.place(row)
        written = otlp.Location(mapping_index=mapping, address=address)
        for line in row["lines"]:
            function = self._function(line["function_id"])
            written.lines.add(function_index=function, line=line["line"], column=line["column"])
        if row["is_folded"]:
            written.attribute_indices.append(self.attribute(IS_FOLDED, True))
        index = self._locations[key] = len(self._locations) + 1
        self.message.location_table.append(written)
        return index

    def _function(self, key: int) -> int:
        index = self._functions.get(key)
        if index is None:
            row = self._rows["function"][key]
            index = self._functions[key] = len(self._functions) + 1
            self.message.function_table.add(
                name_strindex=self.text(row["name"]),
                system_name_strindex=self.text(row["system_name"]),
                filename_strindex=self.text(row["filename"]),
                start_line=row["start_line"],
            )
        return index

    def _add_mapping(self, row: Mapping[str, Any]) -> None:
        written = self.message.mapping_table.add(
            memory_start=row["memory_start"],
            memory_limit=row["memory_limit"],
            file_offset=row["file_offset"],
            filename_strindex=self.text(row["filename"]),
        )
        build_id = row["build_id"]
        if build_id:
            # Go's build ids are made of parts.
            written.attribute_indices.append(self.attribute(_GO if "/" in build_id else _GNU, build_id))
        for flag in MAPPING_FLAGS:
            if row[flag]:
                written.attribute_indices.append(self.attribute(MAPPING_FLAG + flag, True))


def _set_value(written: otlp.AnyValue, value: AttributeValue) -> None:
    if isinstance(value, bool):
        written.bool_value = value
    elif isinstance(value, int):
        written.int_value = value
    elif isinstance(value, str):
        written.string_value = value.encode()
    else:
        texts = [otlp.AnyValue(string_value=text.encode()) for text in value]
        written.array_value = otlp.ArrayValue(values=texts).SerializeToString()
