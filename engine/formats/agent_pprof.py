"""pprof as some of Pyroscope's old agents send it to `/ingest`, mended as its server does before it reads it.

Agents of scripting languages put the file into a function's name, so that functions of one name in two files stay
apart; .NET's wrote functions without ids and sample types with dashes. What a pprof says is changed nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...schema.errors import CorruptProfile, LimitExceeded
from ...schema.proto import profile_pb2
from .pprof_merge import parse

MAX_NAMES_BYTES = 64 << 20
"""A file's name stands once in a profile and is written once a function."""

_SCRIPTING = ("pyspy", "rbspy", "scripting")
_DOTNET = "dotnetspy"
_DOTNET_CONFIG = "inuse-space"
"""How .NET's agents that do not say who they are call one of their types."""


def mend_agent_pprof(raw: bytes, spy: str, display_names: Mapping[str, str]) -> bytes:
    """The message as it must be read; `spy` is how the agent calls itself, `display_names` what it calls its types.

    What is no pprof is returned as it is. Raises `LimitExceeded` when names would become too long.
    """
    if spy in _SCRIPTING:
        return _changed(raw, lambda profile: _name_files(profile, keep_absolute=spy == "pyspy"))
    if spy == _DOTNET or (spy == "unknown" and _DOTNET_CONFIG in display_names):
        return _changed(raw, _mend_dotnet)
    return raw


def _changed(raw: bytes, change: Callable[[profile_pb2.Profile], None]) -> bytes:
    try:
        profile = parse(raw)
        change(profile)
    except (CorruptProfile, IndexError):
        return raw
    mended: bytes = profile.SerializeToString()
    return mended


def _name_files(profile: profile_pb2.Profile, keep_absolute: bool) -> None:
    """Every function becomes `<file> <name>`. Raises `IndexError` for a text that is not there."""
    texts = profile.string_table
    named: dict[tuple[int, int], int] = {}
    made_bytes = 0
    for function in profile.function:
        key = function.filename, function.name
        if min(key) < 0:
            raise IndexError
        file, name = texts[function.filename], texts[function.name]
        if keep_absolute and file.startswith(b"/"):
            continue
        if key not in named:
            made_bytes += len(file) + 1 + len(name)
            if made_bytes > MAX_NAMES_BYTES:
                raise LimitExceeded(f"functions with their files take over {MAX_NAMES_BYTES} bytes of names")
            named[key] = len(texts)
            texts.append(file + b" " + name)
        function.name = named[key]


def _mend_dotnet(profile: profile_pb2.Profile) -> None:
    texts = profile.string_table
    for kind in profile.sample_type:
        if kind.type < 0:
            raise IndexError
        if b"-" in texts[kind.type]:
            texts.append(texts[kind.type].replace(b"-", b"_"))
            kind.type = len(texts) - 1
    unnumbered = not any(function.id for function in profile.function)
    if unnumbered and len(profile.function) == len(profile.location):
        for function, location in zip(profile.function, profile.location, strict=True):
            function.id = location.id
