"""A program that takes a lock (or wins an election) and writes under it until a write is refused.

    lock_holder.py ENDPOINTS lock|election NAME TTL KEY VALUE

It is as careless as a program can be: it never looks at its clock or at `held`, it just goes on writing. Every write
carries the fence, so the store refuses it once the lock is another's. Exit code 3: a write was refused. It prints
`holds TOKEN` first, and then nothing that a pause could cut in half.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from kvstore.client import AsyncClient, connect, put
from kvstore.client.election import Election
from kvstore.client.lock import Lock

REFUSED = 3


async def main(endpoints: str, kind: str, name: str, ttl: int, key: str, value: str) -> int:
    """Hold and write; the exit code."""
    async with connect(endpoints) as client:
        held = await take(client, kind, name, ttl, value)
        print(f"holds {held.token}", flush=True)
        for number in itertools.count():
            write = put(key, f"{value} {held.token} {number}")
            answer = await client.txn().when(held.fenced()).then(write).commit(repeatable=True)
            if not answer.succeeded:
                print("refused", flush=True)
                return REFUSED
            await asyncio.sleep(0.01)
    return 0


async def take(client: AsyncClient, kind: str, name: str, ttl: int, value: str) -> Lock | Election:
    """Wait until it is ours."""
    if kind == "lock":
        return await client.lock(name, ttl).acquire()
    return await client.election(name, ttl).campaign(value)


if __name__ == "__main__":
    _, where, what, which, seconds, target, text = sys.argv
    sys.exit(asyncio.run(main(where, what, which, int(seconds), target, text)))
