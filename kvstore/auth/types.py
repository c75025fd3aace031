"""What the parts of auth hand to each other."""

from __future__ import annotations

from typing import NamedTuple, Protocol

ROOT = "root"
"""The user without whom auth cannot be enabled, and the role that may do everything."""


class Identity(NamedTuple):
    """Who a request comes from.

    user: by name. revision: of the auth store when that was found out; a request whose permissions may have changed
    since is refused when it is applied.
    """

    user: str
    revision: int


class LeaseKeys(Protocol):
    """What the checks ask of the lessor."""

    def keys(self, lease: int) -> list[bytes]:
        """The keys attached to a lease; none for an unknown lease."""
