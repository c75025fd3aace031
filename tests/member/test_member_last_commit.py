"""A member that is told to stop while its disk fails: one line, an exit code, and nothing lost."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from harness.ports import free_port

from kvstore.client import AsyncClient, Settings
from kvstore.member.config import Config
from kvstore.member.process import run
from kvstore.services.all import register_all
from kvstore.storage import Backend
from kvstore.storage.errors import StorageFailed


def config_of(folder: Path) -> Config:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    return Config(
        name="m1",
        data_dir=str(folder),
        listen_client_urls=[client],
        advertise_client_urls=[client],
        listen_peer_urls=[peer],
        initial_advertise_peer_urls=[peer],
        initial_cluster={"m1": [peer]},
    )


def test_a_disk_that_fails_at_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(tmp_path / "m1")

    def failing(self: Backend) -> None:
        raise StorageFailed("data.mdb: Input/output error")

    async def work() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(run(config, register_all, stop))
        async with AsyncClient(Settings(endpoints=tuple(config.listen_client_urls))) as client:
            await client.put("k", "v")
        with monkeypatch.context() as broken:
            broken.setattr(Backend, "commit", failing)
            stop.set()
            assert await running == 1
        stop = asyncio.Event()
        again = asyncio.create_task(run(config, register_all, stop))
        async with AsyncClient(Settings(endpoints=tuple(config.listen_client_urls))) as client:
            found = await client.get("k")
            assert found is not None
            assert found.value == b"v"
        stop.set()
        assert await again == 0

    with caplog.at_level(logging.INFO, logger="kvstore.member.process"):
        asyncio.run(work())
    assert "Input/output error; nothing acknowledged is lost" in caplog.text
