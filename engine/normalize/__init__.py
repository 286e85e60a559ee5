"""From decoded profiles to content-keyed tables, under one of two rule sets."""
