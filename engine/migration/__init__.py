"""Profiles out of a running Pyroscope by its query API: slices of time, merged, checked and stored."""
