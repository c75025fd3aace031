"""How long attempts that fail are followed by others, and what the call ends with."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from harness.ports import free_port

from kvstore.client import Client, connect, rpcs
from kvstore.client.channel import NotSent
from kvstore.client.errors import Unreachable
from kvstore.client.transport import _Attempts
from kvstore.pb import etcd_pb2 as pb


class Channel:
    """Refuses at once and says why; the second time it takes longer than there is."""

    def __init__(self) -> None:
        self.asked = 0

    async def connect(self, timeout: float) -> None:
        self.asked += 1
        if self.asked > 1:
            await asyncio.sleep(timeout)
            raise NotSent(f"no connection within {timeout:.3g} s")
        raise NotSent("it wants a certificate")


def test_an_attempt_that_time_cut_short_does_not_hide_why_the_one_before_failed() -> None:
    async def run() -> None:
        async def metadata(*_: Any) -> tuple[()]:
            return ()

        endpoint = SimpleNamespace(address="m1", channel=Channel(), failed=lambda: None, worked=lambda: None)
        transport = SimpleNamespace(
            settings=SimpleNamespace(user=None, dial_timeout=None), endpoints=[endpoint], metadata=metadata
        )
        attempts = _Attempts(cast(Any, transport), rpcs.RANGE, pb.RangeRequest(key=b"k"), 0.05)
        for _ in range(2):
            assert await attempts.ask(cast(Any, endpoint)) is None
        with pytest.raises(Unreachable, match="it wants a certificate"):
            await attempts.sleep(0.01)

    asyncio.run(run())


@pytest.mark.usefixtures("library")
def test_a_call_goes_on_asking_until_its_time_is_over() -> None:
    with Client(f"127.0.0.1:{free_port()}", timeout=1) as client:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            client.get("k")
        assert time.monotonic() - started > 0.95


@pytest.mark.usefixtures("library")
def test_a_call_goes_on_dialing_until_the_time_for_that_is_over() -> None:
    with Client(f"127.0.0.1:{free_port()}", timeout=60, dial_timeout=1) as client:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            client.get("k")
        assert 0.95 < time.monotonic() - started < 30


def test_no_pause_goes_beyond_the_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.client.transport.delays", lambda: iter([0.01, 3600.0, 3600.0]))

    async def run() -> None:
        async with connect(f"127.0.0.1:{free_port()}") as client, asyncio.timeout(30):
            with pytest.raises(Unreachable):
                await client._transport.connected(time.monotonic() + 0.3)

    asyncio.run(run())
