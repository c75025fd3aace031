"""The load and the figures of `fluyt bench` without a store: what errors, old tokens and a stop do to a run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.cli.bench import load as module
from kvstore.cli.bench.cures import with_cure
from kvstore.cli.bench.figures import Measured
from kvstore.cli.bench.lines import Line
from kvstore.cli.bench.load import Client, Extent, Load
from kvstore.cli.bench.requests import Grants, Keys, Puts, Renewals, Swaps
from kvstore.cli.exits import CommandError
from kvstore.cli.progress import Bar
from kvstore.cli.signals import Stop
from kvstore.errors import Code, EtcdError
from kvstore.errors import error as known_error
from kvstore.pb import etcd_pb2 as pb

Status = tuple[int, str]
OK: Status = (0, "")
GONE: Status = (Code.UNAVAILABLE, "connection lost")


class FakeLine:
    """Answers the n-th call with the n-th status, later ones with the last. broken: calls that cannot be opened."""

    def __init__(self, *statuses: Status, broken: int = 0, user: bool = False) -> None:
        self.statuses, self.broken, self.user = statuses, broken, user
        self.calls = self.logins = 0

    def open(self, path: str, listener: Client, timeout: float | None = None) -> Any:
        if self.broken:
            self.broken -= 1
            raise EtcdError(*GONE)
        status = self.statuses[min(self.calls, len(self.statuses) - 1)]
        self.calls += 1

        def answer() -> None:
            if not status[0]:
                listener.message(b"")
            listener.finished(*status)

        half_close = asyncio.get_running_loop().call_soon
        return SimpleNamespace(send=lambda _: None, half_close=lambda: half_close(answer))

    def log_in_again(self) -> bool:
        self.logins += self.user
        return self.user


def loaded(line: FakeLine, extent: Extent, clients: int = 2, during: Callable[[Stop], None] | None = None) -> Measured:
    """A run of puts over that line. during: called with the run's stop, soon after its beginning."""
    measured = Measured()

    async def run() -> None:
        stop = Stop()
        puts = Puts(Keys(b"p/", 4, 10), b"v")
        if during is not None:
            asyncio.get_running_loop().call_later(0.01, during, stop)
        await Load(extent, measured, stop).run("puts", [cast(Line, line)], lambda _: puts, clients)

    asyncio.run(run())
    return measured


def test_calls_are_counted_once_and_clients_go_on_after_errors() -> None:
    line = FakeLine(OK, OK, GONE, (Code.UNAVAILABLE, "no leader"), OK, broken=1)
    measured = loaded(line, Extent(total=20))
    assert measured.errors == Counter({"connection lost": 2, "no leader": 1})
    assert (len(measured.latencies), line.calls) == (17, 19)
    assert measured.seconds >= 0.05


def test_an_error_that_every_call_meets_ends_the_run_at_once() -> None:
    denied = (Code.PERMISSION_DENIED, known_error("PERMISSION_DENIED").message)
    line = FakeLine(denied)
    with pytest.raises(CommandError, match=r"permission denied\. .*readwrite x/ --prefix=true"):
        loaded(line, Extent(total=10_000, prefix="x/"))
    assert line.calls <= 2
    # After an answer it is counted: permissions may change in the middle of a run.
    assert loaded(FakeLine(OK, OK, denied, OK), Extent(total=5)).errors == {denied[1]: 1}


@pytest.mark.parametrize("name", ["INVALID_AUTH_TOKEN", "AUTH_OLD_REVISION"])
def test_an_old_token_is_renewed(name: str) -> None:
    refusal = known_error(name)
    line = FakeLine((refusal.code, refusal.message), OK, user=True)
    measured = loaded(line, Extent(total=5), clients=1)
    assert (line.logins, len(measured.latencies), measured.errors.total()) == (1, 4, 1)
    with pytest.raises(CommandError):
        loaded(FakeLine((refusal.code, refusal.message)), Extent(total=5))


