"""speedscope's file format: a sampled profile for each profile type, weights in the unit of the type.

Source: https://www.speedscope.app/file-format-schema.json

A profile is called by its profile type, and by the name that it had in the file it came from. Where frames were
asked to change, there is one type, and frames are names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from ....schema.profile_type import parse_profile_type
from ..export import Export
from ..profile_facts import profile_facts
from .stack_frames import PROFILE_NAME, Frame, stack_frames, values_by_stack

_UNITS = {"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}


def write_speedscope(export: Export) -> bytes:
    """Every stack with a value of its own becomes one sample. Raises `RequestError` for negative values."""
    frames, profiles = _exact(export) if export.exact else _of_tree(export)
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "flameduck",
        "name": profiles[0]["name"] if len(profiles) == 1 else "",
        "activeProfileIndex": 0,
        "shared": {"frames": frames},
        "profiles": profiles,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _exact(export: Export) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    partial = export.locations(labels=True)
    known = stack_frames(partial)
    flat, offsets = known.stacks.values.tolist(), known.stacks.offsets.tolist()
    duration_ns = profile_facts(export).duration_ns
    order = {kind.profile_type: place for place, kind in enumerate(export.sample_types)}
    by_type = values_by_stack(partial, PROFILE_NAME)
    by_type |= {(kind, ""): {} for kind in order if not any(kind == found for found, _ in by_type)}
    profiles = []
    for kind, name in sorted(by_type, key=lambda key: (order[key[0]], key[1])):
        weights = by_type[kind, name]
        stacks = [flat[offsets[stack] : offsets[stack + 1]] for stack in weights]
        shown = f"{kind} {name}" if name else kind
        profile = _profile(shown, kind, stacks, weights.values())
        if profile["unit"] == "nanoseconds":
            profile["endValue"] = max(profile["endValue"], duration_ns)
        profiles.append(profile)
    return list(map(_frame, known.frames)), profiles


def _frame(frame: Frame) -> dict[str, Any]:
    places = {"file": frame.file, "line": frame.line, "col": frame.column}
    return {"name": frame.name} | {key: value for key, value in places.items() if value}


def _of_tree(export: Export) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    tree = export.tree
    own = tree.values["self"]
    symbols, parents = tree.trie.symbol.tolist(), tree.trie.parent.tolist()
    stacks: list[list[int]] = [[]]
    for node in range(1, len(symbols)):
        stacks.append([*stacks[parents[node]], symbols[node]])
    nodes = np.flatnonzero(own).tolist()
    kind = export.resolved.plan.profile_type or "::::"
    profile = _profile(kind, kind, [stacks[node] for node in nodes], own[nodes].tolist())
    return [{"name": name} for name in tree.names.to_pylist()], [profile]


def _profile(name: str, kind: str, stacks: list[list[int]], weights: Iterable[int]) -> dict[str, Any]:
    unit = parse_profile_type(kind).sample_unit
    listed = list(weights)
    return {
        "type": "sampled",
        "name": name,
        "unit": unit if unit in _UNITS else "none",
        "startValue": 0,
        "endValue": sum(listed),
        "samples": stacks,
        "weights": listed,
    }
