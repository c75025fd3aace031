"""Arguments as etcdctl reads them: any bytes, ids in hexadecimal, numbers with Go's complaints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kvstore.cli.exits import BAD_ARGS, ERROR, CommandError

_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = range(1 << 64)


def text_arguments(usage: str) -> Callable[[Any], Any]:
    """All arguments, as they are: the command counts them itself, in etcdctl's words. usage: for --help."""
    return click.argument("arguments", nargs=-1, metavar=usage)


def integer(text: str, complaint: str = "{}", code: int = ERROR) -> int:
    """A decimal number. CommandError with the complaint around Go's own."""
    return _parse(text, 10, _INT64, "ParseInt", complaint, code)


def hex_id(text: str, complaint: str, *, signed: bool = True) -> int:
    """An id in hexadecimal; leases are signed, members are not."""
    return _parse(text, 16, *((_INT64, "ParseInt") if signed else (_UINT64, "ParseUint")), complaint, BAD_ARGS)


def _parse(text: str, base: int, bounds: range, function: str, complaint: str, code: int) -> int:
    problem = "invalid syntax"
    # int() also takes spaces, underscores and 0x, which Go does not.
    if text.lstrip("+-").isalnum() and not text.lower().lstrip("+-").startswith("0x"):
        try:
            value = int(text, base)
        except ValueError:
            pass
        else:
            if value in bounds:
                return value
            problem = "value out of range"
    raise CommandError(complaint.format(f'strconv.{function}: parsing "{text}": {problem}'), code)
