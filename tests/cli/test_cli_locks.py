"""`fluyt lock` and `fluyt elect`: held until a signal, handed on, lost."""

from __future__ import annotations

import json
import os
import re
import signal

from fluyt_process import Started, interrupt, lines, run
from harness.cluster import Cluster
from harness.wait import wait_until

from kvstore.client import Client


def test_lock_is_held_until_interrupted(started: Started, client: Client, name: str) -> None:
    holder = started("lock", name, "--ttl", "60")
    wait_until(lambda: len(lines(holder)) == 2, "the lock")
    key = lines(holder)[0].encode()
    assert client.get(key) is not None
    waiter = started("lock", name, "--ttl", "60", "-w", "json")
    wait_until(lambda: client.get_prefix(name + "/").count == 2, "a second in line")
    assert lines(waiter) == []
    assert interrupt(holder) == 0
    wait_until(lambda: len(lines(waiter)) == 1, "the second to get the lock")
    assert json.loads(lines(waiter)[0])["count"] == 1
    assert interrupt(waiter) == 0
    assert client.get_prefix(name).count == 0


def test_a_waiter_that_is_interrupted_leaves_the_line(started: Started, client: Client, name: str) -> None:
    with client.lock(name, ttl=60):
        waiter = started("lock", name, "--ttl", "60")
        wait_until(lambda: client.get_prefix(name + "/").count == 2, "a second in line")
        assert interrupt(waiter) == 1
        assert client.get_prefix(name + "/").count == 1


def test_lock_runs_a_command_and_passes_on_its_code(store: Cluster, client: Client, name: str) -> None:
    done = run(store, "lock", name, "--", "sh", "-c", 'echo "$ETCD_LOCK_KEY" "$ETCD_LOCK_REV"; exit 7')
    assert done.code == 7
    assert re.fullmatch(rf"{name}/[0-9a-f]+ \d+\n", done.stdout)
    assert "exit status 7" in done.stderr
    assert run(store, "lock", name, "true").code == 0
    assert run(store, "lock", name, "--", "sh", "-c", "kill -9 $$").code == 137
    assert "cannot run /none" in run(store, "lock", name, "/none").stderr
    assert client.get_prefix(name).count == 0


def test_a_command_is_told_to_end_with_its_lock(started: Started, client: Client, name: str) -> None:
    script = "trap 'echo told; exit 9' TERM; echo held; while :; do sleep 0.1; done"
    holder = started("lock", name, "--", "sh", "-c", script)
    wait_until(lambda: "\nheld\n" in holder.output(), "the command to run")
    os.kill(holder.pid, signal.SIGTERM)
    assert holder.wait(15) == 9
    assert "\ntold\n" in holder.output()
    assert client.get_prefix(name).count == 0


def test_a_lost_lock_stops_its_command(started: Started, client: Client, name: str) -> None:
    holder = started("lock", name, "--ttl", "3", "--", "sh", "-c", "echo held; exec sleep 60")
    wait_until(lambda: "\nheld\n" in holder.output(), "the command to run")
    found = client.get_prefix(name + "/").kvs
    client.leases.revoke(found[0].lease)
    assert holder.wait(15) == 128 + signal.SIGTERM
    assert "the lock is lost" in holder.output()


def test_a_lost_lock_ends_its_holder(started: Started, client: Client, name: str) -> None:
    holder = started("lock", name, "--ttl", "3")
    wait_until(lambda: len(lines(holder)) == 2, "the lock")
    client.leases.revoke(client.get_prefix(name + "/").kvs[0].lease)
    assert holder.wait(15) == 1
    assert "session expired" in holder.output()


def test_elections(started: Started, client: Client, name: str) -> None:
    first = started("elect", name, "one")
    wait_until(lambda: lines(first)[1:] == ["one"], "the first leader")
    second = started("elect", name, "two")
    observer = started("elect", "-l", name)
    wait_until(lambda: lines(observer)[1:] == ["one"], "the observer")
    wait_until(lambda: client.get_prefix(name + "/").count == 2, "a second candidate")
    assert lines(second) == []
    assert interrupt(first) == 0
    wait_until(lambda: lines(second)[1:] == ["two"], "the second leader")
    wait_until(lambda: lines(observer)[1::2] == ["one", "two"], "the observer")
    assert interrupt(observer) == 0
    assert interrupt(second) == 0
    assert client.get_prefix(name).count == 0