def test_a_stop_wakes_clients_that_wait_for_their_turn() -> None:
    def stop(by: Stop) -> None:
        by._event.set()

    measured = loaded(FakeLine(OK), Extent(seconds=3600, rate=0.01), clients=3, during=stop)
    assert len(measured.latencies) == 1
    assert measured.seconds < 60


def test_the_bar_reaches_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[float, float | None]] = []

    @contextmanager
    def bar(title: str, *, unit: str = "bytes") -> Iterator[Bar]:
        assert (title, unit) == ("puts", "calls")
        yield lambda done, total=None: shown.append((done, total))

    monkeypatch.setattr(module, "bar", bar)
    loaded(FakeLine(GONE, OK), Extent(total=8))
    assert shown[-1] == (8, 8)


def test_quantiles_are_nearest_ranks_and_the_histogram_holds_all() -> None:
    measured = Measured("puts", [n / 1000 for n in range(1, 1001)], Counter({"x": 2}), 2.0, {"conflicts": 7})
    quantiles = measured.quantiles()
    assert (quantiles[0.5], quantiles[0.99], quantiles[0.999]) == (0.5, 0.99, 0.999)
    bins = measured.histogram()
    assert (bins[-1][0], sum(count for _, count in bins)) == (1.0, 1000)
    assert all(99 <= count <= 101 for _, count in bins)
    shown = measured.as_json()
    assert (shown["puts"], shown["per_second"], shown["conflicts"], shown["errors"]) == (1000, 500.0, 7, {"x": 2})
    assert (shown["latency_ms"]["p99.9"], shown["latency_ms"]["slowest"]) == (999.0, 1000.0)
    assert "conflicts: 7" in measured.as_lines()
    titles, rows = measured.as_rows()
    assert dict(zip(titles, rows[0], strict=True))["p99 ms"] == "990.000"


def test_figures_of_one_and_of_nothing() -> None:
    assert Measured(latencies=[0.002], seconds=1).histogram()[0] == (0.002, 1)
    nothing = Measured(errors=Counter({"gone": 3}), seconds=1)
    assert "latency_ms" not in nothing.as_json()
    assert nothing.as_lines()[-1].split() == ["3", "gone"]
    assert nothing.as_rows()[0] == ["requests", "seconds", "per second", "errors"]


def test_a_swap_writes_what_it_saw_last_and_looks_after_a_conflict() -> None:
    swap = Swaps(b"k", b"v")
    won = pb.TxnResponse(succeeded=True, header=pb.ResponseHeader(revision=8))
    assert swap.answered(won.SerializeToString()) == ""
    assert pb.TxnRequest.FromString(swap.request()[1]).compare[0].mod_revision == 8
    found = pb.RangeResponse(kvs=[pb.KeyValue(mod_revision=11)])
    lost = pb.TxnResponse(responses=[pb.ResponseOp(response_range=found)])
    assert swap.answered(lost.SerializeToString()) == ""
    assert (swap.conflicts, pb.TxnRequest.FromString(swap.request()[1]).compare[0].mod_revision) == (1, 11)


def test_leases_are_remembered_and_a_lost_one_is_an_error() -> None:
    granted: list[int] = []
    Grants(9, granted).answered(pb.LeaseGrantResponse(ID=5).SerializeToString())
    renewals = Renewals(granted, first=3, step=4)
    assert pb.LeaseKeepAliveRequest.FromString(renewals.request()[1]).ID == 5
    assert renewals.answered(pb.LeaseKeepAliveResponse(ID=5, TTL=9).SerializeToString()) == ""
    assert renewals.answered(pb.LeaseKeepAliveResponse(ID=5).SerializeToString()) == "lease not found"


def test_errors_without_a_known_cure_stand_as_they_are() -> None:
    assert with_cure("something else", "p/") == "something else"
    assert "--max-request-bytes" in with_cure(known_error("REQUEST_TOO_LARGE").message, "p/")
