"""`flameduck callers`: who calls a function, as a flame graph."""

from __future__ import annotations

from .sandwich import sandwich_command

command = sandwich_command(
    "callers", "Who calls FUNCTION, and who calls them: the function at the root, its callers below."
)
