"""What importing flameduck loads: nothing heavy before it is used."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "duckdb",
    "fsspec",
    "google.protobuf",
    "isal",
    "numpy",
    "polars",
    "prompt_toolkit",
    "ptars",
    "pyarrow",
}


def modules_after(statement: str) -> set[str]:
    """The names of the modules that a fresh interpreter holds after a statement."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return set(json.loads(out))


@pytest.mark.parametrize(
    "statement",
    ["import flameduck", "import flameduck.cli.main", "import flameduck.schema", "import flameduck.engine"],
)
def test_imports_are_light(statement: str) -> None:
    assert modules_after(statement) & HEAVY == set()


def test_the_console_script_loads_only_click() -> None:
    """`rich` is what people's tables need, not `--help`."""
    assert modules_after("import flameduck.cli.main") & {"rich", "pygments", "asyncio"} == set()


def test_the_schema_stands_alone() -> None:
    loaded = modules_after(
        "import flameduck.schema.tables, flameduck.schema.request, flameduck.schema.partial"
    )
    assert not {name for name in loaded if name.startswith(("flameduck.engine", "flameduck.cli", "duckdb"))}
