"""`fluyt watch`: printing, running commands, ending."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fluyt_process import Runner, Started, interrupt, lines, run
from harness.binaries import find
from harness.cluster import Cluster
from harness.etcdctl import etcdctl
from harness.process import clean_environment
from harness.wait import wait_until

from kvstore.client import Client


def test_watch_prints_changes_until_interrupted(started: Started, client: Client, name: str) -> None:
    first = client.put(name + "a", "1").header.revision
    watching = started("watch", "--prefix", name, "--rev", str(first), "--prev-kv")
    wait_until(lambda: lines(watching) == ["PUT", f"{name}a", "1"], "the past")
    client.put(name + "a", "2")
    client.delete(name + "a")
    expected = [
        "PUT",
        f"{name}a",
        "1",
        "PUT",
        f"{name}a",
        "1",
        f"{name}a",
        "2",
        "DELETE",
        f"{name}a",
        "2",
        f"{name}a",
        "",
    ]
    wait_until(lambda: lines(watching) == expected, "the changes")
    assert interrupt(watching) == 130
    # An empty line on stderr, so that the shell's prompt does not stand behind ^C.
    assert lines(watching) == [*expected, ""]


def test_watch_runs_a_command_for_each_change(started: Started, client: Client, name: str, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    first = client.put(name, 'say "hi"; $(touch x)').header.revision
    script = 'printf "%s\\n" "$0" "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE" >> "$1"'
    watching = started("watch", name, "--rev", str(first), "--", "sh", "-c", script, "zero", str(out))
    client.delete(name)
    wait_until(lambda: out.exists() and out.read_text().count("\n") == 4, "two commands")
    put, deleted = out.read_text().splitlines()[1::2]
    assert put == f'"PUT" "{name}" "say \\"hi\\"; $(touch x)"'
    assert deleted == f'"DELETE" "{name}" ""'
    assert interrupt(watching) == 130


def test_watch_ends_with_the_command_that_fails(store: Cluster, client: Client, name: str) -> None:
    first = client.put(name, "1").header.revision
    failed = run(store, "watch", name, "--rev", str(first), "--", "sh", "-c", "exit 3")
    assert failed.code == 1
    assert "exit status 3" in failed.stderr
    missing = run(store, "watch", name, "--rev", str(first), "--", "/none")
    assert "cannot run /none" in missing.stderr


def test_watch_of_compacted_history_ends(store: Cluster, client: Client, name: str) -> None:
    client.put(name, "1")
    client.compact(client.put(name, "2").header.revision)
    ended = run(store, "watch", name, "--rev", "1")
    assert ended.code == 5
    assert "watch was canceled (etcdserver: mvcc: required revision has been compacted)" in ended.stderr
    assert "Error: watch is canceled by the server" in ended.stderr


@pytest.mark.parametrize("form", ["json", "fields"])
def test_watch_of_compacted_history_ends_with_what_the_store_said(
    store: Cluster, client: Client, name: str, form: str
) -> None:
    client.put(name, "1")
    client.compact(client.put(name, "2").header.revision)
    words = ["watch", name, "--rev", "1", "-w", form]
    theirs, ours = etcdctl("3.5", *words, endpoints=store.endpoints), run(store, *words)
    assert theirs.stdout
    assert (ours.stdout, ours.code) == (theirs.stdout, theirs.code)


def test_a_watch_without_a_leader_says_so(new_cluster: Callable[..., Cluster], bare_fluyt: Runner) -> None:
    with new_cluster(members=1, start=False) as cluster:
        # The second one never comes: what was a majority is none any more.
        with Client(cluster.endpoints) as client:
            client.cluster.add(["http://[::1]:1"])
            wait_until(lambda: not client.maintenance.status().leader, "no leader")
        ended = bare_fluyt("--endpoints", cluster.endpoints[0], "--command-timeout", "500ms", "watch", "k")
    assert ended.code == 5
    assert "watch was canceled (etcdserver: no leader)\n" in ended.stderr


def test_watch_takes_its_key_from_the_environment(fluyt: Runner) -> None:
    conflict = fluyt("watch", "k", environment={"ETCDCTL_WATCH_KEY": "k"})
    assert (conflict.code, "conflicting environment key" in conflict.stderr) == (128, True)
    lonely = fluyt("watch", environment={"ETCDCTL_WATCH_RANGE_END": "k"})
    assert (lonely.code, "ETCDCTL_WATCH_KEY is empty" in lonely.stderr) == (128, True)


def test_interactive_watches(store: Cluster, client: Client, name: str) -> None:
    first = client.put(name + "a", "1").header.revision
    client.put(name + "b", "2")
    program = find("fluyt")
    assert program is not None
    process = subprocess.Popen(
        [program, f"--endpoints={store.endpoints[0]}", "watch", "-i"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"watch --rev {first} {name}a\nwatch {name} --prefix --rev {first}\nnonsense\n")
        process.stdin.flush()
        seen = sorted(process.stdout.readline().strip() for _ in range(9))
        assert seen == sorted(["PUT", f"{name}a", "1"] * 2 + ["PUT", f"{name}b", "2"])
        process.stdin.write("progress\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("progress notify: ")
        _, err = process.communicate(timeout=15)
        assert process.returncode == 3
        assert "Invalid command nonsense (only support watch)" in err
    finally:
        process.kill()
        process.wait()
