"""Reading passwords: from a terminal, hidden, or from a pipe."""

from __future__ import annotations

import getpass
import sys

import click

from kvstore.cli.exits import bad_args
from kvstore.cli.terminal import blocking, input_stream


def ask(prompt: str, *, beside: bool = False) -> str:
    """The password that is typed, or the next line of a pipe. beside: keep the prompt for a pipe out of stdout."""
    if sys.stdin is not None and sys.stdin.isatty():
        with blocking():
            return getpass.getpass(prompt)
    with input_stream() as source:
        click.echo(prompt, err=beside, nl=False)
        line = source.readline()
    # As etcdctl: the line's end was not typed, so it is not on the screen.
    click.echo(err=beside)
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def ask_twice(user: str) -> str:
    """A new password, asked for twice. CommandError when the two differ, or it is empty."""
    first = ask(f"Password of {user}: ")
    if not first:
        raise bad_args("empty password")
    if first != ask(f"Type password of {user} again for confirmation: "):
        raise bad_args("given passwords are different")
    return first


def read_word() -> str:
    """The first word on stdin."""
    with input_stream() as source:
        line = source.readline()
    return next(iter(line.decode("utf-8", "surrogateescape").split()), "")
