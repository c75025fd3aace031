"""Running probes and lifecycle hooks: HTTP, TCP, gRPC, commands; when they are due."""
