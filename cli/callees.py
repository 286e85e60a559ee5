"""`flameduck callees`: what a function calls, as a flame graph."""

from __future__ import annotations

from .sandwich import sandwich_command

command = sandwich_command(
    "callees",
    "What FUNCTION calls: the function at the root, its callees below, wherever it was called from.",
)
