"""Every profile is stored once, however often, in whatever order and by however many it is brought."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

import flameduck
from flameduck.schema.profile import Upload
from tests.engine.ingest.made_profiles import (
    COMMAND,
    START_NS,
    answers,
    command,
    cpu_total,
    made_profile,
    made_total,
    made_upload,
    problems,
    write_profiles,
)

FOLDED = b"main;work 3\nmain;idle 4\n"


def memory_store() -> str:
    return f"memory://{uuid4().hex}"


def test_again_in_another_order_and_one_by_one() -> None:
    with flameduck.open(memory_store()) as db:
        uploads = [made_upload(number) for number in range(20)]
        report = db.ingest(uploads)
        assert (report.new, report.known, report.refused) == (20, 0, ())
        assert len(report.blocks) == 1
        again = db.ingest(reversed(uploads))
        assert (again.new, again.known, again.blocks) == (0, 20, ())
        for upload in uploads[:3]:
            assert db.ingest(upload).known == 1
        more = db.ingest([made_upload(number) for number in range(15, 25)])
        assert (more.new, more.known) == (5, 5)
        assert db.flamegraph(type="cpu").total == made_total(range(25))
        assert len(db.profiles(type="cpu").fetchall()) == 25


def test_the_same_twice_in_one_ingest() -> None:
    with flameduck.open(memory_store()) as db:
        report = db.ingest([made_upload(1), made_upload(2), made_upload(1), made_upload(1)])
        assert (report.new, report.known) == (2, 2)
        assert db.flamegraph(type="cpu").total == made_total([1, 2])
        folded = [Upload(FOLDED, {"service_name": "made"}, time_ns=START_NS) for _ in range(3)]
        report = db.ingest(folded)
        assert (report.new, report.known) == (1, 2)


def test_the_same_in_two_groups_of_one_ingest() -> None:
    """Groups are decoded apart from each other, in processes, and both come into one block."""
    with flameduck.open(memory_store()) as db:
        uploads = [made_upload(number) for number in range(100)]
        report = db.ingest([*uploads, *uploads])
        assert (report.new, report.known) == (100, 100)
        assert db.flamegraph(type="cpu").total == made_total(range(100))


def test_another_time_or_other_labels_are_another_profile() -> None:
    """A profile with a time keeps it; one without has that of its upload."""
    with flameduck.open(memory_store()) as db:
        untimed = [Upload(FOLDED, {"service_name": "made"}, time_ns=START_NS + k) for k in range(3)]
        assert db.ingest(untimed).new == 3
        assert db.ingest(untimed).known == 3
        assert db.flamegraph().total == 21
    with flameduck.open(memory_store()) as db:
        assert db.ingest([made_upload(1), made_upload(1, zone="b"), made_upload(1, zone="b")]).new == 2
        assert db.flamegraph(type="cpu").total == 2 * made_total([1])
        assert db.flamegraph('{zone="b"}', type="cpu").total == made_total([1])


def test_files_of_one_content_are_one_profile(tmp_path: Path) -> None:
    for name in ("a.pb", "b.pb", "c.pb"):
        (tmp_path / name).write_bytes(made_profile(7))
    store = tmp_path / "store"
    done = command("ingest", tmp_path, tmp_path / "a.pb", "--service", "made", "--store", store)
    assert (done.returncode, done.stdout) == (0, "1 new, 2 known, 0 refused; 1 blocks written\n")
    assert cpu_total(store) == made_total([7])


def test_two_processes_bring_the_same_at_once(tmp_path: Path) -> None:
    """Whoever stores what, whoever merges: no answer counts anything twice, and neither of them fails."""
    folder = write_profiles(tmp_path / "profiles", range(60))
    store = tmp_path / "store"
    with flameduck.open(store) as db:
        for number in range(7):
            db.ingest(made_upload(number))
    words = [*COMMAND, "ingest", str(folder), "--service", "made", "--store", str(store)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert cpu_total(store) == made_total(range(60))
    assert problems(store) == []
    again = command("ingest", folder, "--service", "made", "--store", store)
    assert again.stdout.startswith("0 new, 60 known, 0 refused")


def test_file_by_file_answers_as_all_at_once() -> None:
    """Twenty ingests of one file each, merged on the way, against one ingest of twenty."""
    piecemeal, whole = memory_store(), memory_store()
    uploads = [made_upload(number, zone="ab"[number % 2]) for number in range(20)]
    uploads += [
        Upload(FOLDED, {"service_name": "made"}, time_ns=START_NS + number * 10**9) for number in range(5)
    ]
    with flameduck.open(piecemeal) as db:
        reports = [db.ingest(upload) for upload in uploads]
        assert {(report.new, report.known, len(report.blocks)) for report in reports} == {(1, 0, 1)}
        assert len(db.blocks()) < 8
    with flameduck.open(whole) as db:
        assert db.ingest(uploads).new == len(uploads)
    assert answers(piecemeal) == answers(whole)
    exported = []
    for store in (piecemeal, whole):
        with flameduck.open(store) as db, flameduck.open(db.export(type="cpu", format="pprof")) as file:
            exported.append(sorted(file.export(type="cpu", format="folded").splitlines()))
    assert exported[0] == exported[1]
