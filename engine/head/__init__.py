"""The head: profiles that are durable and not yet in a block."""
