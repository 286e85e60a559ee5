"""A corrupt block is set aside with a reason, stays so, stands in nobody's way, and comes back once it holds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from ulid import ULID

import flameduck
from flameduck.engine.block_set import BlockSet
from flameduck.engine.compaction.compact import Compacted, compact
from flameduck.engine.compaction.examine import LATE_NS
from flameduck.engine.compaction.levels import HOUR_NS, LevelPolicy
from flameduck.engine.settings import Settings
from flameduck.engine.storage.blocks import read_meta
from flameduck.engine.storage.cache import block_locator
from flameduck.engine.storage.catalog import Catalog
from flameduck.engine.storage.objects import open_objects
from flameduck.engine.storage.quarantine import Quarantine
from flameduck.engine.storage.verify import broken_promises
from flameduck.engine.upkeep import Upkeep
from flameduck.schema.errors import CorruptBlock, StorageError
from tests.engine.compaction.made_blocks import Made, put_blocks, store_of
from tests.engine.ingest.made_profiles import START_NS, answers, command, made_upload, problems
from tests.engine.storage.faulty_objects import FaultyObjects

STEP_NS = 3 * HOUR_NS
BLOCKS: list[list[Made]] = [[(number, number, "cart", False)] for number in range(5)]
AT = 2
"""Which of the blocks is damaged; they are three hours apart."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_of(tmp_path / "store", BLOCKS, STEP_NS)


def damaged(store: Path, name: str = "samples.parquet") -> Path:
    """A file of one block, with a bit that is not as it was written."""
    path = sorted(store.glob(f"anonymous/blocks/*/{name}"))[AT]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return path


def run(store: Path, objects: FaultyObjects | None = None) -> list[Compacted]:
    """Compaction, over objects that are watched."""
    opened = objects or open_objects(str(store))
    locate = block_locator(opened, store / "cache", 1 << 30)
    settings = Settings(temp_directory=str(store / "spill"))
    blocks = BlockSet(opened, Catalog(opened, "anonymous"), "anonymous", locate, settings)
    return list(compact(blocks, LevelPolicy()))


def records(store: Path, *words: str, code: int = 0) -> list[dict[str, object]]:
    done = command("blocks", "quarantine", "--store", store, "--format", "json", *words)
    assert done.returncode == code, done.stderr
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def test_it_is_read_once_and_set_aside_for_good(store: Path) -> None:
    assert records(store) == []
    ulid = damaged(store).parent.name
    before_ns = time.time_ns()
    done = command("compact", "--store", store)
    assert done.returncode == 1
    assert f"block {ulid}: samples.parquet: checksum differs" in done.stderr
    (record,) = records(store)
    assert (record["ulid"], record["found_by"], record["live"]) == (ulid, "compact", True)
    assert "samples.parquet: checksum differs" in str(record["reason"])
    assert before_ns <= int(str(record["time"])) <= time.time_ns()
    (path,) = store.glob("anonymous/quarantine/*.json")
    assert path.stem == ulid
    watched, read = FaultyObjects(open_objects(str(store))), list[str]()
    watched.before = lambda operation, path: read.append(path)
    store_of(store, [[(7, 7, "cart", False)]], STEP_NS)
    assert [list(one.problems) for one in run(store, watched)] == [[]]
    assert not [path for path in read if f"/blocks/{ulid}/" in path]
    again = command("compact", "--store", store)
    assert (again.returncode, again.stderr) == (
        0,
        "flameduck: corrupt blocks set aside: 1; see flameduck blocks quarantine\n",
    )


def test_questions_that_need_it_say_so_and_others_go_on(store: Path) -> None:
    ulid = damaged(store).parent.name
    assert [bool(one.problems) for one in run(store)] == [True, False]
    before_ns, after_ns = START_NS + AT * STEP_NS, START_NS + (AT + 1) * STEP_NS
    with flameduck.open(store) as db:
        with pytest.raises(CorruptBlock, match=f"block {ulid} was set aside as corrupt .*checksum differs"):
            db.flamegraph(type="cpu")
        with pytest.raises(CorruptBlock, match=ulid):
            db.top(type="cpu", start=before_ns, end=after_ns)
        # The healthy ones became one block, which reaches over the time of the corrupt one.
        assert db.flamegraph(type="cpu", end=before_ns).total > 0
        assert db.flamegraph(type="cpu", start=after_ns).total > 0
        assert {row["ulid"]: row["quarantined"] != "" for row in db.blocks().to_dicts()} == {
            row["ulid"]: row["ulid"] == ulid for row in db.blocks().to_dicts()
        }
        assert db.ingest([made_upload(number) for number in range(50, 54)]).new == 4
    listed = command("blocks", "list", "--store", store)
    assert listed.returncode == 0
    assert "checksum differs" in listed.stdout


