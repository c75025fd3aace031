"""A link that is closed in the very turn in which its connection is lost ends for good."""

from __future__ import annotations

import asyncio
from typing import Any

from kvstore.member.peers import REMOVED, REMOVED_TEXT, PeerLinks


class Pipe:
    """A channel that connects at once and says nothing."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.listener: Any = None
        self.connects = 0

    async def connect(self, address: Any, **_: Any) -> Pipe:
        self.connects += 1
        return self

    def open(self, path: str, *, listener: Any) -> Pipe:
        self.listener = listener
        self.opened.set()
        return self

    def send(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class Events:
    """A member that stops when it hears that it was removed, as soon as the loop lets it."""

    def __init__(self) -> None:
        self.links: PeerLinks
        self.heard: list[int] = []

    def refused_as_removed(self, peer: int) -> None:
        self.heard.append(peer)
        asyncio.get_running_loop().call_soon(self.links.close)


def test_who_was_removed_does_not_call_again_after_it_has_stopped() -> None:
    async def run() -> None:
        pipe, events = Pipe(), Events()
        events.links = PeerLinks(7, 1, events, pipe)  # type: ignore[arg-type]
        events.links.set_peers({2: ["http://127.0.0.1:1"]})
        await pipe.opened.wait()
        for _ in range(3):  # until it waits for its connection's end
            await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        pipe.listener.finished(REMOVED, REMOVED_TEXT)
        done, running = await asyncio.wait(tasks, timeout=5)
        assert not running, "its link goes on"
        assert len(done) == 1
        assert events.heard == [2]
        assert pipe.connects == 1

    asyncio.run(run())
