"""The network: streams between members as kvstore.wire's Channel and GrpcServer give them, without the bytes below.

A connection delivers in order and loses nothing until it breaks; then everything under way is gone and both ends hear
of it, each at its own time. A blocked direction holds what is sent into it, like TCP, until it is open again or the
keepalive breaks the connection. On top of what TCP would do, a *hostile* network loses, repeats and reorders the
frames of Raft's own messages; batches that a follower passes on are repeated and reordered, but lost only with their
connection, which is what the member is built for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim_world import Life, World

from kvstore.errors import Code, EtcdError
from kvstore.pb import raft_pb2

STREAM_PATH = "/fluyt.raft.Raft/Stream"
HOST = "10.0.0."


def url_of(member: int) -> str:
    """The peer URL of a member."""
    return f"http://{HOST}{member}:2380"


@dataclass
class Weather:
    """delay: mean one-way seconds. loss, repeat, reorder: chances for a frame on a hostile network."""

    delay: float = 0.0005
    spread: float = 0.5
    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    keepalive: float = 15.0


class Server:
    """Where a member registers what it serves to its peers."""

    def __init__(self) -> None:
        self.unaries: dict[str, Callable[..., None]] = {}
        self.streams: dict[str, Callable[..., Any]] = {}

    def unary(self, path: str, handler: Callable[..., None]) -> None:
        """As GrpcServer's."""
        self.unaries[path] = handler

    def stream(self, path: str, factory: Callable[..., Any]) -> None:
        """As GrpcServer's."""
        self.streams[path] = factory


