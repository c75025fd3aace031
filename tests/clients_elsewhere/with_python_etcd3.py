"""A program as a user of PyPI's `etcd3` writes one; run by test_other_clients.py in an environment of its own.

Prints "ok NAME" for each thing that went as that client's documentation says.
"""

import sys
import threading

import etcd3

host, port = sys.argv[1].split(":")
client = etcd3.client(host=host, port=int(port))


def kv() -> None:
    client.put("doot", "hello")
    value, meta = client.get("doot")
    assert value == b"hello"
    assert meta.key == b"doot"
    client.put("doot2", "there")
    assert [v for v, _ in client.get_prefix("doot", sort_order="ascend")] == [b"hello", b"there"]
    assert client.replace("doot", "hello", "bye")
    assert not client.replace("doot", "hello", "again")
    assert client.put_if_not_exists("fresh", "1")
    assert not client.put_if_not_exists("fresh", "2")
    assert client.delete("doot2")
    assert client.get("doot2") == (None, None)


def transactions() -> None:
    done, _ = client.transaction(
        compare=[client.transactions.value("doot") == "bye", client.transactions.version("doot") > 0],
        success=[client.transactions.put("doot", "success")],
        failure=[client.transactions.put("doot", "failure")],
    )
    assert done
    assert client.get("doot")[0] == b"success"


def watches() -> None:
    seen: list[bytes] = []
    three = threading.Event()

    def called(response: object) -> None:
        for event in response.events:  # type: ignore[attr-defined]
            seen.append(event.value)
            if len(seen) == 3:
                three.set()

    watch = client.add_watch_prefix_callback("w/", called)
    for number in range(3):
        client.put(f"w/{number}", str(number))
    assert three.wait(10), seen
    assert seen == [b"0", b"1", b"2"]
    client.cancel_watch(watch)


def leases_and_locks() -> None:
    lease = client.lease(10)
    client.put("leased", "x", lease=lease)
    assert next(iter(lease.refresh())).TTL == 10
    assert lease.remaining_ttl <= 10
    lease.revoke()
    assert client.get("leased")[0] is None
    with client.lock("printer", ttl=10) as lock:
        assert lock.is_acquired()
    assert client.lock("printer", ttl=10).acquire(timeout=5)


def members_and_maintenance() -> None:
    members = list(client.members)
    assert len(members) == 1
    assert members[0].client_urls
    status = client.status()
    assert status.leader.id == members[0].id
    client.compact(client.get("doot")[1].mod_revision)
    client.defragment()
    assert client.hash()
    assert not list(client.list_alarms())


for task in (kv, transactions, watches, leases_and_locks, members_and_maintenance):
    task()
    print("ok", task.__name__, flush=True)
client.close()
