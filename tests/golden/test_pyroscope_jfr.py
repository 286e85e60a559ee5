"""Recordings of Pyroscope's agent equal, stack by stack, what Pyroscope makes of them."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from flameduck.schema.profile import RULES, Rules
from flameduck.schema.proto import profile_pb2
from tests.engine.formats.test_jfr import read

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "jfr"


def recordings() -> list[object]:
    found = sorted(FOLDER.glob("*.jfr.gz"))
    skipped = pytest.param(None, marks=pytest.mark.skip("../shared is not beside this checkout"))
    return [pytest.param(path, id=path.name) for path in found] or [skipped]


def expected_of(path: Path) -> tuple[str, str, Counter[str]]:
    """The type, its unit, and the stacks, leaf first, of an expected file."""
    profile = profile_pb2.Profile.FromString(gzip.decompress(path.read_bytes()))
    texts = [text.decode() for text in profile.string_table]
    names = {function.id: texts[function.name] for function in profile.function}
    frames = {
        place.id: f"{names[place.line[0].function_id]}:{place.line[0].line}" for place in profile.location
    }
    stacks: Counter[str] = Counter()
    for sample in profile.sample:
        stacks[";".join(frames[place] for place in sample.location_id)] += sample.value[0]
    return texts[profile.sample_type[0].type], texts[profile.sample_type[0].unit], stacks


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("path", recordings())
def test_types_totals_and_stacks(path: Path, rules: Rules) -> None:
    found: dict[tuple[str, str], tuple[str, Counter[str]]] = {}
    for one in read(gzip.decompress(path.read_bytes()), rules=rules).values():
        found |= {kind: (one.name, stacks) for kind, stacks in zip(one.types, one.stacks, strict=True)}
    expected = sorted(path.parent.glob(f"{path.name}.*.pb.gz"))
    assert len(found) == len(expected) > 0
    for file in expected:
        kind, unit, stacks = expected_of(file)
        name, ours = found[kind, unit]
        assert file.name.removeprefix(f"{path.name}.").startswith(f"{name}_{kind}_{unit}_")
        assert ours == stacks
