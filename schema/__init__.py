"""What a stored profile is, and what may be asked of it; no I/O."""
