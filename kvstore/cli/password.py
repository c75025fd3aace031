"""Reading a new password: from a terminal, hidden and twice, or from a pipe."""

from __future__ import annotations

import getpass
import sys

from kvstore.cli.exits import bad_args


def ask_twice(user: str) -> str:
    """A new password, asked for twice. CommandError when the two differ, or it is empty."""
    first = _ask(f"Password of {user}: ")
    if not first:
        raise bad_args("empty password")
    if first != _ask(f"Type password of {user} again for confirmation: "):
        raise bad_args("given passwords are different")
    return first


def read_word() -> str:
    """The first word on stdin."""
    return next(iter(sys.stdin.readline().split()), "")


def _ask(prompt: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.readline().rstrip("\r\n")
