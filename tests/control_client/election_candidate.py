"""A process that stands for election and, while it leads, writes under its fence as fast as it can.

python election_candidate.py ENDPOINTS NAME IDENTITY TTL: one JSON line on stdout for each thing that happens. It goes
on writing after a term is lost until it is refused, as a leader would that was paused between its check and its write.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time

import uvloop

from control.client import Elector, Leadership
from kvstore.client import AsyncClient, ClientError, connect, create_revision, put


def say(what: str, **more: object) -> None:
    print(json.dumps({"what": what, "at": time.monotonic(), **more}), flush=True)


async def lead(store: AsyncClient, name: str, identity: str, term: Leadership) -> None:
    """Write until refused; then wait for `lost`, which must come."""
    say("elected", revision=term.fence.revision)
    holds = create_revision(term.fence.key) == term.fence.revision
    while True:
        answer = await store.txn().when(holds).then(put(f"work/{name}", identity)).commit(repeatable=True)
        if not answer.succeeded:
            break
        await asyncio.sleep(0.01)
    say("refused", valid=term.valid)
    await term.lost.wait()
    say("lost")


async def main(endpoints: str, name: str, identity: str, ttl: str) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with connect(endpoints) as store:
        say("stands")
        stand = asyncio.create_task(terms(store, name, identity, int(ttl)))
        await ended.wait()
        stand.cancel()
        await asyncio.gather(stand, return_exceptions=True)
    say("ended")


async def terms(store: AsyncClient, name: str, identity: str, ttl: int) -> None:
    # A stop resigns before the store is closed under it.
    async with contextlib.aclosing(Elector(store, name, identity, ttl=ttl).terms()) as elected:  # type: ignore[type-var]
        async for term in elected:
            try:
                await lead(store, name, identity, term)
            except ClientError as problem:
                say("failed", why=str(problem))


logging.basicConfig(level=logging.INFO)
# As our processes do.
uvloop.run(main(*sys.argv[1:5]))
