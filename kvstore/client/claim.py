"""What a lock and a candidacy have in common: a place in a line of keys under one name, and the lease it hangs on."""

from __future__ import annotations

from kvstore.client.kv import KV
from kvstore.client.place import Place
from kvstore.client.requests import Bytes
from kvstore.client.session import Session
from kvstore.client.watch import Watches
from kvstore.pb import etcd_pb2 as pb


class Claim:
    """The base of Lock and Election."""

    def __init__(self, kv: KV, watches: Watches, session: Session, name: Bytes, *, own_session: bool) -> None:
        """own_session: the session is the claim's alone and ends with it."""
        self._place = Place(kv, watches, session, name)
        self._own_session = own_session

    @property
    def session(self) -> Session:
        """The lease that it hangs on; it starts with the first claim."""
        return self._place.session

    @property
    def key(self) -> bytes:
        """The key that stands for us; b"" while we claim nothing."""
        return self._place.key

    @property
    def token(self) -> int:
        """The fencing token: greater than that of everybody before. 0 while we claim nothing."""
        return self._place.revision

    def fenced(self) -> pb.Compare:
        """A compare for transactions that must not be applied once the claim is lost. Raises LeaseLost."""
        return self._place.fenced()

    async def wait_lost(self) -> None:
        """Return once the lease is lost, and the claim with it."""
        await self.session.wait_lost()

    async def _abandon(self) -> None:
        """Leave nothing behind, as far as the store can be reached; end the session if it is ours alone."""
        await self._place.abandon()
        if self._own_session:
            await self.session.close()
