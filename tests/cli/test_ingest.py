"""`flameduck ingest`: what it takes, what it says, and that it can be repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]


def report(result: Result) -> dict[str, object]:
    """The JSON report of an ingest."""
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_ingest_is_idempotent(run: Run, files: Path) -> None:
    words = ["ingest", "before.pb.gz", "after.pb.gz", "--store", "st", "--format", "json"]
    assert report(run(*words))["new"] == 2
    again = report(run(*words))
    assert (again["new"], again["known"], again["blocks"]) == (0, 2, [])


def test_the_others_are_stored_when_one_is_refused(run: Run, files: Path) -> None:
    result = run(
        "ingest", "broken.pb.gz", "before.pb.gz", "gone.pb.gz", "--store", "st", "-f", "json", code=1
    )
    answer = report(result)
    assert answer["new"] == 1
    assert [item["origin"] for item in answer["refused"]] == ["broken.pb.gz", "gone.pb.gz"]  # type: ignore[attr-defined]
    assert "flameduck: gone.pb.gz: No such file or directory" in result.stderr.splitlines()
    assert json.loads(run("top", "--type", "cpu", "-s", "st", "-f", "json").stdout)[0]["function"] == "idle"


def test_report_for_people(run: Run, files: Path) -> None:
    result = run("ingest", "before.pb.gz", "--store", "st")
    assert result.stdout == "1 new, 0 known, 0 refused; 1 blocks written\n"
    assert result.stderr == ""


def test_directories_and_globs(run: Run, files: Path) -> None:
    answer = report(run("ingest", "heap*.pb.gz", "--store", "st", "-f", "json"))
    assert answer["new"] == 2
    Path("deep").mkdir()
    Path("before.pb.gz").rename("deep/x")
    assert report(run("ingest", "deep", "--store", "st", "-f", "json"))["new"] == 1


def test_labels_service_and_name(run: Run, files: Path) -> None:
    said = ["--service", "shop", "--label", "region=eu", "-l", "empty=", "--name", "wall"]
    run("ingest", "before.pb.gz", "--store", "st", *said)
    (labels,) = json.loads(run("labels", "--sets", "-q", '{__type__="cpu"}', "-s", "st", "-f", "json").stdout)
    assert (labels["service_name"], labels["region"], "empty" in labels) == ("shop", "eu", False)
    assert all(kind.startswith("wall:") for kind in json.loads(run("types", "-s", "st", "-f", "json").stdout))


@pytest.mark.parametrize("label", ["noequals", "=value"])
def test_a_bad_label_is_bad_usage(run: Run, files: Path, label: str) -> None:
    assert (
        "expected KEY=VALUE"
        in run("ingest", "before.pb.gz", "--label", label, "--store", "st", code=2).stderr
    )
    assert not Path("st").exists()


def test_tenants_do_not_see_each_other(run: Run, files: Path) -> None:
    run("ingest", "before.pb.gz", "--store", "st", "--tenant", "a")
    assert json.loads(run("types", "--store", "st", "--tenant", "a", "-f", "json").stdout)
    assert json.loads(run("types", "--store", "st", "--tenant", "b", "-f", "json").stdout) == []


def test_store_and_tenant_from_the_environment(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAMEDUCK_STORE", "elsewhere")
    monkeypatch.setenv("FLAMEDUCK_TENANT", "acme")
    run("ingest", "before.pb.gz")
    assert Path("elsewhere/acme").is_dir()
    assert json.loads(run("types", "-f", "json").stdout)


def test_standard_input_needs_a_time(run: Run, files: Path) -> None:
    folded = b"main;work 3\n"
    words = ["ingest", "-", "--store", "st", "--format", "json"]
    refused = run(*words, stdin=folded, code=1)
    assert "<stdin>" in refused.stderr
    assert "time" in refused.stderr
    assert report(run(*words, "--time", "2026-01-01T00:00:00Z", stdin=folded))["new"] == 1
    (profile,) = json.loads(run("profiles", "--store", "st", "--format", "json").stdout)
    assert profile["ts"] == 1_767_225_600 * 10**9


def test_a_pprof_on_standard_input_has_its_own_time(run: Run, files: Path) -> None:
    data = Path("before.pb.gz").read_bytes()
    assert report(run("ingest", "-", "--store", "st", "-f", "json", stdin=data))["new"] == 1


def test_a_question_makes_no_store(run: Run, files: Path) -> None:
    assert "no store at 'flameduck-data'" in run("top", code=2).stderr
    assert "without a store" in run("top", "--store", ".", code=2).stderr
    assert not Path("flameduck-data").exists()


def test_raw_names(run: Run, tmp_path: Path) -> None:
    """Also of commands that read files without a store."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.folded").write_text("main;_Z3fooi 3\n")
    file, other = str(tmp_path / "a.folded"), str(tmp_path / "b.folded")
    store = ["--store", str(tmp_path / "store")]
    run("ingest", file, *store, "--raw-names")
    for words, raw in (
        (["top", file], False),
        (["top", "--raw-names", file], True),
        (["diff", file, other], False),
        (["diff", "--raw-names", file, other], True),
        (["top", *store], True),
    ):
        shown = run(*words).stdout
        assert ("_Z3fooi" in shown, "foo(int)" in shown) == (raw, not raw)
