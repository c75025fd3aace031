"""docs/compatibility.md: every RPC, flag, etcdctl command and HTTP path of etcd's, asked of etcd 3.5 and of ours.

The page is made here and compared with the committed one; FLUYT_REWRITE=1 writes it. So a row that is no longer true,
or something of etcd's that nobody has thought of, fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import grpc
import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.etcdctl import etcdctl
from harness.require import require
from surface import COMMAND_NOTES, COMMANDS, PATH_NOTES, PATHS, REFUSED, RPC_NOTES, RPCS

from kvstore.cli.main import cli
from kvstore.cli.store_etcd_flags import ABSENT
from kvstore.cli.store_flags import FLAGS
from kvstore.pb import etcd_pb2 as pb

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
WORKS = "works"


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Cluster, Cluster]]:
    """etcd and ours, one member each."""
    require("etcd-3.5")
    require(subject())
    with Cluster("etcd-3.5", 1) as oracle, Cluster(subject(), 1) as ours:
        yield oracle, ours


def served(cluster: Cluster, path: str) -> bool:
    """Whether the RPC is there, whatever it says to an empty request."""
    with grpc.insecure_channel(cluster.endpoints[0]) as channel:
        try:
            call = channel.unary_stream(path)(b"", timeout=3)
            next(iter(call), None)
        except grpc.RpcError as failure:
            return failure.code() != grpc.StatusCode.UNIMPLEMENTED
    return True


def rpc_rows(sides: tuple[Cluster, Cluster]) -> Iterator[tuple[str, str, str]]:
    for path in RPCS:
        if path.endswith(("Snapshot", "Watch/Watch", "Health/Watch", "Observe")):
            etcd, here = True, True  # they wait for more; shown by the differential tests
        else:
            etcd, here = (served(side, path) for side in sides)
        note = RPC_NOTES.get(path, "")
        assert here or note, f"{path} is not served here, and nobody says why"
        assert etcd or note, f"{path} is not etcd's"
        yield f"`{path}`", ("differs" if note else WORKS) if here else "not", note


def flag_rows() -> Iterator[tuple[str, str, str]]:
    text = subprocess.run([require("etcd-3.5"), "--help"], capture_output=True, text=True, check=False)
    etcds = sorted(set(re.findall(r"^\s+--([a-z0-9-]+)", text.stdout + text.stderr, re.M)))
    assert len(etcds) > 80
    absent = {flag.flag: flag for flag in ABSENT}
    here = {name for name, *_ in FLAGS}
    for name in etcds:
        if name in absent:
            yield f"`--{name}`", "refused" if absent[name].refused else "ignored", absent[name].why
        else:
            assert name in here, f"etcd has --{name}; we neither take it nor say why"
            yield f"`--{name}`", WORKS, ""


def etcdctl_commands() -> list[str]:
    """All that etcdctl 3.5 lists."""
    outcome = subprocess.run([require("etcdctl-3.5"), "--help"], capture_output=True, text=True, check=False)
    block = outcome.stdout.partition("COMMANDS:")[2].partition("OPTIONS:")[0]
    return [line.strip().split("\t")[0] for line in block.splitlines() if line.strip() and "help" not in line[:6]]


def command_rows(sides: tuple[Cluster, Cluster], folder: Path) -> Iterator[tuple[str, str, str]]:
    listed = etcdctl_commands()
    assert set(listed) - {"completion"} == set(COMMANDS) - {"completion"}, "etcdctl's commands and ours in surface.py"
    outcomes = [run_all(side, folder / side.kind) for side in sides]
    for command in COMMANDS:
        expected, got = (outcome[command] for outcome in outcomes)
        assert got == expected, f"etcdctl {command}: {expected} from etcd, {got} from us"
        note = COMMAND_NOTES.get(command, "")
        here = has_command(command)
        assert here or note, f"fluyt has no {command}, and nobody says why"
        yield f"`{command}`", ("differs" if note else WORKS) if here else "not", note


def run_all(side: Cluster, folder: Path) -> dict[str, bool]:
    """Every command against one side; whether each did what it should (its refusal, where both refuse)."""
    folder.mkdir()
    said: dict[str, bool] = {}
    known = {"folder": str(folder), "member": f"{side.status(0).header.member_id:x}", "revision": "1"}  # type: ignore[union-attr]
    for command, text in COMMANDS.items():
        if command in ("watch", "elect", "make-mirror", "lease keep-alive"):
            said[command] = True  # they do not end; shown in tests/compat/test_etcdctl.py and tests/cli
            continue
        words = [*command.split(), *(word.format(**known) for word in text.split())]
        stdin = "\n\n\n" if command == "txn" else "secret\n" if command == "user passwd" else ""
        outcome = etcdctl("3.5", *words, endpoints=side.endpoints, stdin=stdin)
        learn(command, outcome.stdout, known)
        refusal = REFUSED.get(command)
        said[command] = refusal in outcome.stderr if refusal else outcome.code == 0
    return said


def learn(command: str, output: str, known: dict[str, str]) -> None:
    """Ids that later commands need."""
    if command == "lease grant":
        known["lease"] = output.split()[1]
    if command == "member add":
        known["learner"] = output.split()[1]


def has_command(command: str) -> bool:
    """Whether fluyt knows it."""
    found: click.Command | None = cli
    for word in command.split():
        found = found.get_command(click.Context(cli), word) if isinstance(found, click.Group) else None
    return found is not None


def path_rows(sides: tuple[Cluster, Cluster]) -> Iterator[tuple[str, str, str]]:
    for path, body in PATHS.items():
        etcd, here = (ask(side, path, body) for side in sides)
        note = PATH_NOTES.get(path, "")
        assert note or etcd == here, f"{path}: etcd answers {etcd}, we {here}"
        yield f"`{path}`", "not" if here == 404 else "differs" if note else WORKS, note


def ask(side: Cluster, path: str, body: str) -> int:
    """The status of an answer."""
    request = urllib.request.Request(f"http://{side.endpoints[0]}{path}", body.encode() or None)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as problem:
        return problem.code


def table(title: str, what: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = [f"## {title}", "", f"| {what} | | |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {state} | {note} |" for name, state, note in rows)])


HEAD = """# What of etcd works here

