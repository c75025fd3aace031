"""bcrypt off the event loop: hashing new passwords, checking given ones, and remembering which were right.

bcrypt takes tens of milliseconds by design and gives up the GIL meanwhile; it runs in two threads of low priority, so
that a flood of wrong passwords costs neither the loop nor its processor. Checks of the same password that come together
are one. Bounded: beyond MAX_WAITING jobs callers are refused.

Passwords are bytes of UTF-8. bcrypt knows the first 72 only: longer new ones are refused, as etcd does; of given ones
the first 72 count, as they did when such users were made with older etcds.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

from kvstore.auth.password_cache import PasswordCache
from kvstore.errors import Code, EtcdError, error

log = logging.getLogger(__name__)

THREADS = 2
NICENESS = 10
MAX_WAITING = 1_000
MIN_COST, MAX_COST, DEFAULT_COST = 4, 31, 10
_LONGEST = 72


class Passwords:
    """The threads and the memory of one member. All methods are the loop's."""

    def __init__(self, cost: int) -> None:
        """cost: --bcrypt-cost; etcd's default is taken for one that bcrypt does not know."""
        if not MIN_COST <= cost <= MAX_COST:
            log.warning("--bcrypt-cost %d is not in %d to %d: using %d", cost, MIN_COST, MAX_COST, DEFAULT_COST)
            cost = DEFAULT_COST
        self._cost = cost
        self._threads = ThreadPoolExecutor(THREADS, "bcrypt", _lower_priority)
        self._cache = PasswordCache(secrets.token_bytes(32))
        self._checks: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting = 0

    def close(self) -> None:
        """End the threads; what is under way is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """Remember no right password any more."""
        self._cache.clear()

    async def hash(self, password: str) -> str:
        """A new bcrypt hash in base64, as requests carry it. Raises etcd's refusal of long ones, TOO_MANY_REQUESTS."""
        data = password.encode()
        if len(data) > _LONGEST:
            raise EtcdError(Code.UNKNOWN, "bcrypt: password length exceeds 72 bytes")
        self._admit()
        try:
            loop = asyncio.get_running_loop()
            hashed = await loop.run_in_executor(self._threads, _hash, data, self._cost)
        finally:
            self._waiting -= 1
        return base64.b64encode(hashed).decode()

    async def check(self, user: str, stored: bytes, password: str) -> bool:
        """Whether it is the password of `stored`. Raises TOO_MANY_REQUESTS."""
        digest = self._cache.digest(user, stored, password)
        if digest in self._cache:
            return True
        under_way = self._checks.get(digest)
        if under_way is None:
            under_way = self._begin(digest, stored, password)
        # Shielded: another caller may wait for the same check.
        return await asyncio.shield(under_way)

    def _begin(self, digest: bytes, stored: bytes, password: str) -> asyncio.Future[bool]:
        self._admit()
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._threads, _check, stored, password.encode()[:_LONGEST])
        self._checks[digest] = job

        def ended(done: asyncio.Future[bool]) -> None:
            self._waiting -= 1
            self._checks.pop(digest, None)
            if not done.cancelled() and done.exception() is None and done.result():
                self._cache.add(digest)

        job.add_done_callback(ended)
        return job

    def _admit(self) -> None:
        if self._waiting >= MAX_WAITING:
            raise error("TOO_MANY_REQUESTS")
        self._waiting += 1


def _hash(password: bytes, cost: int) -> bytes:
    import bcrypt

    return bcrypt.hashpw(password, bcrypt.gensalt(cost, prefix=b"2a"))


def _check(stored: bytes, password: bytes) -> bool:
    try:
        import bcrypt

        return bcrypt.checkpw(password, stored)
    except ValueError:
        return False  # the stored hash is none: the user has no password that could be right


def _lower_priority() -> None:
    """On Linux a thread has a priority of its own."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
