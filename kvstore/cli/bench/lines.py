"""Connections of a load: fast channels of our own to any etcd v3 store, opened again when they break.

kvstore.client's grpcio sends some three thousand calls a second from one process; these channels many times as many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from kvstore.cli.console import Console
from kvstore.cli.exits import BAD_ARGS, BAD_CONNECTION, CommandError
from kvstore.client.channels import address_of
from kvstore.client.errors import Unreachable
from kvstore.client.settings import Tls
from kvstore.errors import EtcdError
from kvstore.errors import error as known_error
from kvstore.pb import etcd_pb2 as pb
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.client_call import CallListener, ClientCall
from kvstore.wire.limits import Limits
from kvstore.wire.tls import ClientTls, TlsError, TlsFiles

_AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"
# Between two attempts to open a connection again, in seconds.
_PAUSE = 0.1


@dataclass(frozen=True)
class Target:
    """Where a connection goes. endpoint: as the user named it; context: None: without TLS."""

    endpoint: str
    host: str
    port: int
    context: ssl.SSLContext | None


class Line:
    """One connection; when it breaks, the next target is tried, and so on in turn."""

    def __init__(self, targets: Sequence[Target], first: int, console: Console) -> None:
        self._targets = targets
        self._turn = first
        self._console = console
        self._metadata: tuple[tuple[str, str], ...] = ()
        self._channel: Channel | None = None
        self._opening: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open it, and log in if a user was named. Unreachable; EtcdError if we may not."""
        target = self._targets[self._turn % len(self._targets)]
        self._turn += 1
        self._channel = await self._dial(target)
        settings = self._console.settings
        if settings.user is not None:
            self._metadata = await self._log_in(self._channel, settings.user, settings.password or "")

    async def _dial(self, target: Target) -> Channel:
        settings = self._console.settings
        try:
            return await Channel.connect(
                target.host,
                target.port,
                ssl=target.context,
                timeout=settings.dial_timeout or settings.timeout,
                limits=Limits(keepalive_interval=settings.keepalive_time, keepalive_timeout=settings.keepalive_timeout),
            )
        except EtcdError as problem:
            raise Unreachable({target.endpoint: _account(problem)}) from problem

    async def _log_in(self, channel: Channel, user: str, password: str) -> tuple[tuple[str, str], ...]:
        request = pb.AuthenticateRequest(name=user, password=password)
        try:
            answer = await channel.unary(_AUTHENTICATE, request.SerializeToString(), self._console.settings.timeout)
        except EtcdError as refusal:
            # As etcd's client: credentials for a store without authentication are not an error.
            if refusal.message != known_error("AUTH_NOT_ENABLED").message:
                raise
            return ()
        return (("token", pb.AuthenticateResponse.FromString(answer).token),)

    def open(self, path: str, listener: CallListener, timeout: float | None = None) -> ClientCall:
        """A call. EtcdError UNAVAILABLE while there is no connection; one is being opened then."""
        if self._channel is None or self._channel.closed:
            self._open_again()
        assert self._channel is not None
        return self._channel.open(path, self._metadata, listener=listener, timeout=timeout)

    def log_in_again(self) -> bool:
        """A call was told that its token is not, or no longer, good. False if no user was named."""
        if self._console.settings.user is None:
            return False
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return True

    async def _renew(self) -> None:
        settings = self._console.settings
        if self._channel is None or settings.user is None:
            return
        # What cannot be renewed now is tried again at the next refusal, which is counted.
        with contextlib.suppress(EtcdError):
            self._metadata = await self._log_in(self._channel, settings.user, settings.password or "")

    def _open_again(self) -> None:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._persist())

    async def _persist(self) -> None:
        while True:
            try:
                await self.connect()
                return
            except (EtcdError, Unreachable):
                await asyncio.sleep(_PAUSE)

    def close(self) -> None:
        """End it and every call on it."""
        for task in (self._opening, self._renewing):
            if task is not None:
                task.cancel()
        if self._channel is not None:
            self._channel.close()


async def open_lines(console: Console, count: int, endpoints: Sequence[str]) -> list[Line]:
    """So many connections, spread over the endpoints. Unreachable or CommandError when one cannot be opened."""
    targets = [_target(endpoint, console) for endpoint in endpoints]
    lines = [Line(targets, number, console) for number in range(count)]
    try:
        await asyncio.gather(*(line.connect() for line in lines))
    except Unreachable:
        _close(lines)
        raise
    except EtcdError as problem:
        _close(lines)
        raise CommandError(problem.message, BAD_CONNECTION) from problem
    return lines


def _close(lines: Sequence[Line]) -> None:
    for line in lines:
        line.close()


def _account(problem: EtcdError) -> str:
    """Why there is no connection: in the system's own words, where it is the system that says so."""
    cause = problem.__cause__
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0).lower()
    return problem.message.rpartition("cannot connect to ")[2].partition(": ")[2] or problem.message


def _target(endpoint: str, console: Console) -> Target:
    try:
        address, secure = address_of(endpoint)
        host, _, port = address.rpartition(":")
        if host == "unix" or not port.isdigit():
            raise ValueError(f"endpoint {endpoint!r}: bench takes host:port only")
        tls = console.settings.tls or (Tls() if secure else None)
        return Target(endpoint, host.strip("[]"), int(port), _context(tls))
    except (ValueError, TlsError) as problem:
        raise CommandError(str(problem), BAD_ARGS) from problem


def _context(tls: Tls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    files = TlsFiles(cert=tls.cert or "", key=tls.key or "", ca=tls.ca or "", trust_anyone=tls.skip_verify)
    return ClientTls(files).context()


async def leaders(console: Console) -> list[str]:
    """The endpoints, among those asked for, whose member leads. ClientError if one of them does not answer."""
    found = [(endpoint, await console.client.maintenance.status(endpoint)) for endpoint in console.endpoints]
    return [endpoint for endpoint, status in found if status.leader == status.header.member_id]
