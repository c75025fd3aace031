"""What a command needs to talk to a store and to its user: the client, the printer, the global options."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec

import click

from kvstore.cli.exits import BAD_ARGS, BAD_CONNECTION, ERROR, CommandError, bad_args
from kvstore.cli.output import printer_of
from kvstore.cli.output.printer import Printer
from kvstore.cli.password import ask
from kvstore.client.aio import AsyncClient, endpoint_list
from kvstore.client.errors import (
    AuthenticationFailed,
    BadCertificates,
    ClientError,
    MaybeApplied,
    TimedOut,
    Unreachable,
)
from kvstore.client.settings import Settings, Tls

P = ParamSpec("P")

# etcd's port, then the first of scripts/start-cluster.
DEFAULT_ENDPOINTS = ("127.0.0.1:2379", "127.0.0.1:12379")
_PROBE_SECONDS = 0.2


class Console:
    """The global options of one run, and what is made from them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self.printer: Printer = printer_of(values["write_out"], values["hex"])
        self.endpoints = _endpoints(values["endpoints"])
        self.settings = self._settings()
        self.client: AsyncClient

    @property
    def format(self) -> str:
        """The output format's name."""
        name: str = self._values["write_out"]
        return name

    def given(self, option: str) -> bool:
        """Whether the global option stands on the command line."""
        return f"{option} given" in self._values

    def open(self, endpoints: Sequence[str] | None = None, **changes: Any) -> AsyncClient:
        """A client of these endpoints (default: the ones asked for); the caller closes it."""
        fields = {**vars(self.settings), **changes}
        try:
            return AsyncClient(Settings(**{**fields, "endpoints": tuple(endpoints or self.endpoints)}))
        except ValueError as problem:
            raise CommandError(str(problem), BAD_ARGS) from problem

    def _settings(self) -> Settings:
        values = self._values
        for name in ("command_timeout", "dial_timeout"):
            if values[name] <= 0:
                raise bad_args(f"--{name.replace('_', '-')} must be more than 0s")
        user, password = _credentials(values["user"], values["password"])
        return Settings(
            endpoints=self.endpoints,
            timeout=values["command_timeout"],
            dial_timeout=values["dial_timeout"],
            user=user,
            password=password,
            tls=_tls(values),
            spread=False,
            keepalive_time=values["keepalive_time"],
            keepalive_timeout=values["keepalive_timeout"],
        )


def _endpoints(text: str | None) -> tuple[str, ...]:
    """The endpoints asked for, or the first of the default ones that something listens on."""
    if text is not None:
        named = endpoint_list(text)
        if not named:
            raise CommandError("no endpoint given: --endpoints needs host:port", BAD_ARGS)
        return named
    for endpoint in DEFAULT_ENDPOINTS:
        host, _, port = endpoint.partition(":")
        with socket.socket() as probe:
            probe.settimeout(_PROBE_SECONDS)
            if probe.connect_ex((host, int(port))) == 0:
                return (endpoint,)
    return DEFAULT_ENDPOINTS


def _credentials(user: str | None, password: str | None) -> tuple[str | None, str | None]:
    if not user:
        return None, None
    if password is None:
        user, separator, password = user.partition(":")
        if not separator:
            password = ask("Password: ", beside=True)
            if not password:
                raise bad_args("no password: type one, or give it as --user name:password or with --password")
    return user, password


def certificate_pair(cert: str | None, key: str | None, prefix: str = "--") -> None:
    """CommandError for one without the other. prefix: of the two options."""
    if bool(cert) != bool(key):
        given, missing = ("cert", "key") if cert else ("key", "cert")
        raise bad_args(f"{prefix}{given} is given without {prefix}{missing}: give both, or neither")


def _tls(values: dict[str, Any]) -> Tls | None:
    for name in ("cacert", "cert", "key"):
        if values[name] == "":
            raise CommandError(f"empty string is passed to --{name} option", BAD_ARGS)
    certificate_pair(values["cert"], values["key"])
    wanted = values["cacert"] or values["cert"] or values["key"] or values["insecure_skip_tls_verify"]
    if not wanted and values["insecure_transport"]:
        return None
    return Tls(
        ca=values["cacert"],
        cert=values["cert"],
        key=values["key"],
        skip_verify=values["insecure_skip_tls_verify"],
    )


def connected(
    command: Callable[Concatenate[Console, P], Awaitable[int | None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Callable[P, None]:
    """Run an async command with a Console whose client is open; its result is the exit code.

    loop_factory: makes the event loop; None: asyncio's own.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        context = click.get_current_context()
        console = Console(context.find_root().obj)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            code = runner.run(_run(console, command, args, kwargs))
        if code:
            context.exit(code)

    return run


async def _run(console: Console, command: Callable[..., Awaitable[int | None]], args: Any, kwargs: Any) -> int | None:
    try:
        console.client = console.open()
        try:
            return await command(console, *args, **kwargs)
        finally:
            await console.client.close()
    except AuthenticationFailed as problem:
        # As etcdctl, which logs in before it does anything else.
        raise CommandError(str(problem), BAD_CONNECTION) from problem
    except BadCertificates as problem:
        raise CommandError(str(problem), BAD_ARGS) from problem
    except ClientError as problem:
        raise CommandError(explain(problem)) from problem


@contextmanager
def told(text: str = "{}", code: int = ERROR) -> Iterator[None]:
    """What the store refuses in the block is told in this text, with this code; a login that failed as ever."""
    try:
        yield
    except AuthenticationFailed:
        raise
    except ClientError as problem:
        raise CommandError(text.format(explain(problem)), code) from problem


def explain(problem: ClientError) -> str:
    """The error, and what to do next."""
    if isinstance(problem, Unreachable):
        if any(word in str(problem) for word in ("certificate", "TLS")):
            return f"{problem}. Check --cacert, --cert and --key, and whether --endpoints says http:// or https://."
        return f"{problem}. Is a store running? Start one with `fluyt store`, or name another with --endpoints."
    if isinstance(problem, MaybeApplied):
        return f"{problem}. Read the keys before you write again."
    if isinstance(problem, TimedOut):
        return f"no answer in time: {problem}. Is a majority of the members up? See `fluyt endpoint health --cluster`."
    return str(problem)
