"""What each tenant may send and ask, under Pyroscope's names; a file overrides the defaults and is read again.

[default]
max_profile_size_bytes = 4194304

[tenants.acme]
ingestion_rate_mb = 4.0
ingestion_burst_size_mb = 8.0
reject_older_than = "1h"
"""

from __future__ import annotations

import logging
import math
import os
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Lock
from typing import Any

from ...schema.errors import InvalidTime, Overloaded, SettingsError
from ...schema.times import parse_duration_ns
from ..compaction.retention import Retention
from ..ingest.decode import DecodeLimits
from ..normalize.context import DEFAULT_LIMITS, PushLimits

log = logging.getLogger(__name__)

_LOOK_S = 5.0
_MB = 1 << 20
_UNLIMITED_BYTES = 1 << 62
_MOST_BUCKETS = 1000


@dataclass(frozen=True)
class TenantLimits:
    """The limits of one tenant; 0 turns one off. Sizes of labels and symbols are bytes of UTF-8."""

    ingestion_rate_mb: float = 0.0
    ingestion_burst_size_mb: float = 0.0
    ingestion_body_limit_mb: float = 256.0
    max_profile_size_bytes: int = DEFAULT_LIMITS.max_profile_bytes
    max_profile_stacktrace_samples: int = DEFAULT_LIMITS.max_samples
    max_profile_stacktrace_sample_labels: int = DEFAULT_LIMITS.max_sample_labels
    max_profile_stacktrace_depth: int = DEFAULT_LIMITS.max_stack_depth
    max_profile_symbol_value_length: int = DEFAULT_LIMITS.max_string_bytes
    max_label_names_per_series: int = DEFAULT_LIMITS.max_label_names
    max_label_name_length: int = DEFAULT_LIMITS.max_label_name_bytes
    max_label_value_length: int = DEFAULT_LIMITS.max_label_value_bytes
    reject_older_than: str = "0s"
    reject_newer_than: str = "10m"
    max_query_length: str = "1d"
    max_query_lookback: str = "0s"
    max_flamegraph_nodes_default: int = 8192
    max_flamegraph_nodes_max: int = 1_048_576
    max_flamegraph_nodes_on_select_merge_profile: bool = False
    compactor_blocks_retention_period: str = "0s"
    compactor_blocks_retention_size_mb: float = 0.0

    def decode_limits(self) -> DecodeLimits:
        """The same, as decoding takes them."""
        return DecodeLimits(
            max_inflated_bytes=round(self.ingestion_body_limit_mb * _MB) or _UNLIMITED_BYTES,
            push=PushLimits(
                max_profile_bytes=self.max_profile_size_bytes,
                max_samples=self.max_profile_stacktrace_samples,
                max_sample_labels=self.max_profile_stacktrace_sample_labels,
                max_stack_depth=self.max_profile_stacktrace_depth,
                max_string_bytes=self.max_profile_symbol_value_length,
                max_label_names=self.max_label_names_per_series,
                max_label_name_bytes=self.max_label_name_length,
                max_label_value_bytes=self.max_label_value_length,
                reject_older_than_ns=parse_duration_ns(self.reject_older_than),
                reject_newer_than_ns=parse_duration_ns(self.reject_newer_than),
            ),
        )

    @property
    def max_query_length_ns(self) -> int:
        """How long a range may be asked for; 0: any."""
        return parse_duration_ns(self.max_query_length)

    @property
    def max_query_lookback_ns(self) -> int:
        """How far back may be asked; 0: as far as there is data."""
        return parse_duration_ns(self.max_query_lookback)

    @property
    def retention(self) -> Retention:
        """How long blocks are kept, and how much of them."""
        return Retention(
            parse_duration_ns(self.compactor_blocks_retention_period),
            round(self.compactor_blocks_retention_size_mb * _MB),
        )


DEFAULTS = TenantLimits()
_DURATIONS = tuple(one.name for one in fields(TenantLimits) if one.type == "str")


