"""What processes of ours do first: they do without pandas, which others in them still can load; servers give memory
back.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

with_pandas = pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")


def run(*lines: str) -> str:
    """What a Python process prints."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@with_pandas
def test_a_server_starts_without_pandas_and_can_load_it() -> None:
    shown = run(
        "import sys",
        "from flameduck.engine.execution.start import start_without_pandas",
        "start_without_pandas()",
        "import flameduck.engine.services.http.run",
        "import pyarrow as pa",
        "table = pa.table({'a': [1, 2]})",
        "print('pandas' in sys.modules, len(table.to_pandas()), 'pandas' in sys.modules)",
        "import pandas",
        "print(pandas.Series([1]).sum())",
    )
    lines = shown.splitlines()
    assert lines[0] == "False 2 True"
    assert lines[1] == "1"


@with_pandas
def test_a_process_that_has_pandas_keeps_it() -> None:
    shown = run(
        "import pandas",
        "from flameduck.engine.execution.start import start_without_pandas",
        "start_without_pandas()",
        "import pyarrow as pa",
        "print(pa.array(pandas.Series([1.5, None])).null_count)",
    )
    assert shown == "1"


@with_pandas
def test_a_worker_decodes_without_pandas() -> None:
    shown = run(
        "from flameduck.engine.execution.local import LocalExecutor",
        "from tests.engine.test_start import decoded_without_pandas",
        "executor = LocalExecutor(1, 0, inline=False)",
        "print(list(executor.map(decoded_without_pandas, [1], lambda *_: None)))",
        "executor.close()",
    )
    assert shown == "[True]"


def decoded_without_pandas(number: int) -> bool:
    """A worker's task."""
    from flameduck.engine.ingest.decode import DecodeLimits, decode_and_normalise
    from tests.engine.ingest.made_profiles import made_upload

    found = decode_and_normalise([made_upload(number)], DecodeLimits())
    return bool(found.batches) and "pandas" not in sys.modules


@with_pandas
@pytest.mark.parametrize("own", [True, False])
def test_a_command_loads_pandas_only_in_a_program_of_others(own: bool) -> None:
    """One that calls a command may hand lists to pyarrow that pandas must be there for."""
    shown = run(
        "import sys",
        "from flameduck.cli.main import cli",
        "sys.argv = words = ['flameduck', 'top', 'tests/fixtures/go-cpu.pb.gz', '-f', 'json']",
        "try:",
        f"    cli.main({'' if own else 'args=words[1:]'})",
        "except SystemExit as end:",
        "    print()",
        "    print(end.code, 'pandas' in sys.modules)",
    )
    assert shown.splitlines()[-1] == f"0 {not own}"


def test_a_server_allocates_from_the_system() -> None:
    """Arrow's own allocator keeps what Parquet files were written with: half a megabyte for each small block."""
    shown = run(
        "import sys",
        "from flameduck.cli.main import cli",
        "import flameduck.engine.execution.start as start",
        "loaded = start.start_giving_memory_back",
        "start.start_giving_memory_back = lambda: (print('pyarrow' in sys.modules), loaded())",
        "try:",
        "    cli.main(['serve', '--store', 'memory://', '--http-port', '1', '--http-host', 'nowhere.invalid'])",
        "except SystemExit:",
        "    import pyarrow as pa",
        "    print(pa.default_memory_pool().backend_name)",
    )
    assert shown.splitlines() == ["False", "system"]
