"""A load generator on raw sockets: requests are encoded before the clock starts, answers are only counted.

It is no HTTP/2 client: it knows what gRPC servers send, and fails loudly on anything else.
"""
