"""Programs that measure flameduck against the bare cost of the same work; see README.md."""
