"""The leases that causes hang on: one for all causes of a few minutes."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Final

from control.apiserver.storage import Storage
from kvstore.client import ClientError

log = logging.getLogger(__name__)

SLOT_SECONDS: Final = 300


class Leases:
    """The lease of the present slot. A write must not wait for one twice: without a store there is no cause either."""

    def __init__(self, storage: Storage, ttl: int) -> None:
        self._storage, self._ttl = storage, ttl
        self._lease, self._until = 0, 0.0
        self.suffix = secrets.token_hex(2)

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
            log.warning("causes are not kept for now: %s", problem)
        return self._lease
