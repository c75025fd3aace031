"""grpc.aio channels for these tests: one connection each, no retries, quick to come back."""

from __future__ import annotations

import grpc.aio
from harness.stubs import CHANNEL_OPTIONS


def open_connection(endpoint: str) -> grpc.aio.Channel:
    """A plaintext channel to host:port."""
    return grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
