"""The documents hold together: links lead somewhere, and every decision is in the index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flameduck.engine.formats import FORMATS
from flameduck.engine.query.outputs import OUTPUTS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
DECISIONS = ROOT / "docs" / "decisions"


def anchors(document: Path) -> set[str]:
    """The anchors that a page of it has, one a heading."""
    headings = re.findall(r"^#+ +(.*)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(document: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(document.read_text()):
        path = document.parent / target if target else document
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_the_decisions_index_is_complete() -> None:
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (DECISIONS / "README.md").read_text())
    there = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert listed == there
    assert [name[:4] for name in there] == [f"{number:04}" for number in range(1, len(there) + 1)]


def test_adding_a_format_shows_the_package_that_is_tested() -> None:
    """tests/test_packaging.py installs and uses it."""
    package = ROOT / "tests" / "plugins" / "flameduck_tally"
    shown = (ROOT / "docs" / "adding-a-format.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", shown, re.DOTALL | re.MULTILINE)
    module = (package / "flameduck_tally.py").read_text()
    assert [block for block in blocks if block not in module] == []
    begins = re.findall(r"^(?:class|def) \w+", module, re.MULTILINE)
    assert begins == re.findall(r"^(?:class|def) \w+", "".join(blocks), re.MULTILINE)
    assert f"```toml\n{(package / 'pyproject.toml').read_text()}```" in shown


def readme_block(start: str) -> str:
    """The code block of the README that begins with `start`."""
    blocks: list[str] = re.findall(
        r"^```(?:python)?\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return next(block for block in blocks if block.startswith(start))


def test_the_tour_of_the_readme_works(tmp_path: Path, fixtures: Path) -> None:
    """The commands, then the same in Python, over a store that the commands made."""
    folder = tmp_path / "tests" / "fixtures"
    shutil.copytree(fixtures, folder, ignore=shutil.ignore_patterns("programs"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command, block in (
        ("bash", readme_block("cd tests/fixtures")),
        (sys.executable, readme_block("import")),
    ):
        script = block.replace("/tmp/profiles", str(tmp_path / "store"))
        options = ["-e", "-c"] if command == "bash" else ["-c"]
        done = subprocess.run(
            [command, *options, script],
            cwd=tmp_path if command == "bash" else folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_every_format_is_described() -> None:
    """By name in a heading or in the first column of the table of docs/formats.md."""
    text = (ROOT / "docs" / "formats.md").read_text()
    described = set(
        re.findall(r"`([a-z0-9-]+)`", "\n".join(re.findall(r"^\| ([^|]+)\|", text, re.MULTILINE)))
    )
    described |= set(re.findall(r"^## ([a-z0-9-]+)$", text, re.MULTILINE))
    assert {*FORMATS, *OUTPUTS} - described == set()
