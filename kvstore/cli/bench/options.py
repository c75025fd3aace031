"""The options that the commands of `fluyt bench` share, and what they ask for together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from kvstore.cli.exits import bad_args

PREFIX = "/fluyt-bench/"
_SECONDS = 10.0
# Clients on one connection, unless --connections says otherwise.
_SHARING = 10


class _Number(click.FloatRange):
    """Without NaN, which is in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


@dataclass(frozen=True)
class Asked:
    """What a run is told. total: calls, 0: `seconds` end it; rate: calls a second, 0: any; sizes: bytes.

    prefix: None: the run writes no keys. key_space: how many different keys, 0: always new ones.
    """

    clients: int
    connections: int
    total: int
    seconds: float
    rate: float
    target_leader: bool
    prefix: str | None = None
    key_size: int = 0
    val_size: int = 0
    key_space: int = 0
    keep: bool = False

    @property
    def value(self) -> bytes:
        """Of every put."""
        return b"v" * self.val_size


_LOAD = (
    click.option("--clients", type=click.IntRange(1), default=32, show_default=True, help="Calls in flight."),
    click.option(
        "--connections", type=click.IntRange(1), help="Connections that they share. Default: one for ten clients."
    ),
    click.option("--total", type=click.IntRange(1), help="End after so many calls."),
    click.option("--seconds", type=_Number(min=0, min_open=True), help="End after this time. Default: 10."),
    click.option("--rate", type=_Number(0), default=0.0, help="At most so many calls a second. Default: any."),
    click.option("--target-leader", is_flag=True, help="Ask only the member that leads."),
)
_KEYS = (
    click.option(
        "--prefix", default=PREFIX, show_default=True, help="Where the keys go: each run has a part of its own below."
    ),
    click.option(
        "--key-size", type=click.IntRange(1, 1024), default=10, show_default=True, help="Bytes of a key behind that."
    ),
    click.option("--val-size", type=click.IntRange(0), default=256, show_default=True, help="Bytes of a value."),
    click.option(
        "--key-space",
        type=click.IntRange(0),
        default=1000,
        show_default=True,
        help="How many different keys; 0: a new one each time.",
    ),
    click.option("--keep", is_flag=True, help="Leave the keys there. Default: delete them."),
)


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How much is asked by how many."""
    for option in reversed(_LOAD):
        command = option(command)
    return command


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and which keys are written."""
    for option in reversed(_LOAD + _KEYS):
        command = option(command)
    return command


def asked(values: dict[str, Any]) -> Asked:
    """What the options mean together. CommandError if they contradict each other."""
    if values["total"] and values["seconds"]:
        raise bad_args("--total and --seconds: only one of them ends a run")
    clients = values["clients"]
    made = Asked(
        **{
            **values,
            "connections": min(values["connections"] or -(-clients // _SHARING), clients),
            "total": values["total"] or 0,
            "seconds": 0.0 if values["total"] else values["seconds"] or _SECONDS,
        }
    )
    if made.key_space > 10**made.key_size:
        raise bad_args(f"--key-size {made.key_size}: too short to tell {made.key_space} keys apart (see --key-space)")
    return made
