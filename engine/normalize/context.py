"""What is said about each profile of a batch beside its bytes, and the limits of a push."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ProfileContext:
    """One decoded profile: the request's labels, the ids of profile and upload, the time to use if it has none."""

    labels: Mapping[str, str]
    profile_id: bytes
    upload_id: bytes
    origin: str = "<bytes>"
    name: str = ""
    time_ns: int = 0


@dataclass(frozen=True)
class PushLimits:
    """Limits under the pyroscope rules, with Pyroscope's defaults; 0 turns one off.

    Deeper stacks are cut at the leaf, longer strings lose their heads; all else that is too large is refused.
    """

    max_profile_bytes: int = 4 << 20
    max_samples: int = 16_000
    max_sample_labels: int = 100
    max_stack_depth: int = 1000
    max_string_bytes: int = 65_535
    max_label_names: int = 30
    max_label_name_bytes: int = 1024
    max_label_value_bytes: int = 2048


NO_LIMITS = PushLimits(0, 0, 0, 0, 0, 0, 0, 0)
"""For files, whatever the rules."""

DEFAULT_LIMITS = PushLimits()
"""For pushes."""
