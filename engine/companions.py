"""Files that belong to another one: the labels of a JFR recording lie beside it, under its name.

`dump.jfr.gz` and `dump.labels.pb.gz`; any of the endings for compression, and `.pb`, may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

LABELS = "labels"
"""What the attachment is called."""

_COMPRESSED = (".gz", ".lz4", ".zst")
_RECORDING = ".jfr"
_BESIDE = (".labels.pb.gz", ".labels.gz", ".labels.pb", ".labels")


def pair_labels(names: Iterable[str]) -> Mapping[str, str]:
    """The labels file of each recording that has one among the names."""
    known = list(names)
    labels = {stem: name for name in known if (stem := _labels_stem(name))}
    found: dict[str, str] = {}
    for name in known:
        stem = _recording_stem(name)
        for candidate in (stem, f"{stem}{_RECORDING}"):
            if stem and candidate in labels:
                found.setdefault(name, labels[candidate])
    return found


def labels_beside(path: str) -> str:
    """The labels file that lies beside a recording on disk, empty if there is none."""
    stem = _recording_stem(path)
    found = (f"{stem}{ending}" for ending in _BESIDE) if stem else ()
    return next((name for name in found if Path(name).is_file()), "")


def _recording_stem(name: str) -> str:
    plain = _inflated(name)
    return plain.removesuffix(_RECORDING) if plain.endswith(_RECORDING) else ""


def _labels_stem(name: str) -> str:
    plain = _inflated(name).removesuffix(".pb")
    return plain.removesuffix(f".{LABELS}") if plain.endswith(f".{LABELS}") else ""


def _inflated(name: str) -> str:
    return next((name.removesuffix(ending) for ending in _COMPRESSED if name.endswith(ending)), name)
