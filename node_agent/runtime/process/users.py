"""Who a container's program is: numbers from names, looked up in the image's own /etc/passwd and /etc/group. Pure.

Source: passwd(5), group(5); Docker's `user[:group]`, numbers or names.
"""

from __future__ import annotations

_MAX_ID = 2**32 - 2


class NoSuchUser(ValueError):
    """The image knows no such user or group."""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and int(text) <= _MAX_ID else None


def _rows(text: str, columns: int) -> list[list[str]]:
    rows = [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]
    return [row for row in rows if len(row) >= columns]


def find_user(passwd: str, user: str) -> tuple[int, int, str, str]:
    """(uid, gid, name, home) of a name or number; a number need not be listed (gid 0, home `/`). Raises NoSuchUser."""
    for row in _rows(passwd, 6):
        uid, gid = _number(row[2]), _number(row[3])
        if uid is not None and gid is not None and user in (row[0], row[2]):
            return uid, gid, row[0], row[5] or "/"
    number = _number(user)
    if number is None:
        raise NoSuchUser(f"unable to find user {user}: no matching entries in the image's passwd file")
    return number, 0, "", "/"


def find_group(group_file: str, group: str) -> int:
    """gid of a name or number. Raises NoSuchUser."""
    number = _number(group)
    if number is not None:
        return number
    for row in _rows(group_file, 3):
        gid = _number(row[2])
        if row[0] == group and gid is not None:
            return gid
    raise NoSuchUser(f"unable to find group {group}: no matching entries in the image's group file")


def groups_of(group_file: str, name: str) -> list[int]:
    """The further groups that list this user."""
    rows = _rows(group_file, 4)
    found = [_number(row[2]) for row in rows if name and name in row[3].split(",")]
    return [gid for gid in found if gid is not None]


def resolve(wanted: dict[str, object], passwd: str, group_file: str) -> tuple[int, int, list[int], str]:
    """(uid, gid, supplementary groups, home). `wanted` is the `user` of a spec. Raises NoSuchUser."""
    user, _, group = str(wanted.get("name") or "").partition(":")
    if wanted.get("uid") is not None:
        user, group = str(wanted["uid"]), ""
    uid, gid, name, home = find_user(passwd, user or "0")
    if group:
        gid = find_group(group_file, group)
    if wanted.get("gid") is not None:
        gid = int(str(wanted["gid"]))
    further = wanted.get("groups")
    extra = [int(each) for each in further] if isinstance(further, list) else []
    return uid, gid, sorted({*groups_of(group_file, name), *extra, gid}), home
