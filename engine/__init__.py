"""The database: ingest, storage, queries, and the ways to open it."""
