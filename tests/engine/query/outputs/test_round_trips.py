"""What is written in a format that is also read comes back: the same totals, the same stacks of functions."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flameduck.engine.embedded import FilesDatabase, open_files
from flameduck.engine.formats import FORMATS
from flameduck.engine.query.outputs import OUTPUTS
from flameduck.schema.profile import Upload
from flameduck.schema.profile_type import parse_profile_type
from flameduck.schema.proto import profile_pb2
from flameduck.schema.request import (
    Exported,
    ExportRequest,
    Flamegraph,
    FlamegraphRequest,
    ProfileTypesRequest,
    Rows,
    Selection,
    TreeQuery,
)

from ..stacks import Stack

TYPES = (("samples", "count"), ("cpu", "nanoseconds"))
# A cpuprofile holds times alone, so that counts come back as something else; test_cpuprofile.py says what.
ROUND_TRIPS = sorted((OUTPUTS.keys() & FORMATS.keys()) - {"cpuprofile"})
STACKS: Counter[Stack] = Counter(
    {
        ("main", "work", "read"): 3,
        ("main", "work", "work", "work"): 5,
        ("main", "std::map<int, char>::at(int) const"): 7,
        ("main", "(*T[...]).run"): 2,
        ("ünï", 'semi "colon"'): 11,
        ("main",): 13,
        ("#include", "main"): 17,
    }
)


def pprof(stacks: Counter[Stack], types: tuple[tuple[str, str], ...] = TYPES[:1]) -> bytes:
    """A profile of stacks, root first; each value a thousand times as much of the second type."""
    message = profile_pb2.Profile(string_table=[b""])
    texts: dict[str, int] = {"": 0}

    def text(one: str) -> int:
        if one not in texts:
            texts[one] = len(texts)
            message.string_table.append(one.encode())
        return texts[one]

    for kind, unit in types:
        message.sample_type.add(type=text(kind), unit=text(unit))
    numbers = {name: number for number, name in enumerate(sorted({n for s in stacks for n in s}), start=1)}
    for name, number in numbers.items():
        message.function.add(id=number, name=text(name), system_name=text(name))
        message.location.add(id=number).line.add(function_id=number)
    for stack, value in stacks.items():
        values = [value * 1000**place for place in range(len(types))]
        message.sample.add(location_id=[numbers[name] for name in reversed(stack)], value=values)
    return bytes(message.SerializeToString())


def type_of(database: FilesDatabase, wanted: str) -> str:
    """The id of a profile type: the only one, or that of a sample type, or else that of its unit."""
    answer = database.ask(ProfileTypesRequest(Selection()))
    assert isinstance(answer, Rows)
    ids: list[str] = answer.table.column("profile_type").to_pylist()
    kinds = {one: parse_profile_type(one) for one in ids}
    named = [one for one, kind in kinds.items() if kind.sample_type == wanted]
    alike = [one for one, kind in kinds.items() if kind.sample_unit == dict(TYPES)[wanted]]
    (found,) = ids if len(ids) == 1 else named or alike
    return found


def export(upload: Upload, name: str, wanted: str = "samples") -> bytes:
    """The profile of a sample type in a format."""
    database = open_files([upload])
    query = TreeQuery(Selection(profile_type=type_of(database, wanted)))
    answer = database.ask(ExportRequest(query, name))
    assert isinstance(answer, Exported)
    return answer.data


def stacks_of(upload: Upload, wanted: str = "samples") -> Counter[Stack]:
    """The stacks of an upload, root first, of its type or of that one of several types."""
    database = open_files([upload])
    query = TreeQuery(Selection(profile_type=type_of(database, wanted)))
    graph = database.ask(FlamegraphRequest(query, 0))
    assert isinstance(graph, Flamegraph)
    return stacks_of_graph(graph)


def stacks_of_graph(graph: Flamegraph) -> Counter[Stack]:
    """The self values of a graph's bars, by path. The root is no frame."""
    found: Counter[Stack] = Counter()
    above: list[tuple[int, int, Stack]] = [(0, graph.total, ())]
    for level in graph.levels[1:]:
        here: list[tuple[int, int, Stack]] = []
        at = 0
        for offset, total, own, name in zip(*(level[place::4] for place in range(4)), strict=True):
            start = at + offset
            path = next(stack for first, last, stack in above if first <= start and start + total <= last)
            stack = (*path, graph.names[name])
            here.append((start, start + total, stack))
            if own:
                found[stack] += own
            at = start + total
        above = here
    return found


def uploaded(data: bytes, name: str = "", input_format: str = "") -> Upload:
    return Upload(data, {"service_name": "s"}, name or "profile", time_ns=10**18, input_format=input_format)


def test_there_is_something_to_walk_over() -> None:
    assert {"folded", "pprof"} <= set(ROUND_TRIPS)


@pytest.mark.parametrize("name", ROUND_TRIPS)
@pytest.mark.parametrize("kind", TYPES)
def test_what_is_written_comes_back(name: str, kind: tuple[str, str]) -> None:
    original = uploaded(pprof(STACKS, (kind,)))
    written = export(original, name, kind[0])
    assert stacks_of(uploaded(written), kind[0]) == STACKS


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_one_of_several_types_comes_back(name: str) -> None:
    written = export(uploaded(pprof(STACKS, TYPES)), name, "cpu")
    expected = Counter({stack: 1000 * value for stack, value in STACKS.items()})
    assert stacks_of(uploaded(written), "cpu") == expected


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=4).map(tuple), st.integers(1, 2**40), min_size=1, max_size=6
    )
)
def test_folded_keeps_all_but_its_separators(stacks: dict[Stack, int]) -> None:
    written = export(uploaded(pprof(Counter(stacks))), "folded")
    expected: Counter[Stack] = Counter()
    for stack, value in stacks.items():
        names = (name.replace(";", " ").replace("\n", " ").replace("\r", " ") for name in stack)
        expected[tuple(names)] += value
    assert stacks_of(uploaded(written, input_format="folded")) == expected
    again = export(uploaded(written, input_format="folded"), "folded")
    assert sorted(again.splitlines()) == sorted(written.splitlines())
