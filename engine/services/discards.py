"""Why profiles are refused, in Pyroscope's words: what its dashboards and alerts count."""

from __future__ import annotations

import re

MALFORMED = "malformed_profile"
BODY_SIZE = "body_size_limit_exceeded"
RATE = "rate_limited"

_REASONS = tuple(
    (re.compile(pattern, re.DOTALL), reason)
    for pattern, reason in (
        (r"inflated size: ", "profile_size_limit"),
        (r"profile series has \d+ label names; limit", "max_label_names_per_series"),
        (r"label name .* has \d+ bytes; limit", "label_name_too_long"),
        (r"label .* has a value of \d+ bytes; limit", "label_value_too_long"),
        (r"a sample has \d+ labels; limit", "sample_labels_limit"),
        (r"profile has \d+ samples; limit", "samples_limit"),
        (r"profile with labels .* has duplicate label name", "duplicate_label_names"),
        (r"invalid labels |profile with labels .* has an invalid label name", "invalid_labels"),
        (r"error at least one label pair", "missing_labels"),
        (r"profile of \S+ is outside of ingestion window", "not_in_ingestion_window"),
    )
)
"""By how the refusals of this program begin, whatever a client's own texts in them say."""


def discard_reason(text: str) -> str:
    """The reason string for what a refusal says; `malformed_profile` for all that is about the profile itself."""
    return next((reason for pattern, reason in _REASONS if pattern.match(text)), MALFORMED)
