"""Leases: grant, revoke, renew, look at.

Invariant: a lease counts as alive here only until `ttl` seconds after the last renewal that the store confirmed was
*sent*, by this machine's monotonic clock. The store counts from a later moment, so we never think a lease alive that
the store has let go. Faults assumed: any member may die or hang between a renewal and its answer; this process may be
paused for any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Self

from kvstore.backoff import delays
from kvstore.client import errors, rpcs
from kvstore.client.channel import CallFailed, Stream
from kvstore.client.errors import ClientError, LeaseExists, LeaseLost, LeaseNotFound, Unreachable
from kvstore.client.transport import Endpoint, Transport
from kvstore.errors import error as known_error
from kvstore.pb import etcd_pb2 as pb

# A lease is renewed when a third of its time is over: two renewals may fail before it is lost.
_RENEWALS_PER_TTL = 3
# Seconds that one member gets to answer a renewal, at least.
_PATIENCE = 1.0


class Leases:
    """The lease calls of a client. Every method raises what transport.Transport.unary does."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def grant(self, ttl: int, lease_id: int = 0) -> pb.LeaseGrantResponse:
        """A new lease of at least `ttl` seconds; the answer's ID and TTL say which.

        lease_id 0: one drawn here, which makes the call safe to repeat, so it never ends as MaybeApplied.
        Raises LeaseExists for an id that is taken.
        """
        if lease_id:
            return await self._transport.unary(rpcs.LEASE_GRANT, pb.LeaseGrantRequest(TTL=ttl, ID=lease_id))
        request = pb.LeaseGrantRequest(TTL=ttl, ID=random.SystemRandom().randrange(1, 1 << 63))
        try:
            return await self._transport.unary(rpcs.REPEATABLE_LEASE_GRANT, request)
        except LeaseExists:
            # Nobody else draws this id: an attempt before the one that says so was applied.
            found = await self.time_to_live(request.ID)
            return pb.LeaseGrantResponse(header=found.header, ID=request.ID, TTL=found.grantedTTL)

    async def revoke(self, lease_id: int) -> pb.LeaseRevokeResponse:
        """End the lease and delete its keys. Raises LeaseNotFound, MaybeApplied."""
        return await self._transport.unary(rpcs.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease_id))

    async def time_to_live(self, lease_id: int, *, keys: bool = False) -> pb.LeaseTimeToLiveResponse:
        """Seconds left (-1 for an unknown lease), and with `keys` the keys that hang on it."""
        request = pb.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
        return await self._transport.unary(rpcs.LEASE_TIME_TO_LIVE, request)

    async def list(self) -> pb.LeaseLeasesResponse:
        """Every lease there is."""
        return await self._transport.unary(rpcs.LEASE_LEASES, pb.LeaseLeasesRequest())

    async def keep_alive_once(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """Renew once. Raises LeaseNotFound, Unreachable."""
        renewals = self.keep_alive(lease_id, ttl=self._transport.settings.timeout)
        try:
            return await anext(renewals)
        except LeaseLost:
            if renewals.answered:
                known = known_error("LEASE_NOT_FOUND")
                raise LeaseNotFound(known.code, known.message) from None
            raise Unreachable(dict.fromkeys(self._transport.settings.endpoints, "no answer in time")) from None
        finally:
            await renewals.aclose()

    def keep_alive(self, lease_id: int, *, ttl: float | None = None, since: float | None = None) -> KeepAlive:
        """Renew for ever: an async iterator with one response a renewal, raising LeaseLost at the end.

        ttl: seconds that the lease is known to live from `since` (monotonic; default: now) on. None: not known, so
        that it can only be lost once the store has answered.
        """
        return KeepAlive(self._transport, lease_id, ttl, since)


class KeepAlive:
    """Renewals of one lease; each step of the iteration waits until the next one is due, and sends it."""

    def __init__(self, transport: Transport, lease_id: int, ttl: float | None, since: float | None) -> None:
        self.lease_id = lease_id
        # Whether the store has answered at all.
        self.answered = False
        self._transport = transport
        started = time.monotonic() if since is None else since
        # Monotonic time from which on the lease must be taken for lost; None: not known.
        self.lost_at = None if ttl is None else started + ttl
        self._due_at = started
        self._endpoint: Endpoint | None = None
        self._call: Stream | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pb.LeaseKeepAliveResponse:
        await asyncio.sleep(max(self._due_at - time.monotonic(), 0))
        pause = delays()
        while True:
            with contextlib.suppress(_Broken):
                return await self._renew()
            if self._call is not None and self._endpoint is not None:
                self._endpoint.failed()
            self._drop()
            await asyncio.sleep(min(next(pause), self._left()))

    async def aclose(self) -> None:
        """End the stream; the lease lives on until its time is over."""
        self._drop()

    def _left(self) -> float:
        """Seconds until the lease must be taken for lost. Raises LeaseLost when there are none."""
        if self.lost_at is None:
            return self._transport.settings.timeout
        left = self.lost_at - time.monotonic()
        if left <= 0:
            raise LeaseLost(self.lease_id)
        return left

    async def _renew(self) -> pb.LeaseKeepAliveResponse:
        left = self._left()
        call = self._call or await self._open(time.monotonic() + left)
        sent = time.monotonic()
        response = await self._exchange(call, min(self._left(), max(left / 2, _PATIENCE)))
        self.answered = True
        if response.TTL <= 0:
            raise LeaseLost(self.lease_id)
        self.lost_at = sent + response.TTL
        self._due_at = sent + response.TTL / _RENEWALS_PER_TTL
        return response

    async def _exchange(self, call: Stream, timeout: float) -> pb.LeaseKeepAliveResponse:
        try:
            async with asyncio.timeout(timeout):
                await call.write(pb.LeaseKeepAliveRequest(ID=self.lease_id))
                response = await call.read()
        except TimeoutError:
            raise _Broken from None
        except CallFailed as failure:
            raise self._judged(failure) from None
        except BaseException:
            # The caller has given up: an answer that comes later must not be taken for that to the next renewal.
            self._drop()
            raise
        if response is None:
            raise _Broken
        answer: pb.LeaseKeepAliveResponse = response
        return answer

    def _judged(self, failure: CallFailed) -> Exception:
        """_Broken when another member may do better; the store's refusal otherwise."""
        code, message = failure.code, failure.message
        if errors.login_wanted(message) and self._transport.settings.user:
            self._transport.forget_token()
            return _Broken()
        final = errors.certainly_not_applied(code, message) and not errors.worth_asking_again(code, message)
        return errors.from_status(code, message) if final else _Broken()

    async def _open(self, deadline: float) -> Stream:
        try:
            self._endpoint = await self._transport.connected(deadline)
            metadata = await self._transport.metadata(deadline=deadline)
        except ClientError as problem:
            # A lease that lives is not given up for a connection or a login that fails for a moment.
            if self.lost_at is None or not errors.passing(problem):
                raise
            raise _Broken from None
        self._call = self._endpoint.channel.stream(rpcs.KEEP_ALIVE_PATH, pb.LeaseKeepAliveResponse, metadata)
        return self._call

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


class _Broken(Exception):
    """This renewal failed; another may not."""
