"""CustomResourceDefinitions: their kinds are served as soon as the client hears that they exist."""

from __future__ import annotations

from control.api.schema import Object
from control.apiserver.server import Server
from control.apiserver.storage import Claimed, Extra


class Definitions:
    """The hook of CustomResourceDefinitions."""

    async def before_create(self, server: Server, obj: Object, extra: Extra) -> None:
        """..."""

    async def after_create(self, server: Server, obj: Object, revision: int) -> None:
        """This server serves the kind before the client can ask for it."""
        await server.feed.reach(revision)

    async def before_update(self, server: Server, new: Object, old: Object, extra: Extra) -> None:
        """..."""

    async def before_delete(self, server: Server, obj: Object, extra: Extra) -> None:
        """..."""

    def claim_lost(self, obj: Object, taken: Claimed) -> None:
        """..."""
