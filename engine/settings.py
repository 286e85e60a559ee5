"""Every setting with its default, read once from the environment and a TOML file.

Order: environment (`FLAMEDUCK_MEMORY_BYTES`), then the file that `FLAMEDUCK_SETTINGS` names, then the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..schema.errors import SettingsError, Unavailable

PREFIX = "FLAMEDUCK_"
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_NOT_SETTINGS = {"FLAMEDUCK_STORE", "FLAMEDUCK_TENANT", "FLAMEDUCK_SETTINGS"}


def setting(default: Any, help_text: str) -> Any:
    """A field of a settings class."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Settings:
    """What the engine may use, in one process."""

    memory_bytes: int = setting(1 << 30, "memory for SQL and for the samples of a block being written")
    threads: int = setting(0, "threads for SQL; 0: one a core")
    jobs: int = setting(0, "worker processes that decode; 0: one a core")
    decode_seconds: int = setting(300, "time for a worker to decode a file, or some small ones; 0: no limit")
    open_blocks_bytes: int = setting(1 << 30, "memory for the indexes and tries of blocks that stay open")
    block_samples: int = setting(6_000_000, "samples of a block at most, one profile apart")
    max_file_bytes: int = setting(1 << 30, "inflated size of one profile file at most")
    temp_directory: str = setting("", "where SQL spills; empty: the system's")
    cache_directory: str = setting(
        "", "where blocks of a remote store are kept; empty: the user's cache directory"
    )
    cache_bytes: int = setting(8 << 30, "disk for blocks of a remote store")

    @property
    def spill_directory(self) -> str:
        """Where SQL spills, and blocks are made. Raises `Unavailable` when nothing can be written anywhere."""
        import tempfile

        try:
            return self.temp_directory or os.path.join(tempfile.gettempdir(), "flameduck-spill")
        except OSError as error:
            raise Unavailable(f"no temporary directory: {error.strerror or error}") from None

    @property
    def block_cache(self) -> Path:
        """Where blocks of a remote store are kept."""
        if self.cache_directory:
            return Path(self.cache_directory)
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        return Path(base) / "flameduck" / "blocks"


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server's roles in one process."""

    http_host: str = setting("127.0.0.1", "address to listen on")
    http_port: int = setting(4040, "port for HTTP, Connect and gRPC")
    otlp_port: int = setting(4317, "further port, where collectors look for gRPC; 0: none")
    data_dir: str = setting("", "local directory of the head; empty: inside a local store")
    group_window_ms: int = setting(40, "how long a push waits for others to be decoded with it")
    group_profiles: int = setting(64, "profiles that are decoded together at most")
    group_bytes: int = setting(4 << 20, "bytes of profiles that are decoded together at most")
    decode_workers: int = setting(1, "worker processes that decode pushes")
    queue_bytes: int = setting(64 << 20, "bytes of pushes that wait at most; more are refused with 429")
    head_bytes: int = setting(1 << 30, "memory of the head at most; more pushes are refused with 429")
    flush_age_s: int = setting(60, "a flush begins when the oldest profile in the head is so old")
    flush_samples: int = setting(6_000_000, "a flush begins at so many samples in the head")
    flush_bytes: int = setting(256 << 20, "a flush begins when the head holds so much memory")
    merge_every_s: int = setting(30, "how often small blocks are looked for, to be merged; 0: never")
    merge_samples: int = setting(2_000_000, "samples of a block that small ones are merged into, at most")
    compaction_every_s: int = setting(
        600,
        "how often blocks of hours and days are looked for, and such that are kept for long enough; 0: never",
    )
    compaction_grace_s: int = setting(600, "how long after its end an hour or a day is left alone")
    compaction_seconds: int = setting(3600, "time for one block to be made of others; 0: no limit")
    compaction_memory_bytes: int = setting(
        2 << 30, "memory of the process that compacts, at most; 0: no limit"
    )
    compaction_threads: int = setting(1, "threads of the process that compacts")
    sweep_every_s: int = setting(
        21_600, "how often files of blocks that nothing names are looked for; 0: never"
    )
    sweep_older_s: int = setting(
        86_400, "how long such files stay: they may yet be committed, or are being read"
    )
    query_concurrency: int = setting(
        4, "questions about samples that are answered at a time; more wait, and those about labels do not"
    )
    max_waiting_queries: int = setting(100, "questions that wait at most; more are refused with 429")
    sql_concurrency: int = setting(2, "SQL statements over HTTP that run at a time; more wait")
    sql_seconds: int = setting(30, "time for one SQL statement over HTTP")
    sql_memory_bytes: int = setting(512 << 20, "memory for one SQL statement over HTTP")
    sql_temp_bytes: int = setting(4 << 30, "disk that one SQL statement over HTTP may spill to")
    sql_rows: int = setting(1_000_000, "rows that one SQL statement over HTTP may answer with")
    sql_answer_bytes: int = setting(128 << 20, "bytes that one SQL statement over HTTP may answer with")
    access_file: str = setting("", "TOML file of tokens and users; empty: anybody may do anything")
    limits_file: str = setting(
        "", "TOML file of limits by tenant, read again when it changes; empty: the defaults"
    )
    tls_certificate: str = setting("", "PEM file of the certificate chain; empty: no TLS")
    tls_key: str = setting("", "PEM file of the certificate's key")
    stop_seconds: int = setting(30, "how long a stop waits for requests before it flushes")
    multitenancy: bool = setting(False, "take the tenant from X-Scope-OrgID; else all data is of `anonymous`")
    metrics_tenants: int = setting(500, "tenants with metrics of their own; all others count as `other`")
    log_level: str = setting("info", "debug, info, warning or error")
    slow_ms: int = setting(5000, "requests that take longer are logged")
    self_profile: bool = setting(False, "profile the server itself into tenant `_self`")
    body_limit_bytes: int = setting(256 << 20, "size of a request's body, inflated, at most")


Kind = TypeVar("Kind", Settings, ServerSettings)


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The engine's settings. Raises `SettingsError` that names the setting, its value and the reason."""
    return _load(Settings, os.environ if environment is None else environment, {})


def load_server_settings(
    given: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> ServerSettings:
    """The server's settings; `given` ones come before all others. Raises `SettingsError`."""
    return _load(ServerSettings, os.environ if environment is None else environment, given)


def _load(kind: type[Kind], environment: Mapping[str, str], given: Mapping[str, Any]) -> Kind:
    known = {f.name: f for f in fields(kind)}
    # One file holds the settings of both classes.
    every = {f.name: f for one in (Settings, ServerSettings) for f in fields(one)}
    values: dict[str, Any] = {}
    path = environment.get("FLAMEDUCK_SETTINGS", "")
    if path:
        for name, value in _read_file(path).items():
            checked = _checked(_known(every, name, path), value, path)
            if name in known:
                values[name] = checked
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and variable not in _NOT_SETTINGS and name in known:
            values[name] = _parsed(known[name], text, variable)
    for name, value in given.items():
        values[name] = _checked(known[name], value, f"--{name.replace('_', '-')}")
    return kind(**values)


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
    if isinstance(setting.default, bool):
        if text.lower() not in _TRUTH:
            raise SettingsError(f"{origin}: {text!r} is neither true nor false")
        return _TRUTH[text.lower()]
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
