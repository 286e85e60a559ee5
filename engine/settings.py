"""Every setting with its default, read once from the environment and a TOML file.

Order: environment (`FLAMEDUCK_MEMORY_BYTES`), then the file that `FLAMEDUCK_SETTINGS` names, then the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..schema.errors import SettingsError

PREFIX = "FLAMEDUCK_"
_NOT_SETTINGS = {"FLAMEDUCK_STORE", "FLAMEDUCK_TENANT", "FLAMEDUCK_SETTINGS"}


def _setting(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Settings:
    """What the engine may use, in one process."""

    memory_bytes: int = _setting(1 << 30, "memory for SQL and for the samples of a block being written")
    threads: int = _setting(0, "threads for SQL; 0: one a core")
    jobs: int = _setting(0, "worker processes that decode; 0: one a core")
    decode_seconds: int = _setting(300, "time for a worker to decode a file, or some small ones; 0: no limit")
    open_blocks_bytes: int = _setting(1 << 30, "memory for the indexes and tries of blocks that stay open")
    block_samples: int = _setting(6_000_000, "samples of a block at most, one profile apart")
    max_file_bytes: int = _setting(1 << 30, "inflated size of one profile file at most")
    temp_directory: str = _setting("", "where SQL spills; empty: the system's")
    cache_directory: str = _setting(
        "", "where blocks of a remote store are kept; empty: the user's cache directory"
    )
    cache_bytes: int = _setting(8 << 30, "disk for blocks of a remote store")

    @property
    def spill_directory(self) -> str:
        """Where SQL spills."""
        import tempfile

        return self.temp_directory or os.path.join(tempfile.gettempdir(), "flameduck-spill")

    @property
    def block_cache(self) -> Path:
        """Where blocks of a remote store are kept."""
        if self.cache_directory:
            return Path(self.cache_directory)
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return Path(base) / "flameduck" / "blocks"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises `SettingsError` that names the setting, its value and the reason."""
    environment = os.environ if environment is None else environment
    known = {f.name: f for f in fields(Settings)}
    values: dict[str, Any] = {}
    path = environment.get("FLAMEDUCK_SETTINGS", "")
    if path:
        for name, value in _read_file(path).items():
            values[name] = _checked(_known(known, name, path), value, path)
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and variable not in _NOT_SETTINGS and name in known:
            values[name] = _parsed(known[name], text, variable)
    return Settings(**values)


def _read_file(path: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _known(known: Mapping[str, Field[Any]], name: str, origin: str) -> Field[Any]:
    if name in known:
        return known[name]
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SettingsError(f"{origin}: unknown setting {name!r}{hint}")


def _parsed(setting: Field[Any], text: str, origin: str) -> Any:
    if isinstance(setting.default, str):
        return text
    try:
        return _checked(setting, int(text), origin)
    except ValueError:
        raise SettingsError(f"{origin}: {text!r} is not a number") from None


def _checked(setting: Field[Any], value: Any, origin: str) -> Any:
    if type(value) is not type(setting.default):
        raise SettingsError(
            f"{origin}: {setting.name} must be {type(setting.default).__name__}, got {value!r}"
        )
    if isinstance(value, int) and value < 0:
        raise SettingsError(f"{origin}: {setting.name} must be 0 or more, got {value}")
    return value
