"""Two `fluyt controllers`, one acts: SIGSTOP and kill -9 of the leader; what comes back late cannot write."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest
from harness.process import Process
from live_cluster import Live, deployment

from control.api.status import StatusError
from control.client import kubeconfig
from control.client.cause import Cause, Fence
from control.client.client import Client


@pytest.fixture
def standby(live: Live) -> Iterator[Process]:
    """A second process that has its view and stands by."""
    process = live.another("standby")
    try:
        live.wait(lambda: "standing by" in process.output(), "its view")
        yield process
    finally:
        process.kill()


def _pods(live: Live, namespace: str) -> int:
    return len(live.list("pods", namespace))


def _fence(log: str) -> Fence:
    """The last term that a log tells of."""
    key, revision = re.findall(r"at work \((\S+);(\d+)\)", log)[-1]
    return Fence(key, int(revision))


def test_a_paused_leader_and_a_killed_one_are_replaced_and_the_past_cannot_write(
    live: Live, namespace: str, standby: Process
) -> None:
    leader = live.first_pid()
    log = live.folder / "logs" / "m1-controllers.log"
    live.create("deployments", namespace, deployment("before", replicas=1))
    live.wait(lambda: _pods(live, namespace) == 1, "the leader's work")
    old = _fence(log.read_text())

    os.kill(leader, signal.SIGSTOP)
    try:
        live.create("deployments", namespace, deployment("during", replicas=2))
        _taken_over(live, namespace, 3)
        assert "at work" in standby.output()
    finally:
        os.kill(leader, signal.SIGCONT)
    live.wait(lambda: "the term is over" in log.read_text(), "the old leader's end")
    with pytest.raises(StatusError) as refused:
        asyncio.run(_write(live, old))
    assert refused.value.code == 409
    assert {cause.reason for cause in refused.value.causes} == {"FenceLost"}

    standby.kill()
    live.create("deployments", namespace, deployment("after", replicas=2))
    _taken_over(live, namespace, 5)
    assert len(live.list("replicasets", namespace)) == 3
    assert _fence(log.read_text()).revision > old.revision


def _taken_over(live: Live, namespace: str, pods: int) -> None:
    """The next leader does what is to be done."""
    began = time.monotonic()
    live.wait(lambda: _pods(live, namespace) == pods, "the next leader's work", timeout=15)
    took = time.monotonic() - began
    print(f"taken over after {took:.2f} s")
    # The lease is two seconds, and a busy machine takes its time.
    assert took < 8


async def _write(live: Live, fence: Fence) -> None:
    """What the old leader would do: a write of its term."""
    async with Client(kubeconfig.load(live.folder / "controllers.conf")) as client:
        late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": "default"}}
        cause = Cause("namespaces/-/default", "1", "too late")
        await client.fenced(fence).create("configmaps", late, cause=cause)