def test_it_comes_back_once_it_holds(store: Path) -> None:
    expected = answers(store, START_NS)
    path = sorted(store.glob("anonymous/blocks/*/stacks.parquet"))[AT]
    whole = path.read_bytes()
    assert damaged(store, "stacks.parquet") == path
    ulid = path.parent.name
    run(store)
    for words in (["--check"], ["--release", ulid[:20]]):
        (row,) = records(store, *words, code=1)
        assert (row["state"], row["problems"]) == ("does not hold", ["stacks.parquet: checksum differs"])
    assert [row["state"] for row in records(store)] == ["set aside"]
    path.write_bytes(whole)
    assert [row["state"] for row in records(store, "--check")] == ["holds"]
    assert [row["state"] for row in records(store, "--release", ulid)] == ["released"]
    assert records(store) == []
    assert answers(store, START_NS) == expected
    assert [list(one.problems) for one in run(store)] == [[]]
    assert answers(store, START_NS) == expected
    assert problems(store) == []
    missing = command("blocks", "quarantine", "--store", store, "--release", ulid)
    assert missing.returncode == 1
    assert "0 blocks in quarantine" in missing.stderr


def test_a_record_that_is_broken_keeps_its_block_aside(store: Path) -> None:
    ulid = damaged(store).parent.name
    run(store)
    folder = store / "anonymous" / "quarantine"
    (folder / f"{ulid}.json").write_text("{")
    for name in ("notes.txt", "notes.json", f"{ulid}.json.bak"):
        (folder / name).write_text("mine")
    (row,) = records(store)
    assert (row["ulid"], row["reason"]) == (
        ulid,
        f"anonymous/quarantine/{ulid}.json: not the record of this block",
    )
    assert run(store) == []


def test_a_sweep_forgets_what_is_gone(store: Path) -> None:
    damaged(store)
    run(store)
    quarantine = Quarantine(open_objects(str(store)), "anonymous")
    assert len(quarantine.blocks()) == 1
    list(Upkeep(str(store), "anonymous").sweep(0, act=True))
    ((ulid, _),) = quarantine.blocks().items()
    Catalog(open_objects(str(store)), "anonymous").commit([], [ulid], "retention")
    assert [row["state"] for row in records(store)] == ["not live"]
    list(Upkeep(str(store), "anonymous").sweep(-HOUR_NS, act=True))
    assert quarantine.blocks() == {}


def test_what_may_only_be_late_is_not_set_aside(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sorted(store.glob("anonymous/blocks/*/meta.json"))[AT]
    path.unlink()
    first, second = run(store)
    assert [len(first.problems), len(second.problems)] == [1, 0]
    assert all("meta.json: is not there" in reason for reason in first.problems.values())
    assert records(store) == []
    later_ns = time.time_ns() + 2 * LATE_NS
    monkeypatch.setattr("flameduck.engine.compaction.examine.time.time_ns", lambda: later_ns)
    store_of(store, [[(7, 7, "cart", False)]], STEP_NS)
    assert [len(one.problems) for one in run(store)] == [1, 0]
    assert [row["ulid"] for row in records(store)] == [path.parent.name]


def test_what_cannot_be_read_for_lack_of_rights_is_not_corrupt(store: Path) -> None:
    ulid = sorted(path.name for path in store.glob("anonymous/blocks/*"))[AT]
    watched = FaultyObjects(open_objects(str(store)))

    def deny(operation: str, path: str) -> None:
        if operation == "read" and f"/{ulid}/" in path:
            raise StorageError(f"{path}: Access Denied")

    watched.before = deny
    with pytest.raises(StorageError, match="Access Denied"):
        run(store, watched)
    assert records(store) == []
    assert [list(one.problems) for one in run(store)] == [[]]


def test_an_answer_to_another_question_sets_nothing_aside(store: Path) -> None:
    """A store that once answers with another block's bytes is asked again."""
    watched = FaultyObjects(open_objects(str(store)))
    metas = [f"anonymous/blocks/{path.name}/meta.json" for path in sorted(store.glob("anonymous/blocks/*"))]
    read, wrong = watched.read, {metas[AT]: 1}

    def swapped(path: str, start: int | None = None, stop: int | None = None) -> bytes:
        if wrong.get(path, 0):
            wrong[path] -= 1
            return read(metas[0])
        return read(path, start, stop)

    watched.read = swapped  # type: ignore[method-assign]
    assert [list(one.problems) for one in run(store, watched)] == [[]]
    assert records(store) == []


def test_a_file_that_comes_wrong_once_is_read_again(tmp_path: Path) -> None:
    objects = FaultyObjects(open_objects(f"memory://{ULID()}"))
    put_blocks(objects, BLOCKS[:1])
    (ulid,) = Catalog(objects, "anonymous").load().blocks
    meta = read_meta(objects, "anonymous", ulid)
    garbled_path = f"anonymous/blocks/{ulid}/samples.parquet"
    read, wrong = objects.read, [1]

    def garbled(path: str, start: int | None = None, stop: int | None = None) -> bytes:
        data = read(path, start, stop)
        if path == garbled_path and wrong[0]:
            wrong[0] -= 1
            return bytes(len(data))
        return data

    objects.read = garbled  # type: ignore[method-assign]
    assert list(broken_promises(objects, meta, str(tmp_path))) == []
    wrong[0] = 2
    assert list(broken_promises(objects, meta, str(tmp_path))) == ["samples.parquet: checksum differs"]


def test_names_are_checked(tmp_path: Path) -> None:
    quarantine = Quarantine(open_objects(str(tmp_path)), "anonymous")
    ulid = str(ULID())
    quarantine.add(ulid, "why", "test")
    assert [(one.reason, one.found_by) for one in quarantine.blocks().values()] == [("why", "test")]
    quarantine.release(ulid)
    quarantine.release(ulid)
    assert quarantine.blocks() == {}
