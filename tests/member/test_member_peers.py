"""Links that end for good in the very turn in which their connection is lost, and guests."""

from __future__ import annotations

import asyncio
from typing import Any

from kvstore.member.peers.links import MAX_GUESTS, REMOVED, REMOVED_TEXT, PeerLinks
from kvstore.pb import raft_pb2
from kvstore.raft.types import Message, MessageKind


class Pipe:
    """A channel that connects at once and says nothing."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.listener: Any = None
        self.connects = 0
        self.said: list[str] = []
        self.buffered = 0

    async def connect(self, address: Any, **_: Any) -> Pipe:
        self.connects += 1
        return self

    def open(self, path: str, *, listener: Any) -> Pipe:
        self.listener = listener
        self.opened.set()
        return self

    def send(self, data: bytes) -> None:
        self.said.append("sent")

    def send_now(self, call: Pipe, data: bytes) -> None:
        assert call is self
        self.said.append("sent now")

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


def test_messages_leave_at_once_and_none_when_the_connection_has_gone() -> None:
    async def run() -> None:
        pipe, events = Pipe(), Events()
        events.links = PeerLinks(7, 1, events, pipe)  # type: ignore[arg-type]
        events.unreachable = lambda peer: pipe.said.append("dropped")  # type: ignore[attr-defined]
        events.links.set_peers({2: ["http://127.0.0.1:1"]})
        await pipe.opened.wait()
        await asyncio.sleep(0)
        pipe.said.clear()
        message = Message(MessageKind.HEARTBEAT, to=2, from_=1, term=1)
        events.links.send([message, message])
        assert pipe.said == ["sent now"], "one frame, in this very turn"
        pipe.said.clear()
        pipe.opened.clear()
        pipe.listener.finished(0, "")
        events.links.close()
        events.links.send([message])
        assert pipe.said == ["dropped"]

    asyncio.run(run())


class Caller:
    """A peer's stream to us, as the server hands it over."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def send(self, data: bytes) -> None:
        pass

    def fail(self, code: int, message: str) -> None:
        self.failures.append(message)


class Server:
    """Keeps the factory of streams."""

    def stream(self, path: str, factory: Any) -> None:
        self.open = factory

    def unary(self, path: str, handler: Any) -> None:
        pass


class Deaf:
    """A member that does not care."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def greeting(member: int, *urls: str) -> bytes:
    """The first frame of a peer's stream."""
    hello = raft_pb2.Hello(cluster_id=7, member_id=member, to_member_id=1, peer_urls=urls)
    return raft_pb2.Frame(hello=hello).SerializeToString()


def test_a_peer_that_joined_meanwhile_is_answered_while_it_is_there() -> None:
    """It may lead: without an answer we would never learn of the change that made it a member."""

    async def run() -> None:
        pipe, server = Pipe(), Server()
        links = PeerLinks(7, 1, Deaf(), pipe)  # type: ignore[arg-type]
        links.register(server)  # type: ignore[arg-type]
        links.set_peers({2: ["http://127.0.0.1:1"]})
        first, second = server.open(Caller()), server.open(Caller())
        first.message(greeting(9, "http://127.0.0.1:2"))
        second.message(greeting(9, "http://127.0.0.1:2"))
        assert set(links._links) == {2, 9}
        links.set_peers({2: ["http://127.0.0.1:1"], 3: ["http://127.0.0.1:3"]})
        assert set(links._links) == {2, 3, 9}, "an older change of membership says nothing of it"
        first.closed()
        assert 9 in links._links
        second.closed()
        assert set(links._links) == {2, 3}
        links.close()

    asyncio.run(run())


def test_a_guest_that_becomes_a_member_stays() -> None:
    async def run() -> None:
        pipe, server = Pipe(), Server()
        links = PeerLinks(7, 1, Deaf(), pipe)  # type: ignore[arg-type]
        links.register(server)  # type: ignore[arg-type]
        stream = server.open(Caller())
        stream.message(greeting(9, "http://127.0.0.1:2"))
        link = links._links[9]
        links.set_peers({9: ["http://127.0.0.1:2"]})
        stream.closed()
        assert links._links == {9: link}
        links.close()

    asyncio.run(run())


def test_guests_are_few_and_say_where_they_listen() -> None:
    async def run() -> None:
        pipe, server = Pipe(), Server()
        links = PeerLinks(7, 1, Deaf(), pipe)  # type: ignore[arg-type]
        links.register(server)  # type: ignore[arg-type]
        server.open(Caller()).message(greeting(8))
        server.open(Caller()).message(greeting(9, "nonsense"))
        assert not links._links
        for number in range(100, 100 + 2 * MAX_GUESTS):
            server.open(Caller()).message(greeting(number, "http://127.0.0.1:2"))
        assert len(links._links) == MAX_GUESTS
        links.close()

    asyncio.run(run())


def test_a_guest_that_is_there_at_the_end_leaves_in_peace() -> None:
    async def run() -> None:
        server = Server()
        links = PeerLinks(7, 1, Deaf(), Pipe())  # type: ignore[arg-type]
        links.register(server)  # type: ignore[arg-type]
        stream = server.open(Caller())
        stream.message(greeting(9, "http://127.0.0.1:2"))
        links.close()
        stream.closed()  # it raised KeyError

    asyncio.run(run())


def test_a_peer_that_calls_is_called_back_at_once() -> None:
    """It was away, so that our link waits before its next attempt; who calls is there."""

    class Absent:
        """Nobody there, until somebody is."""

        def __init__(self) -> None:
            self.pipe = Pipe()
            self.there = False
            self.attempts = 0

        async def connect(self, address: Any, **options: Any) -> Pipe:
            self.attempts += 1
            if not self.there:
                raise OSError("nobody there")
            return await self.pipe.connect(address, **options)

    async def run() -> None:
        absent, server = Absent(), Server()
        links = PeerLinks(7, 1, Deaf(), absent)  # type: ignore[arg-type]
        links.register(server)  # type: ignore[arg-type]
        links.set_peers({2: ["http://127.0.0.1:1"]})
        while not absent.attempts:
            await asyncio.sleep(0)
        for _ in range(3):  # until it waits
            await asyncio.sleep(0)
        absent.there = True
        server.open(Caller()).message(greeting(2))
        for _ in range(10):  # turns of the loop, in which no time passes
            await asyncio.sleep(0)
        assert absent.pipe.opened.is_set()
        links.close()

    asyncio.run(run())
