"""Exit codes, and the errors that carry one. Source: etcdctl's (pkg/cobrautl)."""

from __future__ import annotations

import click

ERROR = 1
BAD_CONNECTION = 2
INVALID_INPUT = 3
BAD_FEATURE = 4
INTERRUPTED = 5
BAD_ARGS = 128
# As shells report a process that SIGINT ended.
CTRL_C = 130


class CommandError(click.ClickException):
    """One line for stderr, and an exit code. prefix: what stands before the line."""

    def __init__(self, message: str, code: int = ERROR, *, prefix: str = "Error: ") -> None:
        super().__init__(message)
        self.code = code
        self.prefix = prefix


def bad_args(message: str) -> CommandError:
    """The arguments do not fit the command."""
    return CommandError(message, BAD_ARGS)
