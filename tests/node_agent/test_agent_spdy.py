"""exec, attach and port-forward over SPDY/3.1 itself, as kubectl before 1.31 speaks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from spdy_client import SpdyClient, control, data
from test_agent_server import served

from node_agent.server import fronts

EXEC, FORWARD = "v4.channel.k8s.io", "portforward.k8s.io"


class Peer:
    """A connection that has asked for an upgrade, and its SPDY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self.reader, self.writer, self.head = reader, writer, head
        self.spdy = SpdyClient()

    @classmethod
    async def call(cls, url: str, path: str, *offered: str) -> Peer:
        at = urlsplit(url)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        versions = "".join(f"X-Stream-Protocol-Version: {one}\r\n" for one in offered)
        upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
        writer.write(f"POST {path} HTTP/1.1\r\nHost: agent\r\n{upgrade}{versions}\r\n".encode())
        return cls(reader, writer, (await reader.readuntil(b"\r\n\r\n")).decode())

    def say(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def open(self, **streams: int) -> None:
        self.say(*(self.spdy.open(number, {"streamtype": kind}) for kind, number in streams.items()))

    async def until(self, condition: Callable[[SpdyClient], object]) -> None:
        async with asyncio.timeout(10):
            while not condition(self.spdy):
                came = await self.reader.read(65536)
                assert came, "the agent closed the connection"
                self.spdy.feed(came)

    async def hung_up(self) -> None:
        async with asyncio.timeout(10):
            while await self.reader.read(65536):
                pass
        self.writer.close()


def test_exec(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, _, url):
            peer = await Peer.call(
                url, "/exec/default/web/web?command=echo&command=hi&stdout=1&stderr=1", EXEC, "v3.channel.k8s.io"
            )
            assert peer.head.startswith("HTTP/1.1 101 ")
            assert f"X-Stream-Protocol-Version: {EXEC}\r\n" in peer.head
            assert "Upgrade: SPDY/3.1\r\n" in peer.head
            peer.open(error=1, stdout=3, stderr=5)
            await peer.until(lambda spdy: spdy.ended >= {1, 3, 5})
            assert peer.spdy.data[3] == b"hi\n"
            assert json.loads(peer.spdy.data[1])["status"] == "Success"
            await peer.hung_up()

    asyncio.run(work())


def test_exec_carries_input_sizes_and_exit_codes(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, _, url):
            # What is sent at once, before the agent has answered the streams, counts.
            peer = await Peer.call(url, "/exec/default/web/web?command=cat&stdin=true&stdout=true", f"v1, {EXEC}")
            peer.open(error=1, stdin=3, stdout=5)
            peer.say(data(3, b"early "), data(3, b"x" * 600_000), control(6, b"\0\0\0\1"))
            await peer.until(lambda spdy: len(spdy.data.get(5, b"")) == 600_006 and spdy.pings)
            peer.say(data(3, b"", fin=True))
            await peer.until(lambda spdy: 1 in spdy.ended)
            await peer.hung_up()
            peer = await Peer.call(url, "/exec/default/web/web?command=false&stdout=1&stdin=1&tty=1", EXEC)
            peer.open(error=1, stdin=3, stdout=5, resize=7)
            peer.say(data(7, b'{"Width":80,"Hei'), data(7, b'ght":24}\n{"Width":'), data(7, b"nonsense\n"))
            await peer.until(lambda spdy: 1 in spdy.ended)
            assert json.loads(peer.spdy.data[1])["details"]["causes"] == [{"reason": "ExitCode", "message": "1"}]
            await peer.hung_up()

    asyncio.run(work())


def test_what_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, session, url):
            for path, offered, code in (
                ("/exec/default/web/web?command=x&stdout=1", "v1.channel.k8s.io", "403"),
                ("/exec/default/web/web?stdout=1", EXEC, "400"),
                ("/exec/default/web/nope?command=x&stdout=1", EXEC, "404"),
                ("/attach/default/nope/web?stdout=1", EXEC, "404"),
                ("/portForward/default/web", EXEC, "403"),
                ("/portForward/default/nope", FORWARD, "404"),
            ):
                peer = await Peer.call(url, path, offered)
                assert peer.head.split()[1] == code, path
                peer.writer.close()
            async with session.post(f"{url}/exec/default/web/web?command=id&stdout=true") as plain:
                assert plain.status == 400
                assert ":" not in await plain.text()

    asyncio.run(work())


def test_streams_nobody_knows_and_breaches(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, _, url):
            path = "/exec/default/web/web?command=cat&stdin=1&stdout=1"
            peer = await Peer.call(url, path, EXEC)
            peer.open(error=1, stdin=3, stdout=5, gossip=7)
            peer.say(peer.spdy.open(9, {"streamtype": "stdout"}))
            await peer.until(lambda spdy: spdy.reset == {7: 1, 9: 1})
            peer.say(b"\x80\x09garbage")
            await peer.hung_up()
            peer = await Peer.call(url, path, EXEC)
            peer.open(error=1, stdin=3, stdout=5)
            peer.say(control(3, b"\0\0\0\3\0\0\0\5"))  # its input is reset: no more will come
            await peer.until(lambda spdy: 1 in spdy.ended)
            await peer.hung_up()

    asyncio.run(work())


def test_who_does_not_open_its_streams_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "_OPENING_SECONDS", 0.1)

    async def work() -> None:
        async with served(tmp_path, "web") as (_, _, url):
            peer = await Peer.call(url, "/exec/default/web/web?command=cat&stdin=1&stdout=1", EXEC)
            peer.open(error=1)
            await peer.hung_up()

    asyncio.run(work())


def test_attach_ends_with_the_container(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web", simulate="run=500ms, exit=3") as (_, _, url):
            peer = await Peer.call(url, "/attach/default/web/web?stdout=1", EXEC)
            peer.open(error=1, stdout=3)
            await peer.until(lambda spdy: {1, 3} <= spdy.ended)
            await peer.hung_up()

    asyncio.run(work())


def test_port_forward(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, _, url):
            peer = await Peer.call(url, "/portForward/default/web", FORWARD)
            assert f"X-Stream-Protocol-Version: {FORWARD}\r\n" in peer.head
            headers = {"port": "80", "requestid": "0"}
            peer.say(peer.spdy.open(1, {**headers, "streamtype": "error"}, fin=True))
            peer.say(peer.spdy.open(3, {**headers, "streamtype": "data"}))
            peer.say(data(3, b"GET / HTTP/1.0\r\n\r\n", fin=True))
            await peer.until(lambda spdy: 3 in spdy.ended)
            assert peer.spdy.replied == [1, 3]
            assert peer.spdy.data[3]
            peer.writer.close()

    asyncio.run(work())
