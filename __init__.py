"""flameduck: a continuous-profiling database over open Parquet files."""

__version__ = "0.1.0"
