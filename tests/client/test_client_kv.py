"""Keys, ranges, transactions, compaction against a running store."""

from __future__ import annotations

import asyncio

import pytest

from kvstore.client import (
    Client,
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
    StoreError,
    connect,
    create_revision,
    delete,
    get,
    lease_of,
    mod_revision,
    put,
    value,
    version,
)


def test_put_get_delete(client: Client, name: str) -> None:
    first = client.put(name + "k", "v")
    found = client.get(name + "k")
    assert found is not None
    assert (found.value, found.version, found.mod_revision) == (b"v", 1, first.header.revision)
    assert client.put(name + "k", b"\xff\0", prev_kv=True).prev_kv.value == b"v"
    assert client.delete(name + "k", prev_kv=True).prev_kvs[0].value == b"\xff\0"
    assert client.get(name + "k") is None
    assert client.delete(name + "k").deleted == 0


def test_reading_the_past(client: Client, name: str) -> None:
    first = client.put(name, "1").header.revision
    client.put(name, "2")
    old = client.get(name, revision=first)
    assert old is not None
    assert old.value == b"1"
    with pytest.raises(FutureRevision):
        client.get(name, revision=first + 1_000_000)


def test_ranges(client: Client, name: str) -> None:
    for key in ("a", "b", "c"):
        client.put(name + key, key.upper())
    keys = [kv.key for kv in client.get_prefix(name, order="descend").kvs]
    assert keys == [f"{name}{key}".encode() for key in "cba"]
    assert [kv.value for kv in client.range(name + "a", name + "c").kvs] == [b"A", b"B"]
    limited = client.get_prefix(name, limit=2, sort_by="create", order="descend", keys_only=True)
    assert [(kv.key, kv.value) for kv in limited.kvs] == [(f"{name}c".encode(), b""), (f"{name}b".encode(), b"")]
    assert (limited.more, limited.count) == (True, 3)
    counted = client.get_prefix(name, count_only=True, serializable=True)
    assert (len(counted.kvs), counted.count) == (0, 3)
    newest = client.get(name + "c")
    assert newest is not None
    assert client.get_prefix(name, min_mod_revision=newest.mod_revision).kvs[0].value == b"C"
    assert client.delete(name, prefix=True).deleted == 3


def test_ignore_value_and_lease(client: Client, name: str) -> None:
    lease = client.leases.grant(60).ID
    with pytest.raises(KeyNotFound):
        client.put(name, ignore_value=True)
    client.put(name, "v", lease=lease)
    client.put(name, ignore_value=True, ignore_lease=True)
    found = client.get(name)
    assert found is not None
    assert (found.value, found.lease, found.version) == (b"v", lease, 2)
    with pytest.raises(LeaseNotFound):
        client.put(name, "v", lease=12345)
    client.leases.revoke(lease)


def test_a_transaction_takes_the_branch_that_its_compares_choose(client: Client, name: str) -> None:
    key = name + "k"
    build = client.txn().when(version(key) == 0).then(put(key, "new")).otherwise(get(key))
    assert build.commit().succeeded
    again = client.txn().when(version(key) == 0).then(put(key, "new")).otherwise(get(key)).commit()
    assert not again.succeeded
    assert again.responses[0].response_range.kvs[0].value == b"new"
    found = client.get(key)
    assert found is not None
    holds = [
        value(key) == "new",
        value(key) != b"old",
        create_revision(key) == found.create_revision,
        mod_revision(key) > found.mod_revision - 1,
        version(key) < 2,
        lease_of(key) == 0,
        version(name, prefix=True) == 1,
    ]
    assert client.txn().when(*holds).commit().succeeded
    for compare in (value(key) == "x", mod_revision(key) < found.mod_revision, version(key) > 1):
        assert not client.txn().when(*holds, compare).commit().succeeded


def test_nested_transactions(client: Client, name: str) -> None:
    inner = client.txn().when(version(name + "none") == 0).then(put(name + "in", "1"), get(name + "out"))
    answer = client.txn().then(put(name + "out", "2"), inner).commit()
    nested = answer.responses[1].response_txn
    assert nested.succeeded
    assert nested.responses[1].response_range.kvs[0].value == b"2"
    removed = client.txn().then(delete(name, prefix=True, prev_kv=True)).commit()
    assert removed.responses[0].response_delete_range.deleted == 2


def test_bad_requests_carry_code_and_message(client: Client) -> None:
    with pytest.raises(StoreError, match="key is not provided") as caught:
        client.put("", "v")
    assert caught.value.code.name == "INVALID_ARGUMENT"


def test_compaction(client: Client, name: str) -> None:
    first = client.put(name, "1").header.revision
    last = client.put(name, "2").header.revision
    client.compact(last, physical=True)
    with pytest.raises(Compacted):
        client.get(name, revision=first)
    with pytest.raises(Compacted):
        client.compact(first)


def test_a_closed_client_says_so(store: object, client: Client) -> None:
    client.get("x")
    client.close()
    with pytest.raises(Exception, match=r"(?i)closed"):
        client.get("x")


def test_many_calls_at_once(client: Client, store: object, name: str) -> None:
    async def run(endpoint: str) -> int:
        async with connect(endpoint) as many:
            await asyncio.gather(*(many.put(f"{name}{i}", str(i)) for i in range(300)))
            return (await many.get_prefix(name, count_only=True)).count

    assert asyncio.run(run(store.endpoints[0])) == 300  # type: ignore[attr-defined]
