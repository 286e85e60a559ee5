"""The output formats: the seam between an answer and the bytes that other tools read.

An output is a function from an `Export` to bytes. The table below is tried by name; packages add theirs under
the entry point group `flameduck.outputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from ....schema.errors import BrokenPlugin, RequestError
from ...plugins import Plugin, installed_plugins
from ..export import Export

Writer = Callable[[Export], bytes]

ENTRY_POINTS = "flameduck.outputs"


@dataclass(frozen=True)
class Output:
    """One format: where its writer is (`module:function`, imported on use) and what HTTP calls it.

    `plugin` is where it comes from, if it is another package. With `every_type` it holds all profile types of a
    selection that names none, or chooses among them.
    """

    name: str
    writer: str
    media_type: str
    plugin: Plugin | None = None
    every_type: bool = False

    def load(self) -> Writer:
        """The writer. Raises `RequestError` when it cannot be imported, and so does the writer of a broken plug-in."""
        if self.plugin is not None:
            return _guarded(self.plugin)
        module, _, function = self.writer.partition(":")
        try:
            writer: Writer = getattr(import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise RequestError(f"output {self.name!r}: {error}") from None
        return writer


def _ours(name: str, module: str, media_type: str, every_type: bool = False) -> Output:
    function = f"write_{name.replace('-', '_')}"
    return Output(name, f"{__package__}.{module}:{function}", media_type, every_type=every_type)


OUTPUTS: Mapping[str, Output] = MappingProxyType(
    {
        output.name: output
        for output in (
            _ours("pprof", "pprof", "application/octet-stream", every_type=True),
            Output("go-pgo", f"{__package__}.pprof:write_go_pgo", "application/octet-stream"),
            _ours("folded", "text", "text/plain; charset=utf-8"),
            _ours("speedscope", "speedscope", "application/json", every_type=True),
            _ours("cpuprofile", "cpuprofile", "application/json", every_type=True),
            _ours("otlp", "otlp", "application/x-protobuf", every_type=True),
            _ours("otlp-json", "otlp", "application/json", every_type=True),
            _ours("dot", "dot", "text/vnd.graphviz; charset=utf-8"),
            _ours("svg", "svg", "image/svg+xml"),
            _ours("json", "text", "application/json"),
            _ours("html", "page", "text/html; charset=utf-8"),
            _ours("arrow", "tabular", "application/vnd.apache.arrow.stream"),
            _ours("parquet", "tabular", "application/vnd.apache.parquet"),
            _ours("csv", "tabular", "text/csv; charset=utf-8"),
        )
    }
)


def output_named(name: str) -> Output:
    """The output of a name, built in or installed. Raises `RequestError` that lists them."""
    if name in OUTPUTS:
        return OUTPUTS[name]
    installed = installed_plugins(ENTRY_POINTS)
    if name in installed:
        plugin = installed[name]
        return Output(name, plugin.point.value, "application/octet-stream", plugin)
    raise RequestError(f"format {name!r}: expected one of {', '.join([*OUTPUTS, *installed])}")


def _guarded(plugin: Plugin) -> Writer:
    """A plug-in's writer, whose failures are told as the plug-in's. Raises `RequestError`."""

    def write(export: Export) -> bytes:
        try:
            writer = plugin.load()
            with plugin.blamed():
                data = writer(export)
            if not isinstance(data, bytes):
                raise plugin.fault(f"an output is bytes, not {type(data).__name__}")
        except BrokenPlugin as error:
            raise RequestError(str(error)) from error
        return data

    return write
