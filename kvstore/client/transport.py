"""Calls to a store of several members: which one is asked, what is asked again, and what is never asked again.

Invariants: a call that is not `repeatable` is sent again only when the attempt before it was certainly not applied
(no connection, or the store's own refusal); otherwise it ends as MaybeApplied. A call ends within its timeout.
Faults assumed: members die, hang, restart, lose their leader; connections break at any byte.

Members are asked in turn. One that cannot be connected, or that failed lately, is asked after the others.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from kvstore.backoff import delays
from kvstore.client import errors, rpcs
from kvstore.client.channel import CallFailed, Metadata, NotSent, shorten
from kvstore.client.channels import open_channel
from kvstore.client.errors import ClientError, MaybeApplied, StoreError, TimedOut, Unreachable
from kvstore.client.rpcs import Rpc
from kvstore.client.settings import Settings
from kvstore.client.together import Together
from kvstore.errors import Code
from kvstore.errors import error as known_error
from kvstore.pb import etcd_pb2 as pb

Response = TypeVar("Response", bound=Message)

# Seconds for which a member that failed is asked last, the first time and at most.
_AVOID, _AVOID_MOST = 2.0, 30.0
# A read waits at least this long (seconds) for one member before it turns to the next.
_PATIENCE = 0.5
# With less time (seconds) than this there is no other round.
_LAST_ROUND = 0.01
_REQUIRE_LEADER = (("hasleader", "true"),)


class Uncertain(Exception):
    """One attempt whose fate is unknown. Internal: callers see MaybeApplied, TimedOut or a second attempt."""

    def __init__(self, reason: str, error: StoreError | None = None) -> None:
        super().__init__(reason)
        self.error = error


class Endpoint:
    """One member's address and the channel to it."""

    def __init__(self, address: str, settings: Settings) -> None:
        self.address = address
        self.channel = open_channel(address, settings)
        self.avoid_until = 0.0
        self._avoid = _AVOID

    def promising(self, now: float) -> bool:
        """Whether there is no sign that it would fail."""
        return now >= self.avoid_until and not self.channel.broken

    def failed(self) -> None:
        """Ask the others first for a while, each time for longer."""
        self.avoid_until = time.monotonic() + self._avoid
        self._avoid = min(self._avoid * 2, _AVOID_MOST)

    def worked(self) -> None:
        """It answered: nothing is held against it any more."""
        self.avoid_until, self._avoid = 0.0, _AVOID


