"""speedscope's file format: one sampled profile, weights in the profile's unit.

Source: https://www.speedscope.app/file-format-schema.json
"""

from __future__ import annotations

import json

import numpy as np

from ....schema.profile_type import parse_profile_type
from ..export import Export

_UNITS = {"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}


def write_speedscope(export: Export) -> bytes:
    """Every stack with a value of its own becomes one sample."""
    tree = export.tree
    own = tree.values["self"]
    symbols, parents = tree.trie.symbol.tolist(), tree.trie.parent.tolist()
    stacks: list[list[int]] = [[]]
    for node in range(1, len(symbols)):
        stacks.append([*stacks[parents[node]], symbols[node]])
    nodes = np.flatnonzero(own).tolist()
    unit = parse_profile_type(export.resolved.plan.profile_type or "::::").sample_unit
    profile = {
        "type": "sampled",
        "name": export.resolved.plan.profile_type,
        "unit": unit if unit in _UNITS else "none",
        "startValue": 0,
        "endValue": int(own.sum()),
        "samples": [stacks[node] for node in nodes],
        "weights": own[nodes].tolist(),
    }
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "flameduck",
        "name": export.resolved.plan.profile_type,
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in tree.names.to_pylist()]},
        "profiles": [profile],
    }
    return json.dumps(document, separators=(",", ":")).encode()
