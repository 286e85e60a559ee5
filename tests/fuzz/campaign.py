"""Ingest mutants among good profiles, and hold the store to what it promises: `python -m tests.fuzz.campaign 0 5`.

Each round, told by its number, has a store of its own in memory; the mutants of a round differ from all others.
Prints one line of JSON; fails with the number of the round when a promise is broken.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import flameduck
from flameduck.engine.compaction.plan import MergePolicy
from flameduck.engine.compaction.run import merge_small_blocks
from flameduck.engine.connection import Connection
from flameduck.engine.embedded import StoreDatabase
from flameduck.schema.profile import Rules, Upload
from flameduck.schema.request import IngestOptions
from tests.engine.ingest.made_profiles import START_NS, made_profile, made_total, made_upload
from tests.fuzz.mutations import FOLDED, PPROF, mutant

MUTANTS_OF_ROUND = 200
GOOD_OF_ROUND = 20
GOOD_FOLDED = b"main;work 3\nmain;idle 4\n"
SLOWEST_S = 5.0
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


@dataclass
class Seen:
    """What came of the rounds so far."""

    mutants: int = 0
    taken: int = 0
    slowest_s: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)


def load_corpus() -> tuple[list[bytes], list[bytes]]:
    """Good pprofs, inflated and none too long, and good folded stacks."""
    raws = [
        gzip.decompress(path.read_bytes())
        for path in sorted(FIXTURES.glob("*.pb.gz"))
        if ".labels" not in path.suffixes
    ]
    pprofs = [raw for raw in raws if len(raw) < 100_000] + [made_profile(number) for number in range(6)]
    lines = (FIXTURES / "python-cpu.folded").read_bytes().splitlines()
    return pprofs, [b"\n".join(lines[at : at + 20]) + b"\n" for at in range(0, len(lines), 20)] + [
        GOOD_FOLDED
    ]


def run_round(number: int, corpus: tuple[list[bytes], list[bytes]], seen: Seen) -> None:
    """Ingest, check, merge, check again."""
    chance = random.Random(number)
    pprofs, folded = corpus
    uploads = [made_upload(one, kind="good") for one in range(GOOD_OF_ROUND)]
    uploads.append(Upload(GOOD_FOLDED, {"kind": "good folded"}, "good", START_NS))
    for count in range(MUTANTS_OF_ROUND):
        data = mutant(folded, FOLDED, chance) if count % 5 == 4 else mutant(pprofs, PPROF, chance)
        rules: Rules = "pyroscope" if chance.random() < 0.3 else "verbatim"
        kind = {"kind": "mutant", "number": str(count)}
        uploads.append(Upload(data, kind, f"mutant-{count}", START_NS, rules=rules))
    chance.shuffle(uploads)
    with flameduck.open(f"memory://fuzz-{number}") as db:
        _ingest(db, uploads, seen)
        before = _check(db)
        assert isinstance(db.database, StoreDatabase)
        merge_small_blocks(db.database.blocks, MergePolicy(enough=1))
        assert _check(db) == before, "a merge changed answers"
    seen.mutants += MUTANTS_OF_ROUND


def _ingest(db: Connection, uploads: list[Upload], seen: Seen) -> None:
    last = time.monotonic()

    def progress(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        seen.slowest_s = max(seen.slowest_s, now - last)
        last = now

    report = db.database.ingest(uploads, IngestOptions(jobs=2, progress=progress))
    refused = [one.origin for one in report.refused]
    assert all(origin.startswith("mutant-") for origin in refused), refused
    assert len(set(refused)) == len(refused)
    for one in report.refused:
        assert "\n" not in one.reason, one
        seen.reasons[" ".join(one.reason.split()[:3])] += 1
        assert one.reason != "it crashed the decoder", one
    seen.taken += MUTANTS_OF_ROUND - len(refused)


def _check(db: Connection) -> list[object]:
    """The good ones are as they were, and everything that was taken can be asked for."""
    good = '{kind="good"}'
    assert db.flamegraph(good, type="cpu").total == made_total(range(GOOD_OF_ROUND))
    assert len(db.profiles(good, type="cpu").fetchall()) == GOOD_OF_ROUND
    assert sorted(db.export('{kind="good folded"}', format="folded").splitlines()) == [
        b"main;idle 4",
        b"main;work 3",
    ]
    everything: list[object] = [sorted(map(str, db.profiles().to_dicts()))]
    for kind in db.profile_types():
        tree = db.tree(type=kind).to_dicts()
        assert tree[0]["total"] == sum(row["self"] for row in tree), kind
        listed = sum(row["total"] for row in db.profiles(type=kind).to_dicts())
        assert tree[0]["total"] == listed, kind
        everything.append((kind, sorted(db.top(type=kind).fetchall())))
    return everything


def main(first: int, rounds: int) -> None:
    """Run some rounds and print what was seen."""
    corpus = load_corpus()
    seen = Seen()
    for number in range(first, first + rounds):
        print(f"round {number}", file=sys.stderr)
        run_round(number, corpus, seen)
    said = {"mutants": seen.mutants, "taken": seen.taken, "slowest_s": round(seen.slowest_s, 2)}
    print(json.dumps(said | {"reasons": dict(seen.reasons.most_common(20))}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