class Overrides:
    """The limits by tenant, from a file that may change. Safe for several threads."""

    def __init__(self, path: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """Raises `SettingsError` when the file does not hold limits."""
        self._path = path
        self._clock = clock
        self._lock = Lock()
        self._looked = clock()
        self._stamp = _stamp(path)
        self._default, self._tenants = load_overrides(path) if path else (DEFAULTS, {})

    def of(self, tenant: str) -> TenantLimits:
        """The limits of a tenant."""
        if self._path:
            self._look()
        return self._tenants.get(tenant, self._default)

    def _look(self) -> None:
        """Read the file again when it has changed; one that became wrong leaves the limits as they were."""
        with self._lock:
            if self._clock() - self._looked < _LOOK_S:
                return
            self._looked = self._clock()
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self._default, self._tenants = load_overrides(self._path)
                log.info("limits were read again from %s", self._path)
            except SettingsError as error:
                log.warning("the limits stay as they were: %s", error)


def load_overrides(path: str) -> tuple[TenantLimits, Mapping[str, TenantLimits]]:
    """The default limits and those of tenants. Raises `SettingsError` that names the entry and its value."""
    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    unknown = document.keys() - {"default", "tenants"}
    if unknown:
        raise SettingsError(f"{path}: unknown table {min(unknown)!r}; expected default and tenants")
    default = _limits(DEFAULTS, document.get("default", {}), f"{path}: default")
    tenants = _table(document.get("tenants", {}), f"{path}: tenants")
    return default, {
        name: _limits(default, table, f"{path}: tenants.{name}") for name, table in tenants.items()
    }


def _table(found: object, where: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise SettingsError(f"{where} must be a table, got {found!r}")
    return found


def _limits(base: TenantLimits, found: object, where: str) -> TenantLimits:
    known = {one.name: getattr(DEFAULTS, one.name) for one in fields(TenantLimits)}
    table = _table(found, where)
    for name, value in table.items():
        if name not in known:
            raise SettingsError(f"{where}: unknown limit {name!r}")
        wanted = type(known[name])
        fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
        if not fits or isinstance(value, bool) is not (wanted is bool):
            raise SettingsError(f"{where}.{name} must be {wanted.__name__}, got {value!r}")
        if not isinstance(value, str) and not 0 <= value < math.inf:
            raise SettingsError(f"{where}.{name} must be 0 or more, got {value}")
        if name in _DURATIONS:
            try:
                parse_duration_ns(value)
            except InvalidTime as error:
                raise SettingsError(f"{where}.{name}: {error}") from None
    return replace(base, **table)


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


class RateLimits:
    """A bucket of bytes for each tenant that has a rate. Safe for several threads."""

    def __init__(self, overrides: Overrides, clock: Callable[[], float] = time.monotonic) -> None:
        self._overrides = overrides
        self._clock = clock
        self._lock = Lock()
        self._buckets: dict[str, tuple[float, float]] = {}
        self._most_buckets = _MOST_BUCKETS

    def take(self, tenant: str, size_bytes: int) -> None:
        """Take bytes out of the tenant's bucket. Raises `Overloaded` when they are not there."""
        rate, burst = self._rate_and_burst(tenant)
        if not rate:
            return
        with self._lock:
            now = self._clock()
            level, then = self._buckets.get(tenant, (burst, now))
            level = min(burst, level + (now - then) * rate)
            # What is larger than the bucket passes when it is full, or it never would.
            allowed = level >= min(size_bytes, burst)
            self._buckets[tenant] = (level - size_bytes if allowed else level), now
            if len(self._buckets) > self._most_buckets:
                self._forget_full(now)
        if not allowed:
            raise Overloaded(f"push rate limit ({rate / _MB:g} MiB/s) exceeded by {size_bytes} bytes")

    def _forget_full(self, now: float) -> None:
        """Forget the buckets that are full again: they are as good as none."""
        kept: dict[str, tuple[float, float]] = {}
        for tenant, (level, then) in self._buckets.items():
            rate, burst = self._rate_and_burst(tenant)
            if level + (now - then) * rate < burst:
                kept[tenant] = level, then
        self._buckets = kept
        # So that looking costs little for each push, however many are not full.
        self._most_buckets = max(_MOST_BUCKETS, 2 * len(kept))

    def _rate_and_burst(self, tenant: str) -> tuple[float, float]:
        """Bytes a second, 0: any number; and bytes at once."""
        limits = self._overrides.of(tenant)
        rate = limits.ingestion_rate_mb * _MB
        return rate, max(limits.ingestion_burst_size_mb * _MB, rate)