class Network:
    """Who can be reached, and by whom."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather()
        self.listening: dict[int, tuple[Life, Server]] = {}
        self.blocked: set[tuple[int, int]] = set()
        self._connections: dict[Connection, None] = {}

    def delay(self) -> float:
        """Seconds one way."""
        weather = self.weather
        return weather.delay * (1 - weather.spread + 2 * weather.spread * self.world.random.random())

    def listen(self, life: Life, server: Server) -> None:
        """The member serves."""
        self.listening[life.member] = (life, server)

    def gone(self, life: Life, heard_after: float) -> None:
        """A process ended; the other ends hear of it after so many seconds."""
        if self.listening.get(life.member, (None,))[0] is life:
            del self.listening[life.member]
        for connection in [c for c in self._connections if life in (c.client, c.server)]:
            connection.lost(heard_after)

    def block(self, pairs: set[tuple[int, int]]) -> None:
        """Nothing gets from the first to the second of each pair."""
        self.blocked |= pairs

    def open(self) -> None:
        """Nothing is blocked any more."""
        self.blocked.clear()
        for connection in list(self._connections):
            connection.release()

    def break_some(self, chance: float) -> None:
        """Connections break for no reason."""
        for connection in list(self._connections):
            if self.world.random.random() < chance:
                connection.lost(self.delay())

    async def connect(
        self,
        host: str,
        port: int,
        *,
        timeout: float = 5.0,
        on_lost: Callable[[Exception | None], None] | None = None,
        **_: Any,
    ) -> Channel:
        """As Channel.connect."""
        client = self.world.life
        assert client is not None
        target = int(host.removeprefix(HOST))
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Connection | None] = loop.create_future()
        self.world.at(self.world.now + self.delay(), None, self._accept, client, target, on_lost, answer)
        try:
            async with asyncio.timeout(timeout):
                connection = await answer
        except TimeoutError as fault:
            raise EtcdError(Code.UNAVAILABLE, f"cannot connect to {host}:{port}: timed out") from fault
        if connection is None or connection.closed:
            raise EtcdError(Code.UNAVAILABLE, f"cannot connect to {host}:{port}: connection refused")
        return Channel(connection)

    def _accept(self, client: Life, target: int, on_lost: Any, answer: asyncio.Future[Connection | None]) -> None:
        here = client.member
        if client.dead or (here, target) in self.blocked or (target, here) in self.blocked:
            return
        found = self.listening.get(target)
        connection = None
        if found is not None:
            connection = Connection(self, client, found[0], found[1], on_lost)
            self._connections[connection] = None
        self.world.at(self.world.now + self.delay(), client, self._answer, answer, connection)

    @staticmethod
    def _answer(answer: asyncio.Future[Connection | None], connection: Connection | None) -> None:
        if not answer.done():
            answer.set_result(connection)
        elif connection is not None:
            connection.shut(connection.client)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        self._connections.pop(connection, None)


class Connection:
    """One connection with its calls; each direction keeps its order."""

    def __init__(self, net: Network, client: Life, server: Life, services: Server, on_lost: Any) -> None:
        self.net = net
        self.client = client
        self.server = server
        self.services = services
        self.closed = False
        self.calls: dict[ClientCall, None] = {}
        self._on_lost = on_lost
        self._last = {True: 0.0, False: 0.0}  # forward?
        # Forward or not: who sends, who hears, and both by number.
        self._ends = {
            True: (client, server, (client.member, server.member)),
            False: (server, client, (server.member, client.member)),
        }
        self._held: list[tuple[bool, Callable[..., None], tuple[Any, ...]]] = []
        self._dying = False

    def send(self, forward: bool, work: Callable[..., None], *args: Any, late: float = 0.0) -> None:
        """Run work(*args) at the other end, in order; `late` seconds later and out of order if that is not 0."""
        if self.closed:
            return
        source, target, pair = self._ends[forward]
        net = self.net
        if self._held or pair in net.blocked:
            self._hold(forward, work, args)
            return
        world = net.world
        moment = world.now + source.spent + net.delay() + late
        if not late:
            moment = self._last[forward] = max(moment, self._last[forward])
        world.at(moment, target, self._arrive, pair, forward, work, args)

    def _arrive(self, pair: tuple[int, int], forward: bool, work: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.closed:
            return
        if pair in self.net.blocked:
            self._hold(forward, work, args)
        else:
            work(*args)

    def _hold(self, forward: bool, work: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._held.append((forward, work, args))
        if not self._dying:
            self._dying = True
            world, weather = self.net.world, self.net.weather
            world.at(world.now + weather.keepalive * world.random.uniform(0.3, 1.0), None, self._keepalive)

    def _keepalive(self) -> None:
        self._dying = False
        if self._held and not self.closed:
            self.lost(0.0)

    def release(self) -> None:
        """The way is open again: what waited goes on."""
        held, self._held = self._held, []
        for forward, work, args in held:
            self.send(forward, work, *args)

    def lost(self, heard_after: float) -> None:
        """The connection is broken; each end hears of it."""
        if self.closed:
            return
        self._close()
        world = self.net.world
        world.at(world.now + heard_after, self.client, self._tell_client)
        world.at(world.now + heard_after, self.server, self._tell_server)

    def shut(self, by: Life) -> None:
        """One end closed it."""
        if self.closed:
            return
        self._close()
        world = self.net.world
        tell = self._tell_server if by is self.client else self._tell_client
        world.at(world.now + self.net.delay(), self.server if by is self.client else self.client, tell)

    def _close(self) -> None:
        self.closed = True
        self._held.clear()
        self.net.forget(self)

    def _tell_client(self) -> None:
        for call in list(self.calls):
            call.over(Code.UNAVAILABLE, "connection lost")
        if self._on_lost is not None:
            on_lost, self._on_lost = self._on_lost, None
            on_lost(ConnectionResetError("connection lost"))

    def _tell_server(self) -> None:
        for call in list(self.calls):
            call.there.end()

    def mute(self) -> None:
        """The client closed the channel itself: it does not hear of its end."""
        self._on_lost = None


class Channel:
    """As kvstore.wire.channel.Channel."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def closed(self) -> bool:
        """No more calls."""
        return self._connection.closed

    def open(self, path: str, metadata: Any = (), *, listener: Any, timeout: float | None = None) -> ClientCall:
        """A new call."""
        if self._connection.closed:
            raise EtcdError(Code.UNAVAILABLE, "connection lost")
        return ClientCall(self._connection, path, listener)

    def send_now(self, call: ClientCall, message: bytes) -> None:
        """Here everything leaves at once."""
        call.send(message)

    async def unary(self, path: str, message: bytes, timeout: float | None = None, metadata: Any = ()) -> bytes:
        """One message there, one back."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        call = self.open(path, listener=_Answer(future))
        call.send(message)
        call.half_close()
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            if future.done() and not future.cancelled():
                future.exception()

    def close(self) -> None:
        """End it."""
        self._connection.mute()
        for call in list(self._connection.calls):
            call.over(Code.UNAVAILABLE, "channel closed")
        self._connection.shut(self._connection.client)


class _Answer:
    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self._future = future
        self._data = b""

    def message(self, data: bytes) -> None:
        self._data = data

    def finished(self, code: int, message: str) -> None:
        if self._future.done():
            return
        if code == Code.OK:
            self._future.set_result(self._data)
        else:
            self._future.set_exception(EtcdError(Code(code), message))


class ClientCall:
    """The caller's end of a call."""

    buffered = 0

    def __init__(self, connection: Connection, path: str, listener: Any) -> None:
        self._connection = connection
        self._listener = listener
        self.closed = False
        self.there = ServerCall(connection, self, path)
        self._raft = path == STREAM_PATH
        self._greeted = False
        connection.calls[self] = None

    def send(self, message: bytes) -> None:
        """Send one message."""
        if self.closed:
            return
        if not self._raft or not self._greeted:
            self._greeted = True
            self._connection.send(True, self.there.hear, message)
            return
        weather = self._connection.net.weather
        if not (weather.loss or weather.repeat or weather.reorder):
            self._connection.send(True, self.there.hear, message)
            return
        self._send_hostile(message, weather)

    def _send_hostile(self, message: bytes, weather: Weather) -> None:
        dice = self._connection.net.world.random
        if dice.random() < weather.loss and not _passes_on(message):
            return
        late = dice.random() * 20 * weather.delay if dice.random() < weather.reorder else 0.0
        self._connection.send(True, self.there.hear, message, late=late)
        if dice.random() < weather.repeat:
            self._connection.send(True, self.there.hear, message, late=dice.random() * 40 * weather.delay)

    def half_close(self) -> None:
        """No more from us."""
        self._connection.send(True, self.there.hear_end)

    def cancel(self, code: int = Code.CANCELED, message: str = "canceled by the caller") -> None:
        """End the call."""
        if not self.closed:
            self._connection.send(True, self.there.end)
            self.over(code, message)

    def hear(self, message: bytes) -> None:
        """From the server."""
        if not self.closed:
            self._listener.message(message)

    def over(self, code: int, message: str) -> None:
        """The call has ended."""
        if self.closed:
            return
        self.closed = True
        if self.there.closed:
            self._connection.calls.pop(self, None)
        self._listener.finished(code, message)


