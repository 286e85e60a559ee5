"""What is shipped: every module and data file, in a wheel that works where nothing else is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ROOT / "tests" / "plugins"
FOLDERS = ("cli", "engine", "schema")
SHIPPED = {".py", ".sql", ".html", ".js", ".css", ".proto", ".pyi"}


def shipped_files() -> set[str]:
    """The files of the package, as they are named in the wheel."""
    files = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SHIPPED}
    files |= {path for path in (ROOT / "cli" / "demo_data").iterdir() if path.is_file()}
    files |= {ROOT / "__init__.py", ROOT / "py.typed"}
    return {f"flameduck/{path.relative_to(ROOT).as_posix()}" for path in files}


def package_folders() -> set[str]:
    """The folders that setuptools must be told of: those of modules, and those of SQL files."""
    names = (PurePosixPath(name) for name in shipped_files())
    return {".".join(name.parent.parts) for name in names if name.suffix in {".py", ".sql", ".html", ".js"}}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a source distribution as a release is."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `flameduck` command of a fresh environment that holds the wheel, and borrows its dependencies."""
    return make_environment(tmp_path_factory.mktemp("installed"), [wheel])


@pytest.fixture(scope="session")
def extended(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the plug-ins of tests/plugins, one that works and one that does not."""
    # A build leaves files in its folder.
    sources = Path(shutil.copytree(PLUGINS, tmp_path_factory.mktemp("plugins") / "sources"))
    packages = [wheel, *sorted(path.parent for path in sources.glob("*/pyproject.toml"))]
    return make_environment(tmp_path_factory.mktemp("extended"), packages)


def make_environment(venv: Path, packages: Sequence[Path]) -> Path:
    """An environment that holds some packages, without network; the path of its `flameduck`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    # Dependencies are taken from here to save a download. A plain path entry runs no .pth file of that
    # folder, so the editable install in it does not shadow the wheel.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = venv / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    subprocess.run([*pip, *offline, *map(str, packages)], check=True, cwd=venv)
    origin = "import flameduck, sys; sys.exit(not flameduck.__file__.startswith(sys.prefix))"
    subprocess.run([str(python), "-c", origin], check=True, cwd=venv)
    return venv / "bin" / "flameduck"


def run(command: Path, *arguments: str) -> str:
    """What it prints when all goes well."""
    done = run_anyhow(command, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_anyhow(command: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it far from the checkout, which could lend it modules."""
    return subprocess.run(
        [str(command), *arguments], capture_output=True, text=True, check=False, cwd=command.parent
    )


def test_the_package_list_is_the_tree() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(package_folders())


def test_only_the_package_itself_is_a_module_at_the_root() -> None:
    """Any other would be shipped inside the package."""
    assert [path.name for path in ROOT.glob("*.py")] == ["__init__.py"]


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == shipped_files()


def test_the_wheel_runs_in_an_empty_environment(installed: Path, fixtures: Path) -> None:
    assert run(installed, "--version").startswith("flameduck ")
    assert "main.spin" in run(installed, "top", "--format", "json", str(fixtures / "go-cpu.pb.gz"))


def test_the_wheel_brings_the_sql_and_the_demo(installed: Path) -> None:
    assert "samples" in run(installed, "schema")


TALLY = b"tally\n12 main > work > read\n3 main > idle\n"


def test_a_package_adds_a_format(extended: Path, tmp_path: Path) -> None:
    """Files of it are recognised, alone and in a store, in this process and in workers."""
    for number in range(5):
        (tmp_path / f"{number}.tally").write_bytes(TALLY)
    top = json.loads(run(extended, "top", "-f", "json", str(tmp_path / "0.tally")))
    assert [(row["function"], row["self"]) for row in top[:2]] == [("read", 12), ("idle", 3)]
    store = ("--store", str(tmp_path / "store"))
    files = [str(tmp_path / f"{number}.tally") for number in range(5)]
    done = json.loads(run(extended, "ingest", "-f", "json", "--time", "-1h", "-j", "2", *files[:1], *store))
    assert (done["new"], done["refused"]) == (1, [])
    stored = json.loads(run(extended, "top", "-f", "json", *store))
    assert [(row["function"], row["self"]) for row in stored[:2]] == [("read", 12), ("idle", 3)]


def test_a_package_adds_an_output(extended: Path, tmp_path: Path) -> None:
    """What it writes is what it reads."""
    (tmp_path / "a.tally").write_bytes(TALLY)
    written = run(extended, "export", "-f", "tally", str(tmp_path / "a.tally")).encode()
    assert sorted(written.splitlines()) == sorted(TALLY.splitlines())


def test_a_bad_file_of_a_packages_format_names_the_line(extended: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tally").write_bytes(b"tally\n12 main\nx main\n")
    done = run_anyhow(extended, "top", str(tmp_path / "bad.tally"))
    assert (done.returncode, done.stderr) == (
        1,
        f"flameduck: {tmp_path / 'bad.tally'}: line 3: 'x' is no count\n",
    )


@pytest.mark.parametrize(
    ("content", "name", "fault", "named"),
    [
        (b"main 1\n", "b-raising", "RuntimeError: it needs a licence", True),
        (b"main 1\n", "c-missing", "ModuleNotFoundError: No module named", True),
        (
            b"main 1\n",
            "d-lacking",
            "a format needs the method 'decode', which flameduck_broken:Lacking",
            True,
        ),
        (b"who knows", "b-raising", "RuntimeError: it needs a licence", False),
        (b"fall at once", "a-failing", "ZeroDivisionError: a head of nothing", False),
        (b"fall", "a-failing", "IndexError: off the end", False),
        (b"lie", "a-failing", "decode() must yield Decoded", False),
    ],
)
def test_a_broken_format_is_its_packages_fault(
    extended: Path, tmp_path: Path, content: bytes, name: str, fault: str, named: bool
) -> None:
    """One line that names the package, and other files are read all the same."""
    options = ["--input-format", name] if named else []
    (tmp_path / "broken").write_bytes(content)
    (tmp_path / "good.tally").write_bytes(TALLY)
    done = run_anyhow(extended, "top", *options, str(tmp_path / "broken"))
    assert done.returncode == 1
    assert f"plug-in {name!r} of the package flameduck-broken: {fault}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    if not named:
        both = run_anyhow(
            extended, "top", "-f", "json", *(str(tmp_path / file) for file in ("broken", "good.tally"))
        )
        assert (both.returncode, json.loads(both.stdout)[0]["self"]) == (1, 12)


def test_a_broken_output_is_its_packages_fault(extended: Path, fixtures: Path) -> None:
    done = run_anyhow(extended, "export", "-f", "failing", "--type", "cpu", str(fixtures / "go-cpu.pb.gz"))
    assert done.returncode == 2
    assert done.stderr == "flameduck: plug-in 'failing' of the package flameduck-broken: OSError: no ink\n"
