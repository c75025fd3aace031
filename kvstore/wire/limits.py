"""How much a stranger may ask of a connection before it is closed, and how long it may take.

Every number here has a test. Defaults are generous for etcd's own clients (thousands of calls in flight, watchers that
live for days) and small for an attacker. Source: RFC 9113 section 10.5, CVE-2019-9511 to 9518, CVE-2023-44487,
CVE-2024-27316.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `burst` events at once, refilled by `per_second`."""

    burst: int
    per_second: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server or channel. Sizes in bytes, times in seconds; a time of 0 means no limit."""

    max_connections: int = 20_000
    # Header blocks: as sent, as decoded (RFC 9113's SETTINGS_MAX_HEADER_LIST_SIZE), and the frames one may be cut into.
    max_header_block: int = 64 * 1024
    max_header_list: int = 64 * 1024
    max_continuations: int = 32
    max_concurrent_streams: int = 4096
    # Receive windows. A stream's is larger than a request may be, so that unary calls need no WINDOW_UPDATE.
    stream_window: int = 4 * 1024 * 1024
    connection_window: int = 16 * 1024 * 1024
    max_frame: int = 16_384
    # Memory one connection may hold: unfinished messages and bodies it sends, and what it does not read. There may be
    # more to read for who reads: whoever answers waits, or has one response a stream there (services/kv.py, watch.py).
    max_partial: int = 64 * 1024 * 1024
    max_unsent: int = 64 * 1024 * 1024
    # What ordinary clients send seldom and attackers often.
    resets: Rate = field(default=Rate(10_000, 1_000))
    settings: Rate = field(default=Rate(100, 10))
    pings: Rate = field(default=Rate(10_000, 10_000))
    priorities: Rate = field(default=Rate(10_000, 1_000))
    empty_data: Rate = field(default=Rate(1_000, 100))
    stream_errors: Rate = field(default=Rate(1_000, 100))
    # Times.
    handshake_timeout: float = 10.0
    stall_timeout: float = 60.0
    idle_timeout: float = 0.0
    keepalive_interval: float = 7200.0
    keepalive_timeout: float = 20.0
    # HTTP/1.1 on the same port.
    max_http_head: int = 64 * 1024
    max_http_body: int = 4 * 1024 * 1024
