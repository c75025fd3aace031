"""What a call ends with whose attempts all failed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.client import rpcs
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
