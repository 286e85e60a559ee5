"""What is shipped: every module and data file, in a wheel that works where nothing else is."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
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
    venv = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    # Dependencies are taken from here to save a download. A plain path entry runs no .pth file of that
    # folder, so the editable install in it does not shadow the wheel.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = venv / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, cwd=venv)
    origin = "import flameduck, sys; sys.exit(not flameduck.__file__.startswith(sys.prefix))"
    subprocess.run([str(python), "-c", origin], check=True, cwd=venv)
    return venv / "bin" / "flameduck"


def run(command: Path, *arguments: str) -> str:
    """Run it far from the checkout, which could lend it modules."""
    done = subprocess.run(
        [str(command), *arguments], capture_output=True, text=True, check=False, cwd=command.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
