"""What scripts/bench measures is kept as it comes: a run that is cut short prints what it has and goes on in pieces."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bench import main, sections
from support.bench.kept import keeping, read, together
from support.bench.main import Asked, Output, again, bench
from support.bench.plan import Plan
from support.bench.probes.site import Probe, Site, Values
from support.bench.report import show
from support.bench.results import Results
from support.bench.rows import ROWS, chosen
from support.bench.sections import Section

TITLES = {"fluyt": "Fluyt", "etcd-3.5": "etcd 3.5.1"}
MACHINE = {"processor": "a fast one"}


class FakeCluster:
    """Counts who is there."""

    up: list[str] = []
    ended: list[str] = []

    def __init__(self, kind: str, members: int, **_: Any) -> None:
        self.kind = kind

    def __enter__(self) -> FakeCluster:
        self.up.append(self.kind)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.append(self.kind)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Site], Values]], None]]:
    """Makes this the probe of puts-1, and nothing else is measured; clusters are fakes."""
    before = signal.getsignal(signal.SIGTERM)
    FakeCluster.up, FakeCluster.ended = [], []
    monkeypatch.setattr(main, "available", lambda: TITLES)
    monkeypatch.setattr(main, "find", lambda tool: tool)
    monkeypatch.setattr(sections, "Cluster", FakeCluster)
    monkeypatch.setattr(os, "sync", lambda: None)

    def use(probe: Callable[[Site], Values]) -> None:
        found = (Section("puts", (Probe("puts", ("puts-1",), probe),)),)
        monkeypatch.setattr("support.bench.measure.SECTIONS", found)

    yield use
    signal.signal(signal.SIGTERM, before)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def value(run: int, contender: str, number: float, source: str = "puts-1") -> dict[str, Any]:
    return {"run": run, "contender": contender, "source": source, "value": number}


def piece(rows: str = "puts-1", runs: int = 3, sizes: dict[str, Any] | None = None, **fields: Any) -> Results:
    plan = Plan(tuple(TITLES), chosen([rows]), runs, **(sizes or {}))
    return Results(plan, TITLES, **{"date": "today", "load": 0.5, "machine": MACHINE, **fields})


def kept(path: Path, results: Results, *values: dict[str, Any]) -> Path:
    with keeping(results, path):
        for entry in values:
            results.add(**entry)
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_cut_short_keeps_and_prints_what_it_has(
    number: signal.Signals, measured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def probe(site: Site) -> Values:
        yield "puts-1", 1234.0
        if site.cluster.kind == "etcd-3.5":  # type: ignore[comparison-overlap]
            assert lines(tmp_path / "kept")[1:] == [value(0, "fluyt", 1234.0), value(0, "etcd-3.5", 1234.0)]
            signal.raise_signal(number)

    measured(probe)
    page = tmp_path / "page.md"
    assert bench(Asked(tmp_path / "kept"), Output(page)) == 128 + number
    assert FakeCluster.up == FakeCluster.ended == ["fluyt", "etcd-3.5"]
    printed = capsys.readouterr().out
    assert "INCOMPLETE" in printed
    assert "1,234/s" in printed
    assert "Leases" not in printed
    assert re.search(r"(?s)not measured: cut short before their turn: .*keepalives", printed)
    assert not page.exists()
    (found,) = read(tmp_path / "kept")
    assert not found.complete
    assert [entry["contender"] for entry in found.values] == ["fluyt", "etcd-3.5"]


def test_who_comes_first_alternates_and_a_whole_run_is_complete(
    measured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(lambda site: iter([("puts-1", 1.0)]))
    assert bench(Asked(tmp_path / "deep" / "kept", words=["puts-1"]), Output()) == 0
    assert FakeCluster.up == ["fluyt", "etcd-3.5", "etcd-3.5", "fluyt", "fluyt", "etcd-3.5"]
    assert "INCOMPLETE" not in capsys.readouterr().out
    (found,) = read(tmp_path / "deep" / "kept")
    assert found.complete
    assert found.runs() == (3, 3)


def test_failures_are_kept_with_their_run(measured: Any, tmp_path: Path) -> None:
    def probe(site: Site) -> Values:
        raise RuntimeError("no luck")

    measured(probe)
    bench(Asked(tmp_path / "kept", runs=1, words=["puts-1"]), Output())
    (found,) = read(tmp_path / "kept")
    reason = {"rows": ["puts-1"], "reason": "no luck"}
    assert found.failures == [{"run": 0, "contender": name, **reason} for name in TITLES]


def test_what_cannot_be_kept_is_said_before_it_is_measured(
    measured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(lambda site: iter([("puts-1", 1.0)]))
    (tmp_path / "file").write_text("")
    assert bench(Asked(tmp_path / "file" / "kept"), Output()) == 1
    assert FakeCluster.up == []
    assert "can be kept" in capsys.readouterr().err


def test_pieces_are_read_as_they_were_written_and_runs_of_each_are_its_own(tmp_path: Path) -> None:
    path = kept(tmp_path / "kept", piece(runs=2), value(0, "fluyt", 1), value(1, "fluyt", 2))
    kept(path, piece("gets-1", date="tomorrow", load=2.0), value(0, "fluyt", 0.1 + 0.2, "gets-1"))
    other = kept(tmp_path / "other", piece(runs=1), value(0, "fluyt", 3))
    whole = together([*read(path), *read(other)])
    assert whole.values == [
        value(0, "fluyt", 1),
        value(1, "fluyt", 2),
        value(2, "fluyt", 0.1 + 0.2, "gets-1"),
        value(5, "fluyt", 3),
    ]
    assert whole.plan.rows == chosen(["puts-1", "gets-1"])
    assert (whole.date, whole.load, whole.complete) == ("today and tomorrow", 2.0, True)
    assert whole.runs() == (1, 3)


@pytest.mark.parametrize("cut", ['{"run": 0, "contender": "flu', '{"run": 0', "{"])
def test_the_cut_line_of_a_killed_run_is_passed_over(cut: str, tmp_path: Path) -> None:
    path = kept(tmp_path / "kept", piece(), value(0, "fluyt", 1))
    path.write_text(path.read_text().removesuffix('{"complete": true}\n') + cut)
    (found,) = read(path)
    assert (found.values, found.complete) == ([value(0, "fluyt", 1)], False)
    kept(path, piece(), value(0, "fluyt", 2))
    assert [entry["value"] for one in read(path) for entry in one.values] == [1, 2]
    assert not together(read(path)).complete


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "nothing was kept"),
        ("not JSON\n", "nothing was kept"),
        ("not JSON\nnor this\n", "line 1: not JSON"),
        ('{"value": 1}\n', "line 1: not of a run"),
        ('{"plan": {"contenders": [], "rows": [], "parsecs": 12}}\n', "line 1: not of a run"),
        ("[1]\n", "line 1: not of a run"),
    ],
)
def test_other_files_are_refused(text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").write_text(text)
    assert again([tmp_path / "kept"], tmp_path / "page", Output()) == 1
    assert problem in capsys.readouterr().err


def test_a_run_that_was_killed_at_once_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text('{"plan": {"conten')
    path = kept(tmp_path / "kept", piece(), value(0, "fluyt", 1))
    assert together(read(path)).values == [value(0, "fluyt", 1)]


def test_what_is_not_the_last_line_must_be_whole(tmp_path: Path) -> None:
    path = kept(tmp_path / "kept", piece(), value(0, "fluyt", 1))
    path.write_text(path.read_text().replace('"value": 1}', '"val'))
    with pytest.raises(ValueError, match="line 2: not JSON"):
        read(path)


@pytest.mark.parametrize("other", [piece(sizes={"keys": 20}), piece(machine={"processor": "another"})])
def test_other_sizes_and_machines_do_not_stand_in_one_table(other: Results) -> None:
    with pytest.raises(ValueError, match=r"keys|processor"):
        together([piece(), other])


def everything(runs: int, **fields: Any) -> Results:
    made = Results(Plan(tuple(TITLES), chosen([]), runs), TITLES, **{"machine": MACHINE, **fields})
    for run in range(runs):
        for row in ROWS:
            for name in TITLES:
                if name == "fluyt" or not row.name.startswith("hold-"):
                    made.add(run, name, row.stored, 2.0 + run)
    return made


def test_the_page_is_written_from_pieces_when_nothing_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, path = tmp_path / "benchmarks.md", tmp_path / "kept"
    for runs in (2, 1):
        made = everything(runs)
        kept(path, made.__class__(made.plan, made.titles, machine=MACHINE), *made.values)
        again([path], page, Output())
        told = capsys.readouterr().err
        assert page.exists() == (runs == 1), told
        assert ("stays as it is" in told) == (runs == 2)
    assert "medians of 3 runs" in page.read_text()
    assert (tmp_path / "images" / "bench-throughput.svg").exists()


def test_a_named_page_is_written_in_any_case(tmp_path: Path) -> None:
    path = kept(tmp_path / "kept", piece(runs=1), value(0, "fluyt", 1))
    assert again([path], tmp_path / "benchmarks.md", Output(tmp_path / "named.md")) == 0
    assert "medians of 1 run;" in (tmp_path / "named.md").read_text()
    assert not (tmp_path / "benchmarks.md").exists()


def test_rows_that_lack_are_named() -> None:
    made = everything(3)
    assert made.lacking(3) == []
    made.values = [v for v in made.values if v["source"] != "rss" or v["contender"] == "fluyt"]
    assert made.lacking(3) == ["rss"]
    for run in range(3):
        made.fail(run, "etcd-3.5", ["rss"], "it was not there")
    assert made.lacking(3) == []
    assert len(made.lacking(4)) == len(ROWS)


def test_json_says_whether_it_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = kept(tmp_path / "kept", piece(), value(0, "fluyt", 1))
    assert again([path], tmp_path / "page", Output(as_tables=False)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["complete"], found["values"]) == (True, [value(0, "fluyt", 1)])


def test_rows_of_a_part_that_had_its_turn_stand_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    cut = piece("puts")
    cut.add(0, "fluyt", "puts-1", 10)
    cut.fail(0, "etcd-3.5", ["puts-32"], "it fell over")
    show(cut, Console(width=140))
    printed = capsys.readouterr().out
    assert "puts of one key, 1 in flight" in printed
    assert "puts of one key, 32 in flight" in printed
    assert "puts of one key, 100 in flight" not in printed
    assert "it fell over" in printed
    assert re.search("(?s)before their turn: .*puts-100", printed)
