"""Channels from endpoints: addresses, and which library carries the calls."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kvstore.client.channel import Channel
from kvstore.client.settings import Settings

_SCHEMES = ("http", "https", "unix", "unixs")
_DEFAULT_PORT = 2379


def address_of(endpoint: str) -> tuple[str, bool]:
    """(host:port or unix:path, whether the endpoint itself asks for TLS). ValueError for what is no endpoint."""
    text = endpoint.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    elif scheme not in _SCHEMES:
        raise ValueError(f"endpoint {endpoint!r}: unknown scheme {scheme!r}; expected host:port or http(s)://host:port")
    if scheme.startswith("unix"):
        return f"unix:{rest}", scheme == "unixs"
    parts = urlsplit(f"//{rest}")
    if not parts.hostname or parts.username or parts.query:
        raise ValueError(f"endpoint {endpoint!r}: expected host:port or http(s)://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{_port(endpoint, parts)}", scheme == "https"


def _port(endpoint: str, parts: Any) -> int:
    try:
        return parts.port or _DEFAULT_PORT
    except ValueError:
        raise ValueError(f"endpoint {endpoint!r}: the port must be a number from 1 to 65535") from None


def open_channel(endpoint: str, settings: Settings) -> Channel:
    """A channel that connects when it is first used. ValueError: a bad endpoint; ClientError: bad certificates."""
    target, secure = address_of(endpoint)
    secure = secure or settings.tls is not None
    # Each library is loaded by those who use it only.
    if settings.library == "own" and not target.startswith("unix:"):
        from kvstore.client.wire_channel import WireChannel

        return WireChannel(target, secure, settings)
    from kvstore.client.grpc_channel import GrpcChannel

    return GrpcChannel(target, secure, settings)
