"""What a client is told at its start: where the store is, who asks, how long to wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

DEFAULT_ENDPOINT = "127.0.0.1:2379"


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificates as PEM file paths. ca: whom to trust (None: the system's); cert and key: who we are."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    # Trust whatever certificate the server shows. For tests only: anyone in between can read and change everything.
    skip_verify: bool = False
    # The name the server's certificate must carry, if it is not the host of the endpoint.
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if bool(self.cert) != bool(self.key):
            given, missing = ("cert", "key") if self.cert else ("key", "cert")
            raise ValueError(f"tls: {given} is given without {missing}; give both, or neither")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times are seconds."""

    endpoints: Sequence[str] = (DEFAULT_ENDPOINT,)
    # For one call, all its attempts and waits together.
    timeout: float = 5.0
    # For one connection attempt; None: as long as the call may take.
    dial_timeout: float | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    # Begin at an endpoint drawn by chance, so that many clients spread; False: at the first one.
    spread: bool = True
    # HTTP/2 pings on a quiet connection; etcd's servers cut clients that ping more often than every five seconds.
    keepalive_time: float = 10.0
    keepalive_timeout: float = 5.0
    # Which gRPC library carries the calls: grpcio, the reference; or our own, which costs much less CPU and memory.
    # Unix sockets go by grpcio always.
    library: Literal["grpcio", "own"] = "grpcio"

    def __post_init__(self) -> None:
        """Raises ValueError."""
        for name, seconds in (("timeout", self.timeout), ("dial_timeout", self.dial_timeout)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} must be more than 0 seconds, not {seconds:g}")
