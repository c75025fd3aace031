"""`fluyt make-mirror`: keep a copy of a prefix in another cluster, as long as it runs.

First every key as of one revision, then every change after it, each revision as one transaction, or several where it is
too large for one. The mirror is the only writer of what it copies, so repeating one of its transactions is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, certificate_pair, connected
from kvstore.cli.exits import bad_args
from kvstore.cli.grammar import Command
from kvstore.cli.output.printer import emit
from kvstore.cli.progress import Bar, bar
from kvstore.client.aio import AsyncClient
from kvstore.client.requests import prefix_end, to_bytes
from kvstore.client.settings import Tls
from kvstore.client.txn import delete, put
from kvstore.pb import etcd_pb2 as pb

_PAGE = 1000
_OPS_PER_TXN = 128
# A store takes requests of 1.5 MiB unless told otherwise.
_BYTES_PER_TXN = 1024 * 1024
_REPORT_SECONDS = 30.0


@click.command(
    "make-mirror",
    cls=Command,
    examples="""
    fluyt make-mirror 10.0.0.7:2379
    fluyt make-mirror --prefix app/ --dest-prefix copy/ 10.0.0.7:2379
    """,
)
@text_arguments("<destination endpoint>")
@click.option("--prefix", default="", help="Mirror only keys that begin so.")
@click.option("--dest-prefix", default="", help="What stands for the prefix there.")
@click.option("--no-dest-prefix", is_flag=True, help="There, the prefix is left out.")
@click.option("--dest-user", default=None, help="name:password for the destination.")
@click.option("--dest-cacert", type=click.Path(), default=None, help="Trust destinations certified by this PEM bundle.")
@click.option("--dest-cert", type=click.Path(), default=None, help="Show this PEM certificate to the destination.")
@click.option("--dest-key", type=click.Path(), default=None, help="The PEM key of --dest-cert.")
@connected
async def make_mirror(
    console: Console,
    arguments: tuple[str, ...],
    prefix: str,
    dest_prefix: str,
    no_dest_prefix: bool,
    dest_user: str | None,
    dest_cacert: str | None,
    dest_cert: str | None,
    dest_key: str | None,
) -> None:
    """Copy keys to another cluster, and then every change of them, until interrupted.

    Prints the number of keys and changes copied so far every 30 seconds.
    """
    if len(arguments) != 1:
        raise bad_args("make-mirror takes one destination argument")
    if no_dest_prefix and dest_prefix:
        raise bad_args("`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one")
    certificate_pair(dest_cert, dest_key, "--dest-")
    user, _, password = (dest_user or "").partition(":")
    tls = Tls(ca=dest_cacert, cert=dest_cert, key=dest_key) if dest_cacert or dest_cert else None
    there = console.open([arguments[0]], user=user or None, password=password, tls=tls)
    target = "" if no_dest_prefix else dest_prefix or prefix
    try:
        with bar("mirrored", unit="keys") as progress:
            await _Mirror(console.client, there, to_bytes(prefix), to_bytes(target), progress).run()
    finally:
        await there.close()


class _Mirror:
    """Copies keys with a prefix from one store to another."""

    def __init__(self, here: AsyncClient, there: AsyncClient, prefix: bytes, target: bytes, progress: Bar) -> None:
        self._here = here
        self._there = there
        self._prefix = prefix
        self._target = target
        self._progress = progress
        self._copied = 0

    async def run(self) -> None:
        """For ever. Raises ClientError when one of the stores refuses."""
        report = asyncio.create_task(self._report())
        try:
            await self._copy()
        finally:
            report.cancel()

    async def _copy(self) -> None:
        revision = (await self._here.range(b"\0", count_only=True)).header.revision
        async for page in self._pages(revision):
            await self._write([put(self._renamed(kv.key), kv.value) for kv in page])
        async with self._here.watch(self._prefix, prefix=True, start_revision=revision + 1) as watch:
            async for response in watch.responses():
                for _, events in groupby(response.events, key=lambda event: event.kv.mod_revision):
                    await self._write([self._operation(event) for event in events])

    async def _pages(self, revision: int) -> AsyncIterator[Sequence[pb.KeyValue]]:
        """Every key of that revision, in pieces."""
        key = self._prefix or b"\0"
        end = prefix_end(self._prefix)
        while True:
            answer = await self._here.range(key, end, limit=_PAGE, revision=revision)
            yield answer.kvs
            if not answer.more:
                return
            key = answer.kvs[-1].key + b"\0"

    async def _write(self, operations: Sequence[pb.RequestOp]) -> None:
        for some in _pieces(operations):
            await self._there.txn().then(*some).commit(repeatable=True)
            self._copied += len(some)
            self._progress(self._copied)

    def _operation(self, event: pb.Event) -> pb.RequestOp:
        key = self._renamed(event.kv.key)
        return delete(key) if event.type == pb.Event.DELETE else put(key, event.kv.value)

    def _renamed(self, key: bytes) -> bytes:
        return self._target + key[len(self._prefix) :]

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            emit(str(self._copied))


def _pieces(operations: Sequence[pb.RequestOp]) -> Iterator[list[pb.RequestOp]]:
    """The operations in groups that a transaction takes."""
    some: list[pb.RequestOp] = []
    size = 0
    for operation in operations:
        more = operation.ByteSize()
        if some and (len(some) == _OPS_PER_TXN or size + more > _BYTES_PER_TXN):
            yield some
            some, size = [], 0
        some.append(operation)
        size += more
    if some:
        yield some
