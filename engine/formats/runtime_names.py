"""The names that runtimes write into perf maps (`/tmp/perf-PID.map`), as they are written in the language.

Java (perf-map-agent): `Lcom/foo/Bar;::run`. .NET (`DOTNET_PerfMapEnabled`):
`void [App] Shop.Cart::Add(string[])[Tier0]`. V8 (`--perf-basic-prof`): `JS:*spin /srv/app.js:12:3`. CPython
(`-X perf`): `py::spin:/srv/app.py`. Stubs that they name plainly (`Interpreter`, `Builtin:…`) stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_V8_KINDS = r"LazyCompile:[*~^+]?|(?:JS|Function|Script|Eval|EagerCompile):[*~^+]"
RUNTIME_NAMES = rf"L[^;]+;::|{_V8_KINDS}|[^(]*\[[^\[\]\s]+\] [^(]+::"
"""How the names begin that `readable_runtime_name` may know."""

_JAVA = re.compile(r"L([^;:()]+);::([^;:()]+)(?:\(.*)?", re.DOTALL)
_DOTNET_ASSEMBLY = re.compile(r"(?:^|(?<=\s))\[[^\[\]\s]+\] ")
_DOTNET_END = re.compile(r"\)(?:\[[\w-]+\])?$")
_V8 = re.compile(rf"(?:{_V8_KINDS})(?!:)")
_PYTHON = re.compile(r"py::(?P<name>.+?):(?P<file>[/<].*)", re.DOTALL)

ANONYMOUS = "(anonymous)"


@dataclass(frozen=True)
class Placed:
    """A function's name without its place, and the file and the line where it begins (0: not known)."""

    name: str
    filename: str
    line: int


def readable_runtime_name(name: str) -> str:
    """The name in its language, empty if it is none that a runtime writes so."""
    if name.startswith("L"):
        java = _JAVA.fullmatch(name)
        if java:
            return f"{java[1]}.{java[2]}"
    v8 = _V8.match(name)
    if v8:
        return name[v8.end() :].strip() or ANONYMOUS
    return _dotnet(name) if "] " in name else ""


def _dotnet(name: str) -> str:
    """`Namespace.Type.Method`; the return type, the assembly, the parameters and the tier are left out."""
    head, parenthesis, _ = name.partition("(")
    assembly = _DOTNET_ASSEMBLY.search(head)
    if not parenthesis or not assembly or not _DOTNET_END.search(name):
        return ""
    kind, separator, method = head[assembly.end() :].rpartition("::")
    return f"{kind}.{method}" if separator and kind and method else ""


def placed(name: str) -> Placed | None:
    """The name and the place that V8 and CPython write in one; None for other names."""
    python = _PYTHON.fullmatch(name) if name.startswith("py::") else None
    if python:
        return Placed(python["name"], python["file"], 0)
    v8 = _V8.match(name)
    if v8 is None:
        return None
    function, _, place = name[v8.end() :].partition(" ")
    file, _, number = place.rpartition(":")
    before, _, line = file.rpartition(":")
    if before and line.isdecimal():
        file, number = before, line
    if not (file and number.isdecimal() and len(number) < 10):
        return None
    return Placed(function or ANONYMOUS, file, int(number))
