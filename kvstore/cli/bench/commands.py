"""The commands of `fluyt bench`, one for each kind of work."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import click
import uvloop

from kvstore.cli.bench.figures import Measured
from kvstore.cli.bench.options import asked, load_options, options
from kvstore.cli.bench.requests import Gets, Grants, Mixed, Renewals, Swaps
from kvstore.cli.bench.run import begun
from kvstore.cli.bench.watching import STAMP, StampedPuts, Watchers
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.options import Duration

on_uvloop = partial(connected, loop_factory=uvloop.new_event_loop)


@click.group(cls=SubGroup)
def bench() -> None:
    """Measure a store under load: any etcd v3 store, ours or another.

    So many clients ask, each again as soon as it has its answer (a closed loop), over connections that are spread over
    all --endpoints. The report has the rate, quantiles and a histogram of the latencies; -w table has it in one row,
    -w json has all of it for programs. Ctrl-C ends a run and prints what was measured so far. The keys of a run stand
    below --prefix in a part of its own, and are deleted in the end, so runs may go on beside each other and beside
    other work. One process sends some ten thousand calls a second: for more, start several.

    \b
      fluyt bench put                                   ten seconds of puts, 32 in flight
      fluyt bench get --clients 100 --consistency s     gets that any member answers alone
      fluyt bench mixed --reads 80 --total 100000
      fluyt bench watch --watchers 1000 --rate 100      how soon an event reaches a thousand watchers
    """


@bench.command(cls=Command, examples="fluyt bench put --clients 100 --total 50000 --val-size 1024")
@options
@on_uvloop
async def put(console: Console, /, **values: Any) -> int:
    """Writes: each client puts a value under the next key of --key-space."""
    async with begun(console, "put", asked(values)) as run:
        puts = run.puts()
        return run.report(await run.load(lambda _: puts))


@bench.command(cls=Command, examples="fluyt bench get --clients 100 --seconds 5 --consistency s")
@click.option("--consistency", type=click.Choice(["l", "s"]), default="l", help="Linearizable or serializable.")
@options
@on_uvloop
async def get(console: Console, /, consistency: str, **values: Any) -> int:
    """Reads: each client gets a key drawn by chance; all of --key-space is written before."""
    async with begun(console, "get", asked(values)) as run:
        await run.write_keys()
        gets = Gets(run.keys, consistency == "s")
        return run.report(await run.load(lambda _: gets))


@bench.command(cls=Command, examples="fluyt bench mixed --reads 90 --clients 100")
@click.option("--reads", type=click.IntRange(0, 100), default=80, show_default=True, help="Per cent that are gets.")
@click.option("--consistency", type=click.Choice(["l", "s"]), default="l", help="Of the gets.")
@options
@on_uvloop
async def mixed(console: Console, /, reads: int, consistency: str, **values: Any) -> int:
    """Reads and writes: each client draws what it does next."""
    async with begun(console, "mixed", asked(values)) as run:
        await run.write_keys()
        gets, puts = Gets(run.keys, consistency == "s"), run.puts()
        return run.report(await run.load(lambda _: Mixed(gets, puts, reads)))


@bench.command(cls=Command, examples="fluyt bench txn --clients 64 --contenders 4")
@click.option(
    "--contenders", type=click.IntRange(1), default=1, show_default=True, help="Clients that want the same key."
)
@options
@on_uvloop
async def txn(console: Console, /, contenders: int, **values: Any) -> int:
    """Compare-and-swap: a key is written if it is as the client last saw it."""
    async with begun(console, "txn", asked(values)) as run:
        works = [Swaps(run.keys.key(n // contenders), run.asked.value) for n in range(run.asked.clients)]
        measured = await run.load(lambda n: works[n], "transactions")
        measured.more["conflicts"] = sum(work.conflicts for work in works)
        return run.report(measured)


@bench.command(cls=Command, examples="fluyt bench watch --watchers 1000 --rate 100 --seconds 20")
@click.option("--watchers", type=click.IntRange(1), default=100, show_default=True, help="Each gets every event.")
@options
@on_uvloop
async def watch(console: Console, /, watchers: int, **values: Any) -> int:
    """Events that reach many watchers while the clients put. Latencies: from a put to its event at a watcher."""
    told = asked(values)
    if told.val_size < STAMP:
        raise bad_args(f"--val-size must be at least {STAMP}: a value says when it was put")
    events = Measured("events")
    async with begun(console, "watch", told) as run:
        listening = Watchers(run.lines, watchers, run.keys.prefix, events)
        try:
            await listening.created()
            began, puts = time.perf_counter(), StampedPuts(run.keys, told.val_size)
            done = await run.load(lambda _: puts)
            await listening.events(len(done.latencies) * watchers)
        finally:
            listening.close()
        events.errors, events.more = done.errors, {"puts_per_second": done.rate}
        events.seconds = listening.seconds_since(began)
        return run.report(events)


@bench.command(cls=Command, examples="fluyt bench lease --operation renew --leases 10000 --clients 100")
@click.option(
    "--operation", type=click.Choice(["grant", "renew"]), default="renew", show_default=True, help="What is measured."
)
@click.option("--leases", type=click.IntRange(1), default=1000, show_default=True, help="Leases that are renewed.")
@click.option("--ttl", type=Duration(), default=60.0, help="How long a lease lives without renewal. Default: 60s.")
@load_options
@on_uvloop
async def lease(console: Console, /, operation: str, leases: int, ttl: float, **values: Any) -> int:
    """Grants or renewals of leases; all of them are revoked in the end."""
    async with begun(console, "lease", asked(values)) as run:
        grant = Grants(max(1, round(ttl)), run.granted)
        if operation == "grant":
            return run.report(await run.load(lambda _: grant, "grants"))
        await run.aside("granting", leases, grant)
        return run.report(await run.load(lambda n: Renewals(run.granted, n, run.asked.clients), "renewals"))
