"""Which backend a new connection gets: one by chance, or the client's last one (session affinity). Pure.

Invariant: the table of clients never grows above its bound; the one not seen for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from node_agent.network.proxy.endpoints import Backend

MOST_CLIENTS: Final = 10_000


class Balancer:
    """Of one port of one Service."""

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        self._most = most
        self._last: OrderedDict[str, tuple[Backend, float]] = OrderedDict()

    def order(
        self, backends: Sequence[Backend], client: str, affinity: int, now: float, chance: float
    ) -> list[Backend]:
        """The backends to try, one after the other. affinity: seconds, 0 for none; chance: from [0, 1)."""
        if not backends:
            return []
        start = int(chance * len(backends))
        found = [*backends[start:], *backends[:start]]
        last = self._last.get(client) if affinity else None
        if last is not None and now - last[1] < affinity and last[0] in found:
            found.remove(last[0])
            found.insert(0, last[0])
        return found

    def took(self, client: str, backend: Backend, affinity: int, now: float) -> None:
        """The client has a connection to that one."""
        if not affinity:
            return
        self._last[client] = (backend, now)
        self._last.move_to_end(client)
        while len(self._last) > self._most:
            self._last.popitem(last=False)
