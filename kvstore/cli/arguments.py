"""Arguments as etcdctl reads them: any bytes, ids in hexadecimal, numbers with Go's complaints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kvstore.cli.exits import BAD_ARGS, ERROR, CommandError

_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = range(1 << 64)


class Int64(click.ParamType[int]):
    """A number of the store's API."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number: int = click.INT.convert(value, param, ctx)
        if number not in _INT64:
            self.fail(f"{number} does not fit into 64 bits", param, ctx)
        return number


def text_arguments(usage: str, *, files: bool = False) -> Callable[[Any], Any]:
    """All arguments, as they are: the command counts them itself, in etcdctl's words. usage: for --help.

    files: they name files, which a shell can complete.
    """
    return click.argument("arguments", nargs=-1, metavar=usage, type=click.Path() if files else str)


def integer(text: str, complaint: str = "{}", code: int = ERROR) -> int:
    """A decimal number. CommandError with the complaint around Go's own."""
    return _parse(text, 10, _INT64, "ParseInt", complaint, code)


def hex_id(text: str, complaint: str, *, signed: bool = True) -> int:
    """An id in hexadecimal; leases are signed, members are not."""
    return _parse(text, 16, *((_INT64, "ParseInt") if signed else (_UINT64, "ParseUint")), complaint, BAD_ARGS)


def _parse(text: str, base: int, bounds: range, function: str, complaint: str, code: int) -> int:
    problem = "invalid syntax"
    # int() also takes spaces, underscores, 0x and other scripts' digits, which Go does not.
    if text.isascii() and text.lstrip("+-").isalnum() and not text.lower().lstrip("+-").startswith("0x"):
        try:
            value = int(text, base)
        except ValueError:
            pass
        else:
            if value in bounds:
                return value
            problem = "value out of range"
    raise CommandError(complaint.format(f'strconv.{function}: parsing "{text}": {problem}'), code)
