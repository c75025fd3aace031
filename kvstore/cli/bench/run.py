"""One run of `fluyt bench`: its connections, its keys and leases, its report, and the end of all it has left.

Invariants: a run writes only below a prefix that it drew by chance, so what it deletes in the end is its own; nothing
of it is under way any more when it deletes. Faults assumed: the store goes away in the middle, the user presses
Ctrl-C; what could not be deleted then is named.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

from kvstore.cli.bench.figures import Measured
from kvstore.cli.bench.lines import Line, leaders, open_lines
from kvstore.cli.bench.load import Extent, Load, Work
from kvstore.cli.bench.options import Asked
from kvstore.cli.bench.requests import Keys, Puts, Revokes
from kvstore.cli.console import Console
from kvstore.cli.exits import BAD_FEATURE, CTRL_C, ERROR, CommandError, bad_args
from kvstore.cli.output.printer import emit
from kvstore.cli.output.table import draw
from kvstore.cli.signals import Stop
from kvstore.client.errors import ClientError

# Deleting what a run has left may take as long as writing it; in seconds.
_CLEANING = 120.0
# Calls in flight while the run makes ready and tidies up.
_FILLERS = 100


class Run:
    """One run, made by begun(): connected, with nothing written. granted: the leases that it has.

    stopping: set by Ctrl-C; what was measured until then is reported.
    """

    def __init__(self, console: Console, title: str, asked: Asked, stopping: Stop) -> None:
        if console.format not in ("simple", "table", "json"):
            raise CommandError(f"{console.format} not supported as output format", BAD_FEATURE)
        self.console = console
        self.title = title
        self.asked = asked
        self.stopping = stopping
        self.prefix = f"{asked.prefix or ''}{secrets.token_hex(4)}/"
        self.keys = Keys(self.prefix.encode(), asked.key_size, asked.key_space)
        self.granted: list[int] = []
        self._lines: list[Line] = []
        # Whether there may be keys of ours, and whether the store has answered at all.
        self._written = self._answered = False

    @property
    def lines(self) -> list[Line]:
        """The connections."""
        return self._lines

    async def connect(self) -> None:
        """Open the connections. CommandError and ClientError: what keeps us from it."""
        endpoints = await leaders(self.console) if self.asked.target_leader else self.console.endpoints
        if not endpoints:
            tried = ", ".join(self.console.endpoints)
            raise bad_args(f"--target-leader: none of {tried} leads; name all members with --endpoints")
        self._lines = await open_lines(self.console, self.asked.connections, endpoints)

    def _extent(self) -> Extent:
        asked = self.asked
        return Extent(asked.total, asked.seconds, asked.rate, self.console.settings.timeout, self.prefix)

    async def load(self, make: Callable[[int], Work], what: str = "requests") -> Measured:
        """All clients, until the end that was asked for, or Ctrl-C. CommandError if no call can work."""
        measured = Measured(what)
        await self._run(Load(self._extent(), measured, self.stopping), self.title, make, self.asked.clients)
        return measured

    async def aside(self, title: str, count: int, work: Work, stopping: Stop | None = None) -> Measured:
        """So many calls that make ready or tidy up. CommandError if one of them fails."""
        measured = Measured()
        extent = Extent(total=count, timeout=self.console.settings.timeout, prefix=self.prefix)
        load = Load(extent, measured, stopping or self.stopping)
        await self._run(load, title, lambda _: work, min(count, _FILLERS))
        if measured.errors:
            raise CommandError(f"{title}: {next(iter(measured.errors))}")
        return measured

    async def _run(self, load: Load, title: str, make: Callable[[int], Work], clients: int) -> None:
        before, self._written = self._written, True
        try:
            await load.run(title, self._lines, make, clients)
        except CommandError:
            self._written = before  # every call was refused
            raise
        finally:
            self._answered = self._answered or bool(load.measured.latencies)

    async def write_keys(self) -> None:
        """Every key of the key space, so that gets find them."""
        if not self.keys.space:
            raise bad_args("--key-space must be at least 1: gets need keys that are there")
        await self.aside("writing keys", self.keys.space, self.puts())

    def puts(self) -> Puts:
        """Puts of all keys in turn."""
        return Puts(self.keys, self.asked.value)

    def report(self, measured: Measured) -> int:
        """Print it; the exit code: 1 if nothing was answered, 130 after Ctrl-C."""
        if self.console.format == "json":
            settings = {"bench": self.title, "clients": self.asked.clients, "connections": len(self._lines)}
            interrupted = {"interrupted": True} if self.stopping.came else {}
            emit(json.dumps({**settings, **measured.as_json(), **interrupted}))
        elif self.console.format == "table":
            emit(*draw(*measured.as_rows()), *measured.error_lines())
        else:
            emit(*measured.as_lines())
        if self.asked.keep:
            click.echo(f"The keys are left below {self.prefix}", err=True)
        if self.stopping.came:
            return CTRL_C
        return 0 if measured.latencies else ERROR

    async def tidy(self) -> None:
        """Delete the keys, revoke the leases and close the connections; what is left then is named on stderr."""
        try:
            async with Stop() as again:
                await self._revoke(again)
                if self._written and self.asked.prefix is not None and not self.asked.keep:
                    await self._delete(again)
        finally:
            for line in self._lines:
                line.close()

    async def _revoke(self, again: Stop) -> None:
        try:
            if self.granted:
                await self.aside("revoking", len(self.granted), Revokes(self.granted), again)
        except CommandError as problem:
            click.echo(f"Warning: leases that were not revoked end with their time to live ({problem})", err=True)

    async def _delete(self, again: Stop) -> None:
        # What has answered nothing has next to nothing to delete, and will not be back just for that.
        patience = _CLEANING if self._answered else self.console.settings.timeout
        client, cause = self.console.open(timeout=patience), "interrupted"
        try:
            if await again.unless(client.delete(self.prefix, prefix=True)) is not None:
                return
        except ClientError as problem:
            cause = str(problem)
        finally:
            await client.close()
        cure = f"delete them with 'fluyt del --prefix {self.prefix}'"
        click.echo(f"Warning: keys may be left below {self.prefix} ({cause}): {cure}", err=True)


@asynccontextmanager
async def begun(console: Console, title: str, asked: Asked) -> AsyncIterator[Run]:
    """A run that is connected; it is tidied up after the block, however that ends."""
    async with Stop() as stopping:
        run = Run(console, title, asked, stopping)
        try:
            await run.connect()
            yield run
        finally:
            await run.tidy()
