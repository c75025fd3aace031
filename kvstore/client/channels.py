"""gRPC channels from endpoints: addresses, options, certificates."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from kvstore.client.errors import ClientError
from kvstore.client.settings import Settings, Tls

_SCHEMES = ("http", "https", "unix", "unixs")
_DEFAULT_PORT = 2379
_SIGHT_SECONDS = 5.0


def address_of(endpoint: str) -> tuple[str, bool]:
    """(gRPC target, whether the endpoint itself asks for TLS). ValueError for what is no endpoint."""
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


def open_channel(endpoint: str, settings: Settings) -> grpc.aio.Channel:
    """A channel that connects when it is first used. ValueError: a bad endpoint; ClientError: bad certificates."""
    target, secure = address_of(endpoint)
    options = _options(settings)
    if settings.tls is None and not secure:
        return grpc.aio.insecure_channel(target, options=options)
    tls = settings.tls or Tls()
    roots, name = _read(tls.ca), tls.server_name
    if tls.skip_verify:
        roots, name = _trust_on_sight(target, tls)
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    credentials = grpc.ssl_channel_credentials(roots, _read(tls.key), _read(tls.cert))
    return grpc.aio.secure_channel(target, credentials, options=options)


def _options(settings: Settings) -> list[tuple[str, int | str]]:
    return [
        # As etcd's own client: the store, not the client, bounds what an answer may hold.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(settings.keepalive_time * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        # A member that comes back is found within a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2000),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # A DNS record must not be able to switch on gRPC's own retries: they would repeat writes.
        ("grpc.service_config_disable_resolution", 1),
        # Every client has connections of its own: closing one never cuts another's streams.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise ClientError(f"cannot read {path}: {problem.strerror}") from problem


def _trust_on_sight(target: str, tls: Tls) -> tuple[bytes, str | None]:
    """The certificate that the server shows now, as the one to trust, and a name it carries.

    gRPC cannot skip verification, so its result is made certain instead.
    """
    looking = ssl.create_default_context()
    looking.check_hostname = False
    looking.verify_mode = ssl.CERT_NONE
    try:
        pem = ssl.DER_cert_to_PEM_cert(_shown(target, tls, looking, binary=True))
        # Only a certificate that was verified is taken apart by the ssl module: so verify it, with itself.
        reading = ssl.create_default_context(cadata=pem)
        reading.check_hostname = False
        reading.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return pem.encode(), _name_in(_shown(target, tls, reading, binary=False))
    except (OSError, ValueError) as problem:
        raise ClientError(f"cannot fetch the certificate of {target}: {problem}") from problem


def _shown(target: str, tls: Tls, context: ssl.SSLContext, *, binary: bool) -> Any:
    """The certificate of the server at the other end of a connection made for this."""
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    host, _, port = target.rpartition(":")
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SIGHT_SECONDS) as plain,
        context.wrap_socket(plain) as secure,
    ):
        return secure.getpeercert(binary_form=binary)


def _name_in(certificate: dict[str, Any]) -> str | None:
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    common = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return next(iter([*names, *common]), None)
