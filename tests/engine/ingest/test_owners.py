"""Uploads of several owners, decoded together, are what each is when it is decoded alone, and hold nothing of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
from flameduck.schema.profile import NormalisedBatch, Upload
from tests.engine.ingest.made_profiles import made_profile
from tests.engine.services.writing import raw, small_pprof

LIMITS = DecodeLimits()
T = 1_790_000_000 * 10**9
EMPTY = list(NormalisedBatch().tables().values())
FILES = ("go-cpu.pb.gz", "go-heap.pb.gz", "node-wall.pb.gz", "node-heap.pb.gz", "rust-cpu.pb")


def meaning(batches: Sequence[NormalisedBatch]) -> dict[str, list[Any]]:
    """The rows of all tables without regard to order, samples with the profile that they are of."""
    rows: dict[str, list[Any]] = {}
    for batch in batches:
        for name, table in batch.tables().items():
            listed = [tuple(map(str, row.values())) for row in table.to_pylist()]
            rows.setdefault(name, []).extend(listed if name != "samples" else ())
        at = 0
        samples = batch.samples.to_pylist()
        for profile in batch.profiles.to_pylist():
            part = sorted(map(str, samples[at : at + profile["n"]]))
            rows["samples"].append((str(profile["profile_id"]), profile["series_id"], part))
            at += profile["n"]
        assert at == len(samples)
    return {name: sorted(found) for name, found in rows.items()}


def together(uploads: Sequence[Upload], owners: Sequence[int]) -> dict[int, list[NormalisedBatch]]:
    """What each owner gets of one call."""
    outcome = decode_and_normalise(uploads, LIMITS, owners)
    assert not outcome.refused
    parts: dict[int, list[NormalisedBatch]] = {}
    for (batch, _), owner in zip(outcome.batches, outcome.owners, strict=True):
        assert all(
            table.schema == kinds.schema for table, kinds in zip(batch.tables().values(), EMPTY, strict=True)
        )
        parts.setdefault(owner, []).append(batch)
    return parts


def check(uploads: Sequence[Upload], owners: Sequence[int]) -> None:
    parts = together(uploads, owners)
    assert set(parts) == set(owners)
    for owner, found in parts.items():
        own = [upload for upload, whose in zip(uploads, owners, strict=True) if whose == owner]
        alone = decode_and_normalise(own, LIMITS)
        assert meaning(found) == meaning([batch for batch, _ in alone.batches])


def upload(data: bytes, number: int, **also: Any) -> Upload:
    labels = {"service_name": f"s{number}", "__name__": "cpu"}
    return Upload(data, labels, str(number), rules="pyroscope", time_ns=T + number, **also)


def test_parts_are_what_each_is_alone(fixtures: Path) -> None:
    files = [(fixtures / name).read_bytes() for name in FILES] * 3
    uploads = [upload(data, number) for number, data in enumerate(files)]
    check(uploads, [number % 4 for number in range(len(uploads))])
    check(uploads, list(range(len(uploads))))


def test_formats_mixed(fixtures: Path, shared: Callable[[str], Path]) -> None:
    uploads = [
        upload((fixtures / "java-agent.jfr.gz").read_bytes(), 0, app_name="java"),
        upload((fixtures / "agent-cpu.tree").read_bytes(), 1, input_format="tree", app_name="t.cpu"),
        upload((fixtures / "export.otlp").read_bytes(), 2, input_format="otlp"),
        upload((fixtures / "go-cpu.pb.gz").read_bytes(), 3),
        upload((fixtures / "java-agent.jfr.gz").read_bytes(), 4, app_name="java"),
        upload((fixtures / "export.otlp").read_bytes(), 5, input_format="otlp"),
    ]
    check(uploads, [0, 1, 2, 0, 1, 0])


def test_equal_uploads_of_two_owners() -> None:
    """One series, one id, one content: each owner has it once."""
    one = upload(made_profile(1), 0, sample_id="same")
    parts = together([one, one, one], [0, 1, 2])
    assert [len(parts[owner]) for owner in range(3)] == [1, 1, 1]
    assert meaning(parts[0]) == meaning(parts[1]) == meaning(parts[2])


def test_no_string_of_another_owner(fixtures: Path) -> None:
    names = [f"secret-of-{number}" for number in range(5)]
    uploads = []
    for number, name in enumerate(names):
        folded = f"main;{name} 5\nmain 1\n".encode()
        uploads.append(upload(folded, number, input_format="folded", app_name=f"{name}.cpu"))
    for owner, found in together(uploads, list(range(5))).items():
        text = "".join(str(batch.tables()) for batch in found)
        text += "".join(str(table.to_pylist()) for batch in found for table in batch.tables().values())
        held = b"".join(
            bytes(buffer)
            for batch in found
            for table in batch.tables().values()
            for column in table.columns
            for chunk in column.chunks
            for buffer in chunk.buffers()
            if buffer is not None
        )
        assert [name for name in names if name in text] == [names[owner]]
        assert [name for name in names if name.encode() in held] == [names[owner]]


def test_addresses_and_builds_of_another_owner() -> None:
    """Two builds of one program have the same functions and lines, and so the same location ids."""
    uploads = []
    for number in range(3):
        profile = small_pprof(value=number + 1)
        profile.string_table.extend([b"checkout", f"build-{number}".encode()])
        texts = len(profile.string_table)
        profile.mapping.add(
            id=1, memory_start=4096 * (number + 1), filename=texts - 2, build_id=texts - 1, has_functions=True
        )
        for location in profile.location:
            location.mapping_id, location.address = 1, 4096 * (number + 1) + location.id
        uploads.append(upload(raw(profile), number))
    parts = together(uploads, [0, 1, 2])
    ids = {frozenset(parts[owner][0].locations.column("location_id").to_pylist()) for owner in range(3)}
    assert len(ids) == 1
    for owner in range(3):
        (batch,) = parts[owner]
        assert batch.mappings.column("build_id").to_pylist() == [f"build-{owner}"]
        assert sorted(batch.locations.column("address").to_pylist()) == [
            4096 * (owner + 1) + 1,
            4096 * (owner + 1) + 2,
        ]
    check(uploads, [0, 1, 2])
    check(uploads, [5, 5, 7])


def test_a_bad_upload_beside_those_of_others() -> None:
    uploads = [upload(made_profile(0), 0), upload(b"junk", 1), upload(made_profile(2), 2)]
    outcome = decode_and_normalise(uploads, LIMITS, [3, 4, 5])
    assert [one.origin for one in outcome.refused] == ["1"]
    assert sorted(outcome.owners) == [3, 5]