class Transport:
    """The channels of one client. Use from one event loop; close() ends everything that still runs on it."""

    def __init__(self, settings: Settings) -> None:
        if not settings.endpoints:
            raise ValueError("at least one endpoint is needed")
        self.settings = settings
        self.endpoints = [Endpoint(address, settings) for address in settings.endpoints]
        self._turn = random.randrange(len(self.endpoints)) if settings.spread else 0
        self._token: str | None = None
        self._login = Together(self._fetch_token)
        # What is known of the login that is under way, or was last.
        self._logging_in: _Attempts | None = None

    async def close(self) -> None:
        """Close every channel; calls under way end with an error."""
        await asyncio.gather(*(endpoint.channel.close() for endpoint in self.endpoints))

    def endpoint(self, address: str) -> Endpoint:
        """The endpoint with this address, opened if it is not one of the client's. ValueError if malformed."""
        for endpoint in self.endpoints:
            if endpoint.address == address:
                return endpoint
        raise ValueError(f"{address} is not one of this client's endpoints: {', '.join(self.settings.endpoints)}")

    async def unary(
        self,
        rpc: Rpc[Response],
        request: Message,
        *,
        timeout: float | None = None,
        endpoint: str | None = None,
        on_doubt: Callable[[], None] | None = None,
    ) -> Response:
        """Ask until an answer, a refusal, or `timeout` seconds (default: the client's). endpoint: only this member.

        on_doubt: called after every attempt whose fate is unknown: the store may carry it out at any later time.
        Raises Unreachable, TimedOut (reads), MaybeApplied (writes), StoreError.
        """
        attempts = _Attempts(self, rpc, request, timeout or self.settings.timeout, on_doubt)
        response: Response = await self._answer(attempts, endpoint)
        return response

    async def _answer(self, attempts: _Attempts, endpoint: str | None = None) -> Any:
        pause = delays()
        while True:
            for candidate in [self.endpoint(endpoint)] if endpoint else self.in_turn():
                response = await attempts.ask(candidate)
                if response is not None:
                    return response
            await attempts.sleep(next(pause))

    def in_turn(self) -> list[Endpoint]:
        """All members, the next one in turn first, those that look broken last."""
        turn, self._turn = self._turn, (self._turn + 1) % len(self.endpoints)
        now = time.monotonic()
        rotated = self.endpoints[turn:] + self.endpoints[:turn]
        return sorted(rotated, key=lambda endpoint: not endpoint.promising(now))

    async def connected(self, deadline: float | None) -> Endpoint:
        """The next member that a connection stands to. deadline: monotonic seconds, None to try for ever.

        Raises Unreachable when the deadline passes. For streams, which choose their member themselves.
        """
        pause, reasons = delays(), dict[str, str]()
        while True:
            for candidate in self.in_turn():
                left = 5.0 if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise Unreachable(reasons)
                try:
                    await candidate.channel.connect(min(left, self.settings.dial_timeout or left))
                except NotSent as problem:
                    reasons[candidate.address] = str(problem)
                    continue
                if candidate.channel.ready:
                    return candidate
                reasons.setdefault(candidate.address, "connection failed")
            left = math.inf if deadline is None else max(deadline - time.monotonic(), 0)
            await asyncio.sleep(min(next(pause), left))

    async def metadata(self, rpc: Rpc[Any] | None = None, deadline: float | None = None) -> Metadata:
        """What goes with every call: the token, and (streams: always) the wish for a member that has a leader.

        deadline: monotonic seconds, None for as long as a login may take. Raises what a read does.
        """
        require_leader = _REQUIRE_LEADER if rpc is None or rpc.needs_leader else ()
        if self.settings.user is None or rpc is rpcs.AUTHENTICATE:
            return require_leader
        if self._token is None:
            await self._log_in(deadline)
        return (*require_leader, ("token", self._token)) if self._token else require_leader

    def forget_token(self) -> None:
        """The store does not know the token any more; the next call fetches a new one."""
        self._token = None

    async def _log_in(self, deadline: float | None) -> None:
        """Wait for the login that all calls share, until the deadline of this one."""
        if deadline is not None and self._logging_in is not None:
            # Whoever came first may have less time than we: it goes on as long as somebody waits for it.
            self._logging_in.deadline = max(self._logging_in.deadline, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                await self._login.result()
        except TimeoutError:
            raise self._no_login() from None

    def _no_login(self) -> ClientError:
        """What a call ends with whose time is over before the login."""
        known = self._logging_in
        if known is not None and (known.last is not None or known.unreachable):
            return known.verdict()
        return TimedOut("no answer to the login in time")

    async def _fetch_token(self) -> None:
        request = pb.AuthenticateRequest(name=self.settings.user or "", password=self.settings.password or "")
        self._logging_in = _Attempts(self, rpcs.AUTHENTICATE, request, self.settings.timeout)
        try:
            self._token = (await self._answer(self._logging_in)).token
        except StoreError as refusal:
            # As etcd's client: credentials for a store without authentication are not an error.
            if refusal.message != known_error("AUTH_NOT_ENABLED").message:
                raise
            self._token = ""


class _Attempts:
    """The attempts of one call, and the judgement on each."""

    def __init__(
        self,
        transport: Transport,
        rpc: Rpc[Any],
        request: Message,
        timeout: float,
        on_doubt: Callable[[], None] | None = None,
    ) -> None:
        self.transport = transport
        self.rpc = rpc
        self.request = request
        self.started = time.monotonic()
        self.deadline = self.started + timeout
        self.unreachable: dict[str, str] = {}
        self.last: ClientError | None = None
        self.login_refused = False
        self._on_doubt = on_doubt
        self._hung = False

    async def ask(self, endpoint: Endpoint) -> Any | None:
        """The response, or None when another attempt may follow; raises when none may."""
        try:
            response = await self._send(endpoint)
            endpoint.worked()
            return response
        except NotSent as problem:
            endpoint.failed()
            if endpoint.address not in self.unreachable or time.monotonic() < self.deadline:
                # One that is cut short by the end of the time says less than the one before.
                self.unreachable[endpoint.address] = str(problem)
        except Uncertain as problem:
            endpoint.failed()
            if self._on_doubt is not None:
                self._on_doubt()
            if not self.rpc.repeatable:
                raise MaybeApplied(f"{endpoint.address}: {problem}") from None
            self._hung = self._hung or problem.error is None
            self.last = problem.error or TimedOut(f"{endpoint.address}: {problem}")
        except StoreError as refusal:
            self._judge(endpoint, refusal)
        return None

    async def sleep(self, seconds: float) -> None:
        """Wait before the next round; raise what the call ends with when there is no time for one.

        The last rounds come closer together, so that a member that is back is found until the very end.
        """
        left = self._left()
        if left < _LAST_ROUND:
            raise self.verdict()
        await asyncio.sleep(min(seconds, left / 2))

    def _left(self) -> float:
        """Seconds for more rounds: those of the call, and as long as no member was reached those for dialing."""
        deadline, dial = self.deadline, self.transport.settings.dial_timeout
        if dial is not None and self.last is None:
            deadline = min(deadline, self.started + dial)
        return deadline - time.monotonic()

    def verdict(self) -> ClientError:
        """What the call ends with when there is no time for another attempt."""
        return self.last or Unreachable(self.unreachable)

    def _judge(self, endpoint: Endpoint, refusal: StoreError) -> None:
        """Raise the refusal unless it was one for now only."""
        if errors.login_wanted(refusal.message) and self.transport.settings.user and not self.login_refused:
            self.login_refused = True
            self.transport.forget_token()
        elif errors.refused_for_now(refusal.message):
            endpoint.failed()
        else:
            raise refusal
        self.last = refusal

    async def _send(self, endpoint: Endpoint) -> Any:
        metadata = await self.transport.metadata(self.rpc, self.deadline)
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.verdict()
        dial = self.transport.settings.dial_timeout or left
        await endpoint.channel.connect(min(left, dial, self._share(left)))
        left = max(self.deadline - time.monotonic(), 0.001)
        timeout = self._share(left) if self.rpc.repeatable else left
        try:
            return await endpoint.channel.unary(self.rpc, self.request, timeout, metadata)
        except CallFailed as failure:
            raise classify(failure, self.rpc.repeatable) from None

    def _share(self, left: float) -> float:
        """How much of the time left one member may use up, when there are others to turn to.

        A quarter for the first; when that was not enough, half of the rest, since the question may just be long.
        """
        if len(self.transport.endpoints) == 1:
            return left
        return max(left / (2 if self._hung else 4), min(left, _PATIENCE))


def classify(failure: CallFailed, repeatable: bool) -> Exception:
    """What one failed call means: NotSent, Uncertain, or the store's StoreError."""
    code, message = failure.code, failure.message
    if not failure.sent:
        return NotSent(shorten(message))
    if repeatable and errors.worth_asking_again(code, message):
        return Uncertain(message, errors.from_status(code, message))
    if code is Code.DEADLINE_EXCEEDED:
        return Uncertain("no answer in time")
    if repeatable or errors.certainly_not_applied(code, message):
        return errors.from_status(code, message)
    return Uncertain(message or code.name)
