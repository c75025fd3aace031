"""What is sent again and what never is: a scripted server counts, a cutting proxy breaks real connections."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from harness.cluster import Cluster
from harness.ports import free_port
from scripted_server import ScriptedServer, refusal

from kvstore.client import (
    AuthenticationFailed,
    Client,
    ClientError,
    LeaseNotFound,
    MaybeApplied,
    NoLeader,
    NoSpace,
    StoreError,
    TimedOut,
    Unreachable,
    create_revision,
    put,
)
from kvstore.client.errors import certainly_not_applied, from_status
from kvstore.errors import Code, EtcdError, error, names
from kvstore.pb import etcd_pb2 as pb

pytestmark = pytest.mark.usefixtures("library")

OK = pb.PutResponse(header=pb.ResponseHeader(revision=7))
FOUND = pb.RangeResponse(kvs=[pb.KeyValue(key=b"k", value=b"v")], count=1)
OF_UNKNOWN_FATE = [
    "LEADER_CHANGED",
    "STOPPED",
    "TIMEOUT",
    "TIMEOUT_LEADER_FAIL",
    "TIMEOUT_CONNECTION_LOST",
    "TIMEOUT_WAIT_APPLIED",
    "CORRUPT",
    "REQUEST_CANCELED",
    "DEADLINE_EXCEEDED",
]


@pytest.mark.parametrize("name", OF_UNKNOWN_FATE)
def test_a_write_of_unknown_fate_is_sent_once(name: str) -> None:
    with ScriptedServer(Put=[refusal(name), OK]) as server, Client(server.endpoint) as client:
        with pytest.raises(MaybeApplied):
            client.put("k", "v")
        assert server.asked["Put"] == 1


@pytest.mark.parametrize("name", ["NO_LEADER", "TOO_MANY_REQUESTS"])
def test_a_write_refused_for_now_is_sent_again(name: str) -> None:
    with ScriptedServer(Put=[refusal(name), refusal(name), OK]) as server, Client(server.endpoint) as client:
        assert client.put("k", "v").header.revision == 7
        assert server.asked["Put"] == 3


@pytest.mark.parametrize(("name", "kind"), [("NO_SPACE", NoSpace), ("LEASE_NOT_FOUND", LeaseNotFound)])
def test_a_refusal_for_good_is_the_callers(name: str, kind: type[Exception]) -> None:
    with ScriptedServer(Put=[refusal(name)]) as server, Client(server.endpoint) as client:
        with pytest.raises(kind, match="etcdserver"):
            client.put("k", "v")
        assert server.asked["Put"] == 1


@pytest.mark.parametrize("name", ["LEADER_CHANGED", "STOPPED", "TIMEOUT", "NO_LEADER"])
def test_a_read_is_asked_again(name: str) -> None:
    with ScriptedServer(Range=[refusal(name), FOUND]) as server, Client(server.endpoint) as client:
        found = client.get("k")
        assert found is not None
        assert found.value == b"v"
        assert server.asked["Range"] == 2


def test_a_read_ends_with_the_stores_last_word() -> None:
    with ScriptedServer(Range=[refusal("NO_LEADER")]) as server, Client(server.endpoint, timeout=0.5) as client:
        with pytest.raises(NoLeader):
            client.get("k")
        assert server.asked["Range"] > 1


def test_unknown_errors_say_nothing_about_a_write() -> None:
    for code in (Code.UNKNOWN, Code.INTERNAL, Code.ABORTED, Code.RESOURCE_EXHAUSTED, Code.DATA_LOSS, Code.CANCELED):
        with ScriptedServer(Put=[EtcdError(code, "something else"), OK]) as server, Client(server.endpoint) as client:
            with pytest.raises(MaybeApplied, match="something else"):
                client.put("k", "v")
            assert server.asked["Put"] == 1


def test_a_transaction_is_repeated_only_when_that_is_promised_or_it_only_reads() -> None:
    answer = pb.TxnResponse(succeeded=True)
    with ScriptedServer(Txn=[refusal("STOPPED"), answer]) as server, Client(server.endpoint) as client:
        with pytest.raises(MaybeApplied):
            client.txn().then(put("k")).commit()
        assert server.asked["Txn"] == 1
    with ScriptedServer(Txn=[refusal("STOPPED"), answer]) as server, Client(server.endpoint) as client:
        assert client.txn().when(create_revision("k") == 0).then(put("k")).commit(repeatable=True).succeeded
        assert client.txn().commit().succeeded
        assert server.asked["Txn"] == 3


def test_a_slow_write_ends_in_time_as_maybe_applied() -> None:
    released = threading.Event()

    def hang(request: bytes, context: Any) -> pb.PutResponse:
        released.wait(60)
        return OK

    with ScriptedServer(Put=[hang]) as server, Client(server.endpoint, timeout=0.3) as client:
        started = time.monotonic()
        with pytest.raises(MaybeApplied):
            client.put("k", "v")
        released.set()
        assert time.monotonic() - started < 30
        assert server.asked["Put"] == 1


def test_a_read_leaves_a_hanging_member() -> None:
    released = threading.Event()

    def hang(request: bytes, context: Any) -> pb.RangeResponse:
        released.wait(10)
        return FOUND

    with ScriptedServer(Range=[hang]) as slow, ScriptedServer(Range=[FOUND]) as quick:
        with Client([slow.endpoint, quick.endpoint], timeout=4, spread=False) as client:
            assert client.get("k") is not None
        released.set()


def test_a_hanging_read_times_out() -> None:
    released = threading.Event()

    def hang(request: bytes, context: Any) -> pb.RangeResponse:
        released.wait(10)
        return FOUND

    with ScriptedServer(Range=[hang]) as server, Client(server.endpoint, timeout=0.3) as client:
        with pytest.raises(TimedOut):
            client.get("k")
        released.set()


def test_writes_pass_by_members_that_are_down() -> None:
    down = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with ScriptedServer(Put=[OK]) as server, Client([*down, server.endpoint], spread=False) as client:
        for _ in range(5):
            assert client.put("k", "v").header.revision == 7
        assert server.asked["Put"] == 5


def test_nobody_there_is_said_with_the_reason() -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    with Client(endpoint, timeout=0.5) as client:
        with pytest.raises(Unreachable, match="connection refused") as caught:
            client.put("k", "v")
        assert endpoint in caught.value.reasons
        with pytest.raises(Unreachable):
            client.get("k")


def test_dialing_may_have_less_time_than_the_call() -> None:
    with Client(f"127.0.0.1:{free_port()}", timeout=30, dial_timeout=0.3) as client:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            client.put("k", "v")
        assert time.monotonic() - started < 20


def test_a_token_that_was_forgotten_is_fetched_again() -> None:
    tokens = [pb.AuthenticateResponse(token="one"), pb.AuthenticateResponse(token="two")]
    seen: list[str] = []

    def look(request: bytes, context: Any) -> pb.PutResponse:
        seen.append(dict(context.invocation_metadata())["token"])
        return OK

    script: list[Any] = [refusal("INVALID_AUTH_TOKEN"), look]
    with ScriptedServer(Authenticate=list(tokens), Put=script) as server:
        with Client(server.endpoint, user="u", password="p") as client:
            client.put("k", "v")
            client.put("k", "v")
        assert server.asked == {"Authenticate": 2, "Put": 3}
        assert seen == ["two", "two"]


def test_a_wrong_password_is_told() -> None:
    with ScriptedServer(Authenticate=[refusal("AUTH_FAILED")], Put=[OK]) as server:
        with Client(server.endpoint, user="u", password="p") as client, pytest.raises(AuthenticationFailed):
            client.put("k", "v")
        assert server.asked["Put"] == 0


def test_a_store_without_authentication_takes_users() -> None:
    with ScriptedServer(Authenticate=[refusal("AUTH_NOT_ENABLED")], Put=[OK]) as server:
        with Client(server.endpoint, user="u", password="p") as client:
            assert client.put("k", "v").header.revision == 7
            client.put("k", "v")
        assert server.asked["Authenticate"] == 1


def test_every_error_of_the_store_has_a_judgement() -> None:
    for name in names():
        known = error(name)
        raised = from_status(known.code, known.message)
        assert isinstance(raised, StoreError)
        assert isinstance(raised, ClientError)
        assert certainly_not_applied(known.code, known.message) == (name not in OF_UNKNOWN_FATE), name


# ---- real connections ----


def test_a_write_whose_answer_was_cut_off_is_not_repeated(store: Cluster, name: str) -> None:
    with CuttingProxy(store.endpoints[0]) as proxy, Client(proxy.endpoint) as client, Client(store.endpoints) as direct:
        for round_ in range(5):
            # A read, which is repeated until there is a sound connection again.
            client.get(name)
            proxy.arm()
            with pytest.raises(MaybeApplied):
                client.put(f"{name}{round_}", "x")
            assert proxy.cuts == round_ + 1
        found = direct.get_prefix(name).kvs
        assert all(kv.version == 1 for kv in found)
        # The proxy waits for the answer before it cuts, so these were all applied.
        assert len(found) == 5


def test_a_read_whose_answer_was_cut_off_is_repeated(store: Cluster, name: str) -> None:
    with CuttingProxy(store.endpoints[0]) as proxy, Client(proxy.endpoint) as client:
        client.put(name, "x")
        proxy.arm()
        found = client.get(name)
        assert found is not None
        assert found.value == b"x"
        assert proxy.cuts == 1


def test_a_grant_whose_answer_was_cut_off_makes_one_lease(store: Cluster) -> None:
    with CuttingProxy(store.endpoints[0]) as proxy, Client(proxy.endpoint) as client:
        before = {lease.ID for lease in client.leases.list().leases}
        proxy.arm()
        granted = client.leases.grant(60)
        assert proxy.cuts == 1
        assert granted.TTL == 60
        assert {lease.ID for lease in client.leases.list().leases} - before == {granted.ID}
        client.leases.revoke(granted.ID)
