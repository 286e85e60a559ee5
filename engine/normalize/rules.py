"""The two ways to read a profile: as pprof does, and as Pyroscope does.

`verbatim` keeps everything: every label with its sample, negative values, types without samples. `pyroscope`
follows what a Pyroscope server does to a pushed profile: string labels make series, numeric ones and negative
samples go, limits hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...schema.labels import METRIC_NAME, SERVICE_NAME, without_empty
from ...schema.profile import Rules
from .context import NO_LIMITS, ProfileContext, PushLimits
from .header import ValueType
from .sample_labels import LabelPairs
from .series import metric_name, service_of

_NOT_STORED = ("__delta__", "__order__", "__session_id__")
_GODELTAPROF = "godeltaprof_"


@dataclass(frozen=True)
class RuleSet:
    """The rules of one batch. Under the verbatim ones there are no limits."""

    name: Rules
    limits: PushLimits

    @property
    def pushed(self) -> bool:
        """Whether Pyroscope's rules hold."""
        return self.name == "pyroscope"

    @property
    def code(self) -> int:
        """What `profiles.rules` stores."""
        return int(self.pushed)

    def base_labels(
        self, context: ProfileContext, sample_types: list[ValueType]
    ) -> tuple[dict[str, str], str]:
        """The labels of all series of a profile, and a warning, or nothing."""
        labels = without_empty(context.labels)
        name, warning = context.name or labels.get(METRIC_NAME, ""), ""
        if not name:
            name, warning = metric_name(sample_types, self.name, context.display_names)
        labels |= {SERVICE_NAME: service_of(labels), METRIC_NAME: name}
        return labels, warning

    def stored_labels(self, base: Mapping[str, str], of_samples: LabelPairs) -> LabelPairs:
        """The labels of a series by name; one of the profile wins over one of its samples."""
        labels = {**dict(of_samples), **base}
        if self.pushed:
            _relabel(labels)
            for name in _NOT_STORED:
                labels.pop(name, None)
        return tuple(sorted(labels.items()))

    def label_fault(self, labels: LabelPairs) -> str:
        """Why a label set breaks the limits of a push; empty when it does not."""
        limits = self.limits
        if limits.max_label_names and len(labels) > limits.max_label_names:
            return f"profile series has {len(labels)} label names; limit {limits.max_label_names}"
        for name, value in labels:
            if limits.max_label_name_bytes and len(name.encode()) > limits.max_label_name_bytes:
                return f"label name {name[:64]!r}… has {len(name.encode())} bytes; limit {limits.max_label_name_bytes}"
            if limits.max_label_value_bytes and len(value.encode()) > limits.max_label_value_bytes:
                return f"label {name!r} has a value of {len(value.encode())} bytes; limit {limits.max_label_value_bytes}"
        return ""


def rule_set(rules: Rules, limits: PushLimits) -> RuleSet:
    """The rules of a name, with `limits` where they allow any."""
    return RuleSet(rules, limits if rules == "pyroscope" else NO_LIMITS)


def _relabel(labels: dict[str, str]) -> None:
    """Pyroscope's default relabelling: delta profiles of Go under their plain names, and wall profiles of CPU."""
    name = labels[METRIC_NAME]
    if name.startswith(_GODELTAPROF):
        plain = name.removeprefix(_GODELTAPROF)
        labels |= {METRIC_NAME: plain, "__name_replaced__": name, "__delta__": "false"}
    elif name == "wall" and labels.get("__type__") == "cpu":
        labels |= {METRIC_NAME: "process_cpu", "__name_replaced__": name}