Made by `tests/compat/test_compatibility_table.py`, which asks etcd 3.5.1, its etcdctl and this store for each line; do
not edit (`FLUYT_REWRITE=1` writes it anew). That *the same* comes back is shown by the differential tests beside it.
**works**: as in etcd. **differs**: here, but see the note. **ignored**, **refused**: the flag is taken, and nothing
a client sees depends on it; or any value but etcd's default is an error. **not**: not here."""


def test_the_page_is_true(sides: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    commands = list(command_rows(sides, tmp_path))  # first: they clear up after themselves, the paths do not
    parts = [
        HEAD,
        table("RPCs", "RPC", rpc_rows(sides)),
        table("HTTP paths on the client port", "path", path_rows(sides)),
        table("Commands: etcdctl's against this store, and `fluyt`'s own", "command", commands),
        table("Flags of `etcd`, as `fluyt store` takes them", "flag", flag_rows()),
    ]
    page = "\n\n".join(parts) + "\n"
    if os.environ.get("FLUYT_REWRITE"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page, "run this test with FLUYT_REWRITE=1 and read what changed"


def test_notes_name_what_there_is() -> None:
    assert set(RPC_NOTES) <= set(RPCS)
    assert set(COMMAND_NOTES) <= set(COMMANDS)
    assert set(REFUSED) <= set(COMMANDS)
    assert set(PATH_NOTES) <= set(PATHS)
    assert pb.DESCRIPTOR.package == "fluyt.etcd", "a program can have another etcd client beside ours"
