"""Merging blocks: which ones, and the work itself."""
