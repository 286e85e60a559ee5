"""The roles of a server, one file each, and how they are wired together."""
