"""One run of a command: the client it talks through, and what its failures say to the user."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from control.api.status import StatusError
from control.cli.kube.grammar import Flags, flags_of
from control.client import kubeconfig
from control.client.client import Client
from control.client.config import Config
from control.client.errors import ConfigError, Unreachable
from kvstore.cli.exits import CommandError

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """namespace: where to act when an object does not say."""

    client: Client
    namespace: str
    # Whether -n was given: then an object of a file must not say otherwise.
    namespace_given: bool


def run(ctx: click.Context, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
    """The result of `work` with a session. Raises CommandError in kubectl's words."""
    flags = flags_of(ctx)
    try:
        config = _config(flags)
        return asyncio.run(_with_client(config, flags, work))
    except StatusError as refused:
        raise CommandError(words(refused), prefix="") from None
    except Unreachable as problem:
        raise CommandError(f"Unable to connect to the server: {problem}", prefix="") from None
    except ConfigError as problem:
        raise CommandError(str(problem)) from None


async def _with_client(config: Config, flags: Flags, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
    async with Client(config) as client:
        session = Session(client, flags.namespace or config.namespace, bool(flags.namespace))
        task = asyncio.ensure_future(work(session))
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        raise KeyboardInterrupt


def _config(flags: Flags) -> Config:
    servers = (flags.server,) if flags.server else ()
    config = kubeconfig.load(flags.kubeconfig, context=flags.context, servers=servers)
    return replace(
        config,
        user_agent="fluyt-kube",
        patience=0.0,
        attempt_timeout=flags.timeout or config.attempt_timeout,
        impersonate=flags.as_user or config.impersonate,
        impersonate_groups=flags.as_groups or config.impersonate_groups,
    )


def raise_all(refusals: Sequence[StatusError]) -> None:
    """One line for each, as kubectl ends where some of what was asked for could be done. Raises the last one."""
    for refused in refusals[:-1]:
        click.echo(words(refused), err=True)
    if refusals:
        raise refusals[-1]


def words(refused: StatusError) -> str:
    """A refusal as kubectl prints it."""
    if refused.code == 401:
        return "error: You must be logged in to the server (Unauthorized)"
    reason = f" ({refused.reason})" if refused.reason else ""
    return f"Error from server{reason}: {refused.message}"
