"""Where users and roles are kept: three tables with the names, keys and values of etcd's buckets.

Thus a backup in etcd's format copies them as they are. Names that are longer than a table key may be are shortened to
a prefix and a digest; the whole name stands in the record.
"""

from __future__ import annotations

from hashlib import sha256

from kvstore.mvcc.types import Table, Tables
from kvstore.pb.etcd_pb2 import Role, User

_ENABLED = b"authEnabled"
_REVISION = b"authRevision"
_YES, _NO = b"\x01", b"\x00"
_KEEP = 440


def row(name: bytes) -> bytes:
    """The table key of a user or role."""
    return name if len(name) <= _KEEP else name[:_KEEP] + sha256(name).digest()


class AuthTables:
    """Reads and writes the rows."""

    __slots__ = ("_named", "_roles", "_users")

    def __init__(self, tables: Tables) -> None:
        self._named: Table = tables.table("auth")
        self._users: Table = tables.table("authUsers")
        self._roles: Table = tables.table("authRoles")

    @property
    def enabled(self) -> bool:
        """Whether requests need a user."""
        return self._named.get(_ENABLED) == _YES

    def set_enabled(self, enabled: bool) -> None:
        """Remember it."""
        self._named.put(_ENABLED, _YES if enabled else _NO)

    @property
    def revision(self) -> int:
        """The auth revision; 1 where nothing was ever changed, as in etcd."""
        data = self._named.get(_REVISION)
        return int.from_bytes(data, "big") if data else 1

    def set_revision(self, revision: int) -> None:
        """Remember it."""
        self._named.put(_REVISION, revision.to_bytes(8, "big"))

    def users(self) -> dict[str, User]:
        """Every user, by name."""
        found = [User.FromString(value) for _, value in self._users.scan()]
        return {user.name.decode(): user for user in found}

    def roles(self) -> dict[str, Role]:
        """Every role, by name."""
        found = [Role.FromString(value) for _, value in self._roles.scan()]
        return {role.name.decode(): role for role in found}

    def put_user(self, user: User) -> None:
        """Add or change a user."""
        self._users.put(row(user.name), user.SerializeToString(deterministic=True))

    def delete_user(self, name: str) -> None:
        """Remove a user."""
        self._users.delete(row(name.encode()))

    def put_role(self, role: Role) -> None:
        """Add or change a role."""
        self._roles.put(row(role.name), role.SerializeToString(deterministic=True))

    def delete_role(self, name: str) -> None:
        """Remove a role."""
        self._roles.delete(row(name.encode()))
