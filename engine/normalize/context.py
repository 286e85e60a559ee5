"""What is said about each profile of a batch beside its bytes, and the limits of a push."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProfileContext:
    """One decoded profile: the request's labels, the ids of profile and upload, the time to use if it has none.

    An own time before `least_time_ns` is none. `display_names` are the agent's names of sample types. What has
    different `owner`s goes into different batches.
    """

    labels: Mapping[str, str]
    profile_id: bytes
    upload_id: bytes
    origin: str = "<bytes>"
    name: str = ""
    time_ns: int = 0
    display_names: Mapping[str, str] = field(default_factory=dict)
    least_time_ns: int = 1
    owner: int = 0


@dataclass(frozen=True)
class PushLimits:
    """Limits under the pyroscope rules, with Pyroscope's defaults; 0 turns one off.

    Older and newer is than now, where the profile is read. Deeper stacks are cut at the leaf, longer strings lose
    their heads; all else that is too large is refused.
    """

    max_profile_bytes: int = 4 << 20
    max_samples: int = 16_000
    max_sample_labels: int = 100
    max_stack_depth: int = 1000
    max_string_bytes: int = 65_535
    max_label_names: int = 30
    max_label_name_bytes: int = 1024
    max_label_value_bytes: int = 2048
    reject_older_than_ns: int = 0
    reject_newer_than_ns: int = 600 * 10**9


NO_LIMITS = PushLimits(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""For files, whatever the rules."""

DEFAULT_LIMITS = PushLimits()
"""For pushes."""
