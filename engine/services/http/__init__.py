"""How the server is spoken to: Connect, gRPC and plain HTTP, as values of the engine."""
