"""How commands ask: gauges are averaged unless something else is said."""

from __future__ import annotations

from typing import Any

import pytest

from flameduck.cli.asking import ask
from flameduck.engine.connection import Connection
from flameduck.schema.request import (
    DiffTopRequest,
    ExportRequest,
    Request,
    SandwichRequest,
    Selection,
    SeriesRequest,
    TopRequest,
    TreeQuery,
)

CPU = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
SPACE = "memory:inuse_space:bytes:space:bytes"


def aggregates(database: Any, request: Request, given: str | None = None) -> list[str]:
    """The aggregate of each question that one `ask` led to."""
    ask(Connection(database), request, given)
    return [str(getattr(request, "aggregate", "") or request.tree.aggregate) for request in database.asked]


def top(profile_type: str = "", **more: object) -> TopRequest:
    return TopRequest(TreeQuery(Selection(profile_type=profile_type), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "request_", "given", "asked"),
    [
        (CPU, top(), None, ["sum"]),
        (CPU, top("cpu"), None, ["sum"]),
        (SPACE, top(), None, ["sum", "avg"]),
        (SPACE, top("inuse_space"), None, ["avg"]),
        (SPACE, top(SPACE), None, ["avg"]),
        (SPACE, top("inuse_space"), "sum", ["sum"]),
        (SPACE, top("inuse_space", delta=True), None, ["sum"]),
        (CPU, top("inuse_space"), None, ["avg", "sum"]),
        (SPACE, SeriesRequest(Selection(profile_type="inuse_space"), 1), None, ["avg"]),
        (CPU, SeriesRequest(Selection(), 1), None, ["sum"]),
    ],
)
def test_which_aggregate_is_asked_for(
    recorder: Any, kind: str, request_: Request, given: str | None, asked: list[str]
) -> None:
    assert aggregates(recorder(kind), request_, given) == asked


def test_every_tree_of_a_request_is_averaged(recorder: Any) -> None:
    tree = TreeQuery(Selection(profile_type=SPACE))
    averaged = TreeQuery(Selection(profile_type=SPACE), aggregate="avg")
    database = recorder(SPACE)
    ask(Connection(database), DiffTopRequest(tree, tree))
    ask(
        Connection(database),
        ExportRequest(tree, "html", versus=tree, sandwich=SandwichRequest(tree, "f", "callers")),
    )
    assert database.asked == [
        DiffTopRequest(averaged, averaged),
        ExportRequest(averaged, "html", versus=averaged, sandwich=SandwichRequest(averaged, "f", "callers")),
    ]


def test_people_are_told(recorder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ask(Connection(recorder(SPACE)), top())
    assert "inuse_space is a gauge: averaged" in capsys.readouterr().err
    ask(Connection(recorder(CPU)), top())
    assert capsys.readouterr().err == ""
