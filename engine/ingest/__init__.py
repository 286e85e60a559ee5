"""From uploads to blocks in the catalog, once each."""
