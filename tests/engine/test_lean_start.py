"""What a process of ours does not need is not loaded into it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from flameduck.engine.execution.lean_start import keep_pandas_out
keep_pandas_out()
import flameduck.engine.services.http.run
import flameduck.engine.services.decoding
import pyarrow as pa
pa.array(range(3))
assert "pandas" not in sys.modules
import pandas
assert pa.array(pandas.Series([1, 2])).to_pylist() == [1, 2]
"""


def test_pandas_stays_out_until_it_is_asked_for() -> None:
    pytest.importorskip("pandas")
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
