"""kubectl's grammar on top of click: Go's flags, those of every command before or after it, lazy commands."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from kvstore.cli import durations
from kvstore.cli.go_flags import plain_words

_META: Final = "fluyt.kube.flags"
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@dataclass
class Flags:
    """What every command takes. timeout: seconds, 0 for none."""

    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    server: str = ""
    timeout: float = 0.0
    as_user: str = ""
    as_groups: tuple[str, ...] = ()


def flags_of(ctx: click.Context) -> Flags:
    """The flags of this run, wherever they stood."""
    found: Flags = ctx.meta.setdefault(_META, Flags())
    return found


class Duration(click.ParamType[float]):
    """As "5s", "1m30s"; a bare number is seconds. Gives seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return float(value) if str(value).lstrip("-").isdigit() else durations.parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, ()):
        setattr(flags_of(ctx), str(param.name), value)


def _flag(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_keep, **settings)


def files_option(text: str, **settings: Any) -> Callable[[_Decorated], _Decorated]:
    """-f of a command about objects. text: its help. The type is for the shell's completion: it offers files."""
    return click.option("-f", "--filename", "files", multiple=True, type=click.Path(), help=text, **settings)


def _global_flags() -> list[click.Parameter]:
    path = click.Path(dir_okay=False, path_type=Path)
    return [
        _flag("--kubeconfig", type=path, help="The kubeconfig.  [default: KUBECONFIG, ~/.kube/config, the pod's]"),
        _flag("--context", help="The kubeconfig's context to use."),
        _flag("-n", "--namespace", help="The namespace to act in.  [default: the context's]"),
        _flag("-s", "--server", help="URL of the API server, instead of the kubeconfig's."),
        _flag("--request-timeout", "timeout", type=Duration(), help="For one request; 0: no limit."),
        _flag("--as", "as_user", help="Act as this user."),
        _flag("--as-group", "as_groups", multiple=True, help="Act as a member of this group. May be repeated."),
    ]


class GoFlags(click.Command):
    """Its words are read as kubectl reads them, and what is wrong with them ends with kubectl's code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, plain_words(self, args))
        except click.MissingParameter as problem:
            # etcdctl has a code of its own for this one; to kubectl it is a mistake like any other.
            raise click.UsageError(problem.format_message(), ctx) from None


class KubeCommand(GoFlags):
    """A command that takes the flags of every command. examples: shell lines that --help shows."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_flags())
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


class KubeGroup(GoFlags, click.Group):
    """lazy: name → (module:attribute, one line of help). aliases: other names of commands."""

    command_class = KubeCommand

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]], aliases: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy, self._aliases = lazy, aliases or {}
        self.params.extend(_global_flags())

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._lazy.get(self._aliases.get(cmd_name, cmd_name))
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f'unknown command "{args[0]}" for "{ctx.command_path}"', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])
