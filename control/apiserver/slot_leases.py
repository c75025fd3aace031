"""Leases for what goes by itself after some hours: one for all keys of a few minutes, which nobody renews.

Faults assumed: a lease can be gone before its time (a restored store): the storage tells, and a new one is granted.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from control.apiserver.storage import Storage
from kvstore.client import ClientError

log = logging.getLogger(__name__)

SLOT_SECONDS: Final = 300


class SlotLeases:
    """The lease of the present slot. ttl: seconds that a key lives at least.

    A write must not wait long for one: without a lease it does without what would hang on it.
    """

    def __init__(self, storage: Storage, ttl: int) -> None:
        self._storage, self._ttl = storage, ttl
        self._lease, self._until = 0, 0.0
        storage.lease_lost.append(self._forget)

    async def current(self) -> int:
        """A lease id, 0 when none can be had."""
        now = time.monotonic()
        if now < self._until:
            return self._lease
        self._until = now + SLOT_SECONDS
        try:
            self._lease = (await self._storage.client.leases.grant(self._ttl + SLOT_SECONDS)).ID
        except ClientError as problem:
            self._lease, self._until = 0, now + 1.0
            log.warning("no lease for keys that expire: %s", problem)
        return self._lease

    def _forget(self) -> None:
        self._lease, self._until = 0, 0.0
