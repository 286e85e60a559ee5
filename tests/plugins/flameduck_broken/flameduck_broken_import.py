"""A module that cannot be imported."""

raise RuntimeError("it needs a licence")
