"""The global options, which every command takes, before or after its name, as etcdctl's do.

Each has two environment variables, FLUYT_… and ETCDCTL_…; the command line wins over both, FLUYT_… over ETCDCTL_….
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from kvstore.cli import durations
from kvstore.cli.output import FORMATS


class Duration(click.ParamType[float]):
    """Seconds, written as in Go: 5s, 500ms, 1m30s."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return durations.parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


@dataclass(frozen=True)
class GlobalOption:
    """One global option: its flags, what click must know of it, and its help."""

    flags: tuple[str, ...]
    help: str
    default: Any = None
    type: Any = str
    switch: bool = False
    # What a shell may offer.
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The long flag without its dashes, with underscores."""
        return self.flags[0].lstrip("-").replace("-", "_")


GLOBAL_OPTIONS = (
    GlobalOption(
        ("--endpoints",),
        (
            "Members to talk to, separated by commas. Default: 127.0.0.1:2379, or, if nothing listens there, "
            "127.0.0.1:12379 (scripts/start-cluster)."
        ),
    ),
    GlobalOption(("--write-out", "-w"), f"Output format: {', '.join(FORMATS)}.", "simple", choices=FORMATS),
    GlobalOption(("--hex",), "Print keys and values as hexadecimal escapes.", False, bool, switch=True),
    GlobalOption(("--dial-timeout",), "How long to try to connect.", 2.0, Duration()),
    GlobalOption(("--command-timeout",), "How long a command may take once it is connected.", 5.0, Duration()),
    GlobalOption(("--keepalive-time",), "Ping a quiet connection after this time.", 10.0, Duration()),
    GlobalOption(("--keepalive-timeout",), "Give a ping this long.", 5.0, Duration()),
    GlobalOption(("--user",), "name[:password] to log in with; asks for the password if it is missing."),
    GlobalOption(("--password",), "Password to log in with (then --user is the name alone)."),
    GlobalOption(("--cacert",), "Trust servers certified by this PEM bundle.", type=click.Path()),
    GlobalOption(("--cert",), "Show this PEM certificate to servers.", type=click.Path()),
    GlobalOption(("--key",), "The PEM key of --cert.", type=click.Path()),
    GlobalOption(
        ("--insecure-transport",), "Talk without TLS unless a TLS option or https:// is given.", True, bool, switch=True
    ),
    GlobalOption(
        ("--insecure-skip-tls-verify",), "Trust any server certificate. For tests only.", False, bool, switch=True
    ),
    GlobalOption(("--debug",), "Show the traceback of an unexpected error.", False, bool, switch=True),
)

Values = dict[str, Any]


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Keep the value at the root; one given after the command's name wins."""
    root = context.find_root()
    values: Values = root.ensure_object(dict)
    name = (parameter.name or "").removeprefix("global_")
    given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    if given:
        values[f"{name} given"] = True
    if context is root or given:
        values[name] = value
    return value


def parameters(*, root: bool) -> list[click.Option]:
    """The options for the root, with defaults and environment, or for a command, where only its words count."""
    return [_parameter(option, root) for option in GLOBAL_OPTIONS]


def _parameter(option: GlobalOption, root: bool) -> click.Option:
    kind: dict[str, Any] = {"is_flag": True} if option.switch else {"type": option.type, "metavar": "TEXT"}
    if option.choices:
        kind["shell_complete"] = lambda _, __, begun: [each for each in option.choices if each.startswith(begun)]
    variable = option.name.upper()
    if root:
        kind |= {"default": option.default, "envvar": [f"FLUYT_{variable}", f"ETCDCTL_{variable}"]}
    callback: Callable[..., Any] = _remember
    return click.Option(
        [f"global_{option.name}", *option.flags],
        help=option.help,
        hidden=not root,
        expose_value=False,
        callback=callback,
        is_eager=root,
        **kind,
    )
