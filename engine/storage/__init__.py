"""Blocks and the catalog on an object store."""
