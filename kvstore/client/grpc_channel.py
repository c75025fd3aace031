"""Channels of grpcio, the reference implementation of gRPC (see channel.py)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from kvstore.client import rpcs
from kvstore.client.channel import CallFailed, Metadata, NotSent
from kvstore.client.errors import BadCertificates, ClientError
from kvstore.client.rpcs import Rpc
from kvstore.client.settings import Settings, Tls
from kvstore.errors import Code

Response = TypeVar("Response", bound=Message)

_SIGHT_SECONDS = 5.0
# What gRPC says when a call never left this process.
_NEVER_SENT = ("failed to connect to all addresses", "DNS resolution failed", "Failed to pick subchannel")


class GrpcChannel:
    """See channel.Channel."""

    def __init__(self, target: str, secure: bool, settings: Settings) -> None:
        """Raises BadCertificates; ClientError when the server does not show one that skip_verify could trust."""
        self._channel: Any = _open(target, secure, settings)
        self._calls: dict[Rpc[Any], Any] = {}

    @property
    def ready(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    @property
    def broken(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def connect(self, timeout: float) -> None:
        """Wait until it is connected, or gRPC knows why not (the next call will tell)."""
        state = self._channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(timeout):
                while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise NotSent(f"no connection within {timeout:.3g} s") from None
        if state is grpc.ChannelConnectivity.SHUTDOWN:
            raise ClientError("the client is closed")

    async def unary(self, rpc: Rpc[Response], request: Message, timeout: float, metadata: Metadata) -> Response:
        """See channel.Channel."""
        try:
            response: Response = await self._callable(rpc)(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as failure:
            raise _problem(failure) from None
        except grpc.aio.UsageError as closed:
            raise ClientError("the client is closed") from closed
        return response

    def _callable(self, rpc: Rpc[Any]) -> Any:
        """The channel's callable for the rpc, made once."""
        made = self._calls.get(rpc)
        if made is None:
            made = self._calls[rpc] = self._channel.unary_unary(
                rpc.path, request_serializer=rpcs.encode, response_deserializer=rpc.response.FromString
            )
        return made

    def stream(self, path: str, response: type[Message], metadata: Metadata) -> GrpcStream:
        """See channel.Channel."""
        made = self._channel.stream_stream(
            path, request_serializer=rpcs.encode, response_deserializer=response.FromString
        )
        return GrpcStream(made(metadata=metadata))

    async def close(self) -> None:
        """See channel.Channel."""
        await self._channel.close()


class GrpcStream:
    """See channel.Stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def write(self, message: Message) -> None:
        """See channel.Stream."""
        with _problems():
            await self._call.write(message)

    async def done_writing(self) -> None:
        """See channel.Stream."""
        with _problems():
            await self._call.done_writing()

    async def read(self) -> Any | None:
        """See channel.Stream."""
        with _problems():
            response = await self._call.read()
        return None if response is grpc.aio.EOF else response

    def cancel(self) -> None:
        """See channel.Stream."""
        self._call.cancel()


@contextmanager
def _problems() -> Iterator[None]:
    """What grpcio says of a stream, in our words."""
    try:
        yield
    except grpc.aio.AioRpcError as failure:
        raise _problem(failure) from None
    except asyncio.InvalidStateError:
        raise CallFailed(Code.CANCELED, "the call has ended") from None


def _problem(failure: grpc.aio.AioRpcError) -> CallFailed:
    code, message = Code(failure.code().value[0]), failure.details() or ""
    return CallFailed(code, message, sent=code is not Code.UNAVAILABLE or not message.startswith(_NEVER_SENT))


def _open(target: str, secure: bool, settings: Settings) -> grpc.aio.Channel:
    options = _options(settings)
    if settings.tls is None and not secure:
        return grpc.aio.insecure_channel(target, options=options)
    tls = settings.tls or Tls()
    roots, key, cert, name = _read(tls.ca), _read(tls.key), _read(tls.cert), tls.server_name
    _check(tls)
    if tls.skip_verify:
        roots, name = _trust_on_sight(target, tls)
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    credentials = grpc.ssl_channel_credentials(roots, key, cert)
    return grpc.aio.secure_channel(target, credentials, options=options)


def _options(settings: Settings) -> list[tuple[str, int | str]]:
    return [
        # As etcd's own client: the store, not the client, bounds what an answer may hold.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", int(settings.keepalive_time * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        # A member that comes back is found within half a second, so also by calls that may take one.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 2000),
        ("grpc.max_reconnect_backoff_ms", 400),
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
        raise BadCertificates(f"cannot read {path}: {problem.strerror}") from problem


def _check(tls: Tls) -> None:
    """BadCertificates names the file that gRPC could not use: it would only say that there is no connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if tls.ca:
            context.load_verify_locations(tls.ca)
    except ssl.SSLError as problem:
        raise BadCertificates(f"trusted CA file {tls.ca} holds no PEM certificate") from problem
    try:
        if tls.cert:
            # A key with a passphrase is not for programs: nobody is asked for it.
            context.load_cert_chain(tls.cert, tls.key, password="")
    except ssl.SSLError as problem:
        why = (problem.reason or "").lower().replace("_", " ") or "not PEM, or with a passphrase"
        raise BadCertificates(f"certificate {tls.cert} and key {tls.key} cannot be used: {why}") from problem


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
