"""Nothing is lost and nothing is added: the tables say what a plain walk over the message says."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from flameduck.schema.proto import profile_pb2

from .meaning import Meaning, normalised, rebuild, walk
from .profiles import Maker, changed, plain

FIXTURES = (
    "go-cpu",
    "go-cpu-v2",
    "go-heap",
    "go-allocs",
    "go-mutex",
    "go-block",
    "go-goroutine",
    "node-heap",
)


def check(raws: Sequence[bytes]) -> Meaning:
    services = [f"service{number}" for number in range(len(raws))]
    result = normalised(raws)
    assert result.refused == {}
    meaning = rebuild(result.batch)
    assert meaning == walk(raws, services)
    return meaning


def read(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.parametrize("name", FIXTURES)
def test_recorded_profiles(fixtures: Path, name: str) -> None:
    assert check([read(fixtures / f"{name}.pb.gz")])


def test_recorded_profiles_in_one_batch(fixtures: Path) -> None:
    assert check([read(fixtures / f"{name}.pb.gz") for name in FIXTURES])


def test_shared_profiles_alone_and_in_one_batch(shared: Callable[[str], Path]) -> None:
    files = sorted(path for path in shared("data/pprof").iterdir() if path.suffix != ".json")
    raws = [read(path) for path in files]
    for raw in raws:
        assert check([raw])
    assert check(raws)


def scattered(raw: bytes) -> bytes:
    """The same profile with its ids drawn at random, far apart."""
    source = random.Random(5)

    def scatter(message: profile_pb2.Profile) -> None:
        functions, locations, mappings = (
            {item.id: source.getrandbits(63) | 1 for item in items}
            for items in (message.function, message.location, message.mapping)
        )
        for function in message.function:
            function.id = functions[function.id]
        for mapping in message.mapping:
            mapping.id = mappings[mapping.id]
        for location in message.location:
            location.id = locations[location.id]
            location.mapping_id = mappings.get(location.mapping_id, 0)
            for line in location.line:
                line.function_id = functions[line.function_id]
        for sample in message.sample:
            sample.location_id[:] = [locations[reference] for reference in sample.location_id]

    return changed(raw, scatter)


def test_ids_far_apart_and_in_order_in_one_batch(fixtures: Path) -> None:
    raws = [read(fixtures / f"{name}.pb.gz") for name in ("go-heap", "go-cpu", "go-block")]
    assert check([scattered(raws[0]), raws[1], scattered(raws[2]), raws[0]])


def test_the_same_content_has_the_same_ids_whatever_the_profile_calls_it(fixtures: Path) -> None:
    raw = read(fixtures / "go-cpu.pb.gz")
    one, other = normalised([raw]).batch, normalised([scattered(raw)]).batch
    for name in ("stacks", "locations", "functions", "mappings"):
        keys = [set(batch.tables()[name].column(0).to_pylist()) for batch in (one, other)]
        assert keys[0] == keys[1], name


EMPTY = Maker("cpu/nanoseconds", "wall/nanoseconds")

UNUSUAL = {
    "no samples": EMPTY.bytes(),
    "a sample without locations": Maker().sample("", 3).sample("a", 4).bytes(),
    "equal samples": Maker().sample("a;b", 3).sample("a", 1).sample("a;b", 4).bytes(),
    "equal samples that cancel": Maker().sample("a;b", 3).sample("a;b", -3).sample("c", 1).bytes(),
    "values of all sizes": Maker().sample("a", -(2**63)).sample("b", 2**63 - 1).bytes(),
    "recursion": Maker().sample("a;a;a", 1).sample("a;a", 2).sample("a;b;a", 3).sample("a;b;b;a", 4).bytes(),
    "labels in another order": Maker().sample("a", 1, x="1", y="2").sample("a", 2, y="2", x="1").bytes(),
    "numbers as labels": Maker().sample("a", 1, bytes=(8, "B")).sample("a", 2, bytes=(8, "kB")).bytes(),
    "a text and a number of one key": Maker().sample("a", 1, k="8").sample("a", 2, k=(8, "")).bytes(),
    "an empty label": changed(Maker().sample("a", 1).bytes(), lambda m: m.sample[0].label.add()),
    "a type without samples": Maker("x/count", "y/count").sample("a", 1, 0).sample("b", 2, 0).bytes(),
    "types interleaved": Maker("x/c", "y/c", "z/c")
    .sample("a", 1, 2, 3)
    .sample("b", 0, 5, 0)
    .sample("a", 7, 0, 9)
    .bytes(),
    "a function without a name": Maker().sample("a;b", 1).bytes().replace(b"\x01b", b"\x01c"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_profiles(name: str) -> None:
    check([UNUSUAL[name]])


def test_unusual_profiles_in_one_batch() -> None:
    check([*UNUSUAL.values(), plain()])


def test_rows_of_types_without_samples_are_kept() -> None:
    profiles = normalised([EMPTY.bytes()]).batch.profiles
    assert profiles.select(["n", "total", "type_no"]).to_pylist() == [
        {"n": 0, "total": 0, "type_no": 0},
        {"n": 0, "total": 0, "type_no": 1},
    ]


def test_inlined_lines_columns_and_folded_locations() -> None:
    maker = Maker().sample("a;b", 5).sample("c", 2)

    def inline(message: profile_pb2.Profile) -> None:
        message.location[0].line.add(function_id=3, line=7, column=2)
        message.location[1].line[0].column = 9
        message.location[2].is_folded = True

    check([maker.bytes(), changed(maker.bytes(), inline)])


def bare(*mapping: str, service: str = "") -> bytes:
    """Two profiles' worth of addresses: one location without lines in a mapping (file, build id)."""
    maker = Maker()
    maker.message.sample.add(location_id=[1], value=[1])
    maker.message.location.add(id=1, address=0x5010, mapping_id=1 if mapping else 0)
    if mapping:
        filename, build_id = (maker.text(text) for text in mapping)
        maker.message.mapping.add(
            id=1,
            memory_start=0x5000,
            memory_limit=0x6000,
            file_offset=0x100,
            filename=filename,
            build_id=build_id,
        )
    return maker.bytes()


@pytest.mark.parametrize("mapping", [("", ""), ("/bin/a", ""), ("/bin/a", "b1"), ("", "b1"), ()])
def test_locations_without_lines(mapping: tuple[str, ...]) -> None:
    check([bare(*mapping)])


def test_an_address_is_told_by_build_id_then_file_then_service() -> None:
    def location(raw: bytes) -> list[int]:
        found: list[int] = normalised([raw, raw]).batch.locations.column("location_id").to_pylist()
        return found

    assert location(bare("/bin/a", "b1")) == location(bare("/other", "b1"))
    assert location(bare("/bin/a", "")) != location(bare("/other", ""))
    assert len(location(bare("/bin/a", ""))) == 1
    assert len(location(bare("", ""))) == 2, "each profile is of its own service"
    assert (
        len({location(bare(*mapping))[0] for mapping in (("/bin/a", "b1"), ("/bin/a", ""), ("", ""), ())})
        == 4
    )


def test_a_rebuilt_binary_makes_no_new_stacks() -> None:
    def moved(message: profile_pb2.Profile) -> None:
        for location in message.location:
            location.address += 0x400

    old, new = normalised([plain()]).batch, normalised([changed(plain(), moved)]).batch
    assert old.stacks.equals(new.stacks)
    assert not old.locations.equals(new.locations), "the address is an attribute"
