"""--token-auth-file: a CSV file of `token,user,uid,"group1,group2"`, read once at start. Source: "Static token file".

Tokens are looked up by their digest, so that how long a look-up takes tells nothing about them, and none is kept in
memory in clear.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from control.apiserver.request import User


class TokenFile:
    """Users by the tokens of a file."""

    def __init__(self, path: Path, audiences: tuple[str, ...] = ()) -> None:
        """audiences: the API server's own. OSError; ValueError with file and line for what is malformed, never with a
        token."""
        self._audiences = frozenset(audiences)
        self._users: dict[bytes, User] = {}
        with path.open(encoding="utf-8", newline="") as file:
            try:
                for number, row in enumerate(csv.reader(file, skipinitialspace=True, strict=True), 1):
                    self._add(path, number, row)
            except (csv.Error, UnicodeDecodeError) as problem:
                raise ValueError(f"{path}: not a CSV file: {problem}") from None

    def _add(self, path: Path, number: int, row: list[str]) -> None:
        if not row:
            return
        if len(row) < 3:
            raise ValueError(f'{path}, line {number}: {len(row)} columns; write token,user,uid[,"group1,group2"]')
        token, name, uid, *groups = row
        if not token or not name:
            raise ValueError(f"{path}, line {number}: the token and the user must not be empty")
        if _digest(token) in self._users:
            raise ValueError(f"{path}, line {number}: this token is in the file already")
        listed = [group.strip() for group in (groups[0] if groups else "").split(",")]
        self._users[_digest(token)] = User(name, uid, tuple(group for group in listed if group))

    async def user_of(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """None: the token is not in the file. Its tokens are for the API server, and for nobody else."""
        if audiences and self._audiences.isdisjoint(audiences):
            return None
        return self._users.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
