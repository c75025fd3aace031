"""gRPC over HTTP/2 without I/O: messages, status, metadata, calls. Source: gRPC's PROTOCOL-HTTP2 document."""