def _passes_on(frame: bytes) -> bool:
    messages = raft_pb2.Frame.FromString(frame).messages
    return any(message.kind == raft_pb2.PROPOSE for message in messages)


class ServerCall:
    """The server's end of a call."""

    buffered = 0

    def __init__(self, connection: Connection, here: ClientCall, path: str) -> None:
        self._connection = connection
        self._here = here
        self._path = path
        self._stream: Any = None
        self.closed = False

    def hear(self, message: bytes) -> None:
        """From the client."""
        if self.closed:
            return
        services = self._connection.services
        try:
            if self._path in services.unaries:
                services.unaries[self._path](self, message)
            else:
                if self._stream is None:
                    self._stream = services.streams[self._path](self)
                self._stream.message(message)
        except EtcdError as problem:
            self.fail(problem.code, problem.message)

    def hear_end(self) -> None:
        """The client has said all it will."""
        if not self.closed and self._stream is not None:
            self._stream.half_close()

    def send(self, message: bytes) -> None:
        """To the client."""
        if not self.closed:
            self._connection.send(False, self._here.hear, message)

    def reply(self, message: bytes) -> None:
        """The last message."""
        self.send(message)
        self.finish()

    def finish(self) -> None:
        """End with OK."""
        self._finish(Code.OK, "")

    def fail(self, code: int, message: str) -> None:
        """End with another status."""
        self._finish(code, message)

    def _finish(self, code: int, message: str) -> None:
        if not self.closed:
            self._connection.send(False, self._here.over, code, message)
            self.end()

    def end(self) -> None:
        """It is over, whoever ended it."""
        if self.closed:
            return
        self.closed = True
        if self._here.closed:
            self._connection.calls.pop(self._here, None)
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.closed()
