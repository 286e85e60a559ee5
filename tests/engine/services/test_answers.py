"""Large answers on the wire: what is written in a quicker way is what the plain way writes."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format

from flameduck.engine.services.http.rpc import _JsonCodec
from flameduck.engine.services.http.tree_bytes import tree_bytes
from flameduck.schema.proto import querier_pb2, querier_profile_pb2
from flameduck.schema.request import Flamegraph

from ...golden.replay import tree_paths

LEVELS = ([0, 20, 0, 0], [0, 17, 2, 2, 0, 3, 3, 1], [2, 10, 10, 4, 0, 5, 5, 3])
NAMES = ["total", "d", "a", "c", "b"]
PROFILE = querier_profile_pb2.Profile(
    sample_type=[querier_profile_pb2.ValueType(type=1, unit=2)],
    sample=[
        querier_profile_pb2.Sample(
            location_id=[1, 2, 2**64 - 1], value=[0, -(2**63)], label=[{"key": 3, "num": -4, "num_unit": 5}]
        ),
        querier_profile_pb2.Sample(location_id=[2]),
        querier_profile_pb2.Sample(),
    ],
    mapping=[querier_profile_pb2.Mapping(id=1, memory_limit=2**64 - 1, has_functions=True)],
    location=[
        querier_profile_pb2.Location(
            id=1,
            mapping_id=1,
            address=2**64 - 1,
            line=[{"function_id": 1, "line": -7, "column": 3}, {"function_id": 2}, {}],
            is_folded=True,
        ),
        querier_profile_pb2.Location(id=2, line=[{"line": 1}]),
        querier_profile_pb2.Location(),
    ],
    function=[querier_profile_pb2.Function(id=1, name=1, system_name=2, filename=3, start_line=-1)],
    string_table=["", "é\n\u2028", '"\\'],
    time_nanos=2**63 - 1,
)


@pytest.mark.parametrize(
    "message",
    [
        querier_pb2.SelectMergeStacktracesResponse(
            flamegraph=querier_pb2.FlameGraph(
                names=[*NAMES, "é\n"],
                levels=[querier_pb2.Level(values=level) for level in LEVELS],
                total=20,
                max_self=2**62,
            )
        ),
        querier_pb2.SelectMergeStacktracesResponse(flamegraph=querier_pb2.FlameGraph()),
        querier_pb2.SelectMergeStacktracesResponse(tree=b"abc"),
        querier_pb2.SelectMergeStacktracesResponse(),
        querier_pb2.DiffResponse(
            flamegraph=querier_pb2.FlameGraphDiff(
                names=["total"], levels=[querier_pb2.Level(values=[0] * 7)], leftTicks=1
            )
        ),
        PROFILE,
        querier_profile_pb2.Profile(),
    ],
)
def test_json_is_the_library_s(message: querier_pb2.DiffResponse) -> None:
    assert json.loads(_JsonCodec().encode(message)) == json_format.MessageToDict(message)


def test_tree_bytes() -> None:
    """The example of the reference, worked by hand; and values that take many bytes."""
    raw = tree_bytes(Flamegraph(NAMES, LEVELS, 20, 10))
    assert raw == bytes.fromhex("00000201640300016102020163050001620a00")
    large = 2**40 + 5
    deep = tree_bytes(
        Flamegraph(["total", "f" * 300], [[0, large, 0, 0], [0, large, large, 1]], large, large)
    )
    assert tree_paths(deep) == {("",): 0, ("", "f" * 300): large}
    assert tree_bytes(Flamegraph(["total"], [[0, 0, 0, 0]], 0, 0)) == b""
