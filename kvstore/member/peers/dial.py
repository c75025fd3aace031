"""Connecting to other members: every call from member to member begins here, so TLS is asked for in one place."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.member.config import Address
from kvstore.wire.channel import Channel
from kvstore.wire.tls import ClientTls, TlsFiles


class Dialer:
    """Opens channels to peers with this member's peer certificate."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsError."""
        self._tls = ClientTls(files)

    async def connect(
        self, address: Address, *, timeout: float, on_lost: Callable[[BaseException | None], None]
    ) -> Channel:
        """Over TLS if the peer's URL says https. Raises EtcdError UNAVAILABLE."""
        context = self._tls.context() if address.tls else None
        return await Channel.connect(address.host, address.port, ssl=context, timeout=timeout, on_lost=on_lost)
