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
    """Files of it are recognised, without a store and on their way into one."""
    for number in range(3):
        (tmp_path / f"{number}.tally").write_bytes(TALLY + b"1 main\n" * number)
    top = json.loads(run(extended, "top", "-f", "json", str(tmp_path / "0.tally")))
    assert [(row["function"], row["self"]) for row in top[:2]] == [("read", 12), ("idle", 3)]
    store = ("--store", str(tmp_path / "store"))
    done = json.loads(
        run(extended, "ingest", "-f", "json", "--time", "-1h", str(tmp_path / "*.tally"), *store)
    )
    assert (done["new"], done["refused"]) == (3, [])
    stored = json.loads(run(extended, "top", "-f", "json", *store))
    assert [(row["function"], row["self"]) for row in stored[:2]] == [("read", 36), ("idle", 9)]


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


def test_broken_formats_are_their_packages_fault(extended: Path, tmp_path: Path) -> None:
    """A line for each file that names the package, and a good file is read all the same."""
    faults = {
        b"who knows": "'b-raising' of the package flameduck-broken: RuntimeError: it needs a licence",
        b"fall at once": "'a-failing' of the package flameduck-broken: ZeroDivisionError: a head of nothing",
        b"fall": "'a-failing' of the package flameduck-broken: IndexError: off the end",
        b"lie": "'a-failing' of the package flameduck-broken: decode() must yield Decoded",
    }
    files = [tmp_path / str(number) for number in range(len(faults))]
    for file, content in zip(files, faults, strict=True):
        file.write_bytes(content)
    (tmp_path / "good.tally").write_bytes(TALLY)
    done = run_anyhow(extended, "top", "-f", "json", *map(str, files), str(tmp_path / "good.tally"))
    assert (done.returncode, json.loads(done.stdout)[0]["self"]) == (1, 12)
    lines = dict(line.removeprefix("flameduck: ").split(": ", 1) for line in done.stderr.splitlines())
    assert lines.keys() == set(map(str, files))
    for file, fault in zip(files, faults.values(), strict=True):
        assert f"plug-in {fault}" in lines[str(file)]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("b-raising", "RuntimeError: it needs a licence"),
        ("c-missing", "ModuleNotFoundError: No module named 'flameduck_broken_nowhere'"),
        ("d-lacking", "a format needs the method 'decode', which flameduck_broken:Lacking lacks"),
    ],
)
def test_a_broken_format_that_is_asked_for(extended: Path, tmp_path: Path, name: str, fault: str) -> None:
    (tmp_path / "file").write_bytes(b"main 1\n")
    done = run_anyhow(extended, "top", "--input-format", name, str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (
        1,
        f"flameduck: {tmp_path / 'file'}: plug-in {name!r} of the package flameduck-broken: {fault}\n",
    )


def test_a_broken_output_is_its_packages_fault(extended: Path, fixtures: Path) -> None:
    done = run_anyhow(extended, "export", "-f", "failing", "--type", "cpu", str(fixtures / "go-cpu.pb.gz"))
    assert done.returncode == 2
    assert done.stderr == "flameduck: plug-in 'failing' of the package flameduck-broken: OSError: no ink\n"
