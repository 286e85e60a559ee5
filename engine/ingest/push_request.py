"""A pprof as agents push it: what `push.v1` of Pyroscope's API takes."""

from __future__ import annotations

from ...schema import identity
from ...schema.errors import CorruptProfile
from ...schema.labels import METRIC_NAME, SERVICE_NAME, without_empty
from ...schema.profile import Upload
from ...schema.proto import profile_pb2, push_pb2
from ..formats.inflate import inflate
from ..formats.pprof_merge import parse
from ..normalize.series import metric_name

MAX_BYTES = 1 << 30


def push_request(upload: Upload, time_ns: int = 0) -> push_pb2.PushRequest:
    """The request for one profile.

    It gets `__name__` after its sample types unless the upload has one, and `time_ns` if that is not 0; else it keeps
    its own time, or gets the upload's if it has none. Its id follows from all of this: pushed again it counts once.
    Raises `CorruptProfile` for what is no pprof, `LimitExceeded` for more than 1 GiB.
    """
    raw = inflate(upload.data, MAX_BYTES)
    profile = parse(raw)
    if not profile.sample_type:
        raise CorruptProfile("not a pprof: it has no sample types")
    labels = dict(without_empty(upload.labels))
    labels[METRIC_NAME] = (
        upload.name or labels.get(METRIC_NAME, "") or metric_name(_types(profile), "pyroscope")[0]
    )
    labels.setdefault(SERVICE_NAME, "unknown_service")
    if time_ns or profile.time_nanos <= 0:
        # Of a field that is there twice the last counts.
        raw += profile_pb2.Profile(time_nanos=time_ns or upload.time_ns).SerializeToString()
    request = push_pb2.PushRequest()
    series = request.series.add()
    for name, value in sorted(labels.items()):
        series.labels.add(name=name, value=value)
    series.samples.add(raw_profile=raw, ID=identity.profile_id("", labels, raw).hex())
    return request


def _types(profile: profile_pb2.Profile) -> list[tuple[str, str]]:
    """The sample types. Raises `CorruptProfile` for a text that is not there."""
    texts = profile.string_table
    try:
        return [
            (texts[one.type].decode(errors="replace"), texts[one.unit].decode(errors="replace"))
            for one in profile.sample_type
        ]
    except IndexError:
        raise CorruptProfile("not a pprof: sample_type points at no string") from None
