"""Stores and runners for the command line's tests: `fluyt` inside this process or as one of its own."""

from __future__ import annotations

import io
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from fluyt_process import Runner, Started
from harness.binaries import Kind, find
from harness.cluster import Cluster
from harness.etcdctl import Outcome
from harness.process import Process
from harness.require import require

from kvstore.cli.main import main
from kvstore.client import Client

STORES = os.environ.get("FLUYT_CLIENT_STORES", "fluyt,etcd-3.5").split(",")


@pytest.fixture(scope="session", params=STORES)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of store in turn."""
    return cast(Kind, request.param)


@pytest.fixture(scope="session")
def store(kind: Kind) -> Iterator[Cluster]:
    """One member that lives as long as its tests."""
    require(kind)
    with Cluster(kind, members=1) as cluster:
        yield cluster


@pytest.fixture
def name() -> str:
    """A prefix that no other test uses."""
    return f"t-{uuid.uuid4().hex}/"


@pytest.fixture
def bare_fluyt(monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs the command line in this process: bare_fluyt("get", "k", stdin="", environment={})."""
    for variable in list(os.environ):
        if variable.startswith(("ETCD", "FLUYT_")) and variable != "FLUYT_TEST_SUBJECT":
            monkeypatch.delenv(variable)

    def run(*arguments: str, stdin: str | bytes = "", environment: Mapping[str, str] | None = None) -> Outcome:
        # Named here, so that they outlive the run: a wrapper that is collected closes what it wraps.
        out, err = (
            io.TextIOWrapper(io.BytesIO(), write_through=True),
            io.TextIOWrapper(io.BytesIO(), write_through=True),
        )
        given = stdin.encode() if isinstance(stdin, str) else stdin
        with monkeypatch.context() as patch:
            for variable, value in (environment or {}).items():
                patch.setenv(variable, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        code = ended.value.code
        assert isinstance(code, int)
        return Outcome(code, _written(out), _written(err))

    return run


def _written(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "surrogateescape")


@pytest.fixture
def fluyt(bare_fluyt: Runner, store: Cluster) -> Runner:
    """The same with --endpoints of the store."""

    def run(*arguments: str, stdin: str | bytes = "", environment: Mapping[str, str] | None = None) -> Outcome:
        endpoints = f"--endpoints={','.join(store.endpoints)}"
        return bare_fluyt(endpoints, *arguments, stdin=stdin, environment=environment)

    return run


@pytest.fixture
def client(store: Cluster) -> Iterator[Client]:
    """Looks at the store behind the command line's back."""
    with Client(store.endpoints) as made:
        yield made


@pytest.fixture
def started(store: Cluster, tmp_path: Path) -> Iterator[Started]:
    """Starts `fluyt` as a process of its own, with its output in a log; ends it with the test."""
    processes: list[Process] = []

    def start(*words: str) -> Process:
        program = find("fluyt")
        assert program is not None
        command = [program, f"--endpoints={store.endpoints[0]}", *words]
        processes.append(Process(command, tmp_path / f"{len(processes)}.log", {"PYTHONUNBUFFERED": "1"}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
