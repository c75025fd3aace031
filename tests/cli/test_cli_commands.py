"""What a user meets: help, errors with the next step, defaults, signals, commands that run others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Runner
from harness.binaries import find
from harness.cluster import Cluster
from harness.etcdctl import Outcome
from harness.ports import free_port
from harness.process import Process, clean_environment
from harness.wait import wait_until

from kvstore.cli import console
from kvstore.cli.main import COMMANDS
from kvstore.client import Client

Started = Callable[..., Process]


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


def run(store: Cluster, *words: str, stdin: str = "") -> Outcome:
    """`fluyt` as a process of its own, to its end."""
    program = find("fluyt")
    assert program is not None
    done = subprocess.run(
        [program, f"--endpoints={store.endpoints[0]}", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def lines(process: Process) -> list[str]:
    """What the process has written so far, without the harness's first line."""
    return process.output().splitlines()[1:]


def interrupt(process: Process) -> int:
    """Ctrl-C; the exit code."""
    os.kill(process.pid, signal.SIGINT)
    return process.wait(15)


# ---- help and errors ----


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "store"])
def test_every_command_teaches(bare_fluyt: Runner, command: str) -> None:
    shown = bare_fluyt(command, "--help")
    assert (shown.code, shown.stderr) == (0, "")
    assert "Usage: fluyt" in shown.stdout
    assert "Commands:" in shown.stdout or "Options:" in shown.stdout


def test_the_root_shows_every_command_and_global_option(bare_fluyt: Runner) -> None:
    shown = bare_fluyt("--help").stdout
    assert all(re.search(rf"^  {name} ", shown, re.MULTILINE) for name in COMMANDS)
    assert "--endpoints" in shown
    assert "12379" in shown


def test_no_store_is_told_with_the_next_step(bare_fluyt: Runner) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    for words in (["get", "a"], ["put", "a", "b"], ["member", "list"], ["lock", "a"], ["snapshot", "save", "x"]):
        refused = bare_fluyt("--endpoints", endpoint, "--dial-timeout=200ms", *words)
        assert refused.code in (1, 5)
        assert f"cannot reach {endpoint}: connection refused" in refused.stderr
        assert "fluyt store" in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["get", "--bogus", "a"], 1, "unknown flag: --bogus"),
        (["bogus"], 1, 'unknown command "bogus" for "fluyt"'),
        (["l", "x"], 1, 'unknown command "l" for "fluyt"'),
        (["lease", "bogus"], 1, 'unknown command "bogus" for "fluyt lease"'),
        (["get", "a", "--limit", "x"], 1, "'x' is not a valid integer"),
        (["get", "a", "--command-timeout", "5"], 1, "invalid duration '5'"),
        (["get", "a", "--endpoints", "ftp://h:1"], 128, "unknown scheme 'ftp'"),
        (["get", "a", "--endpoints", ","], 128, "no endpoint given"),
        (["get", "a", "--cacert", "/none"], 1, "cannot read /none: No such file"),
        (["get", "a", "--cacert", ""], 128, "empty string is passed to --cacert option"),
    ],
)
def test_bad_input_is_one_clear_line(bare_fluyt: Runner, words: list[str], code: int, message: str) -> None:
    refused = bare_fluyt(*words)
    assert refused.code == code
    assert refused.stdout == ""
    assert "Error: " in refused.stderr
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_commands_may_be_shortened_and_options_stand_anywhere(fluyt: Runner, store: Cluster, name: str) -> None:
    assert fluyt("put", name, "v", "--write-out=json").stdout.startswith('{"header"')
    assert fluyt("ge", name, "-w", "simple", "--hex=false").stdout == f"{name}\nv\n"
    assert json.loads(fluyt("-w", "fields", "mem", "l", "-w", "json").stdout)["members"]


def test_the_environment_is_heard_and_the_command_line_wins(bare_fluyt: Runner, store: Cluster, name: str) -> None:
    nowhere, somewhere = f"127.0.0.1:{free_port()}", store.endpoints[0]
    assert bare_fluyt("put", name, "v", environment={"ETCDCTL_ENDPOINTS": somewhere}).code == 0
    both = {"ETCDCTL_ENDPOINTS": nowhere, "FLUYT_ENDPOINTS": somewhere, "ETCDCTL_WRITE_OUT": "json"}
    assert bare_fluyt("get", name, environment=both).stdout.startswith("{")
    assert bare_fluyt("get", name, "-w", "simple", environment=both).stdout == f"{name}\nv\n"
    wrong = {"FLUYT_ENDPOINTS": nowhere}
    assert bare_fluyt("get", name, "--endpoints", somewhere, environment=wrong).stdout == f"{name}\nv\n"


def test_the_default_is_the_first_port_that_listens(
    bare_fluyt: Runner, store: Cluster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setattr(console, "DEFAULT_ENDPOINTS", (nowhere, store.endpoints[0]))
    assert bare_fluyt("put", name, "v").stdout == "OK\n"
    monkeypatch.setattr(console, "DEFAULT_ENDPOINTS", (nowhere, f"127.0.0.1:{free_port()}"))
    refused = bare_fluyt("get", name, "--dial-timeout", "100ms")
    assert refused.stderr.count("connection refused") == 2


def test_version_starts_fast_and_without_grpc() -> None:
    script = "import sys; from kvstore.cli.main import main\ntry: main(['version'])\nexcept SystemExit: pass\n"
    script += "print(*(m for m in ('grpc', 'uvloop', 'lmdb', 'google.protobuf', 'rich') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[2:] == [""]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(bare_fluyt: Runner, shell: str) -> None:
    assert "_FLUYT_COMPLETE" in bare_fluyt("completion", shell).stdout
    program = find("fluyt")
    assert program is not None
    words = {"COMP_WORDS": "fluyt le", "COMP_CWORD": "1", "_FLUYT_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [program], capture_output=True, text=True, env=clean_environment(words), check=False, timeout=30
    )
    assert done.stdout.split() == ["plain,lease"]


# ---- watch ----


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


# ---- locks and elections ----


def test_lock_is_held_until_interrupted(started: Started, client: Client, name: str) -> None:
    holder = started("lock", name)
    wait_until(lambda: len(lines(holder)) == 2, "the lock")
    key = lines(holder)[0].encode()
    assert client.get(key) is not None
    waiter = started("lock", name, "-w", "json")
    wait_until(lambda: client.get_prefix(name + "/").count == 2, "a second in line")
    assert lines(waiter) == []
    assert interrupt(holder) == 0
    wait_until(lambda: len(lines(waiter)) == 1, "the second to get the lock")
    assert json.loads(lines(waiter)[0])["count"] == 1
    assert interrupt(waiter) == 0
    assert client.get_prefix(name).count == 0


def test_a_waiter_that_is_interrupted_leaves_the_line(started: Started, client: Client, name: str) -> None:
    with client.lock(name, ttl=10):
        waiter = started("lock", name)
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


def test_a_lost_lock_stops_its_command(started: Started, client: Client, name: str) -> None:
    holder = started("lock", name, "--ttl", "3", "--", "sleep", "60")
    found = wait_until(lambda: client.get_prefix(name + "/").kvs, "the lock")
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


# ---- the rest ----


def test_snapshot_save_is_whole_or_not_there(fluyt: Runner, store: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "backup.db"
    saved = fluyt("snapshot", "save", str(path))
    assert (saved.code, saved.stdout) == (0, f"Snapshot saved at {path}\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size > 32
    nowhere = fluyt("snapshot", "save", str(tmp_path / "no" / "where.db"))
    assert (nowhere.code, "No such file or directory" in nowhere.stderr) == (5, True)
    several = fluyt("snapshot", "save", str(path), "--endpoints", f"{store.endpoints[0]},127.0.0.1:1")
    assert (several.code, "one selected node" in several.stderr) == (5, True)
    assert [each.name for each in tmp_path.iterdir()] == ["backup.db"]


def test_check_perf(fluyt: Runner, client: Client, name: str) -> None:
    checked = fluyt("check", "perf", "--duration", "1", "--prefix", name)
    report = checked.stdout.splitlines()
    assert re.fullmatch(r"(PASS: Throughput is|FAIL: Throughput too low:) \d+ writes/s", report[0])
    assert report[-1] == ("PASS" if checked.code == 0 else "FAIL")
    assert client.get_prefix(name).count == 0
    client.put(name + "left", "x")
    refused = fluyt("check", "perf", "--prefix", name)
    assert (refused.code, "has keys" in refused.stderr) == (3, True)


def test_make_mirror_copies_and_follows(started: Started, store: Cluster, client: Client, name: str) -> None:
    for i in range(300):
        client.put(f"{name}from/{i:03}", str(i))
    mirror = started("make-mirror", "--prefix", f"{name}from/", "--dest-prefix", f"{name}to/", store.endpoints[0])
    wait_until(lambda: client.get_prefix(f"{name}to/", count_only=True).count == 300, "the copy")
    client.put(f"{name}from/new", "n")
    client.delete(f"{name}from/00", prefix=True)
    wait_until(lambda: client.get_prefix(f"{name}to/", count_only=True).count == 291, "the changes")
    copied = [(kv.key.replace(b"to/", b"from/"), kv.value) for kv in client.get_prefix(f"{name}to/").kvs]
    assert copied == [(kv.key, kv.value) for kv in client.get_prefix(f"{name}from/").kvs]
    assert interrupt(mirror) == 130


def test_lease_keep_alive_renews_until_the_lease_is_gone(started: Started, client: Client) -> None:
    lease = client.leases.grant(3).ID
    renewing = started("lease", "keep-alive", f"{lease:x}")
    wait_until(lambda: lines(renewing)[:2] == [f"lease {lease:016x} keepalived with TTL(3)"] * 2, "two renewals")
    client.leases.revoke(lease)
    assert renewing.wait(15) == 0
    assert lines(renewing)[-1] == f"lease {lease:016x} expired or revoked."


def test_several_endpoints(fluyt: Runner, bare_fluyt: Runner, store: Cluster, name: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    both = f"{nowhere},{store.endpoints[0]}"
    assert bare_fluyt("--endpoints", both, "put", name, "v").stdout == "OK\n"
    health = bare_fluyt("--endpoints", both, "--command-timeout", "1s", "endpoint", "health")
    assert health.code == 1
    assert f"{store.endpoints[0]} is healthy" in health.stdout
    assert f"{nowhere} is unhealthy" in health.stderr
    status = bare_fluyt("--endpoints", both, "--command-timeout", "1s", "endpoint", "status")
    assert (status.code, len(status.stdout.splitlines())) == (1, 1)
    assert f"Failed to get the status of endpoint {nowhere}" in status.stderr


def test_output_that_nobody_reads_is_no_drama(store: Cluster, client: Client, name: str) -> None:
    for i in range(50):
        client.put(f"{name}{i}", "x" * 10_000)
    program = find("fluyt")
    process = subprocess.Popen(
        [str(program), f"--endpoints={store.endpoints[0]}", "get", "--prefix", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    _, err = process.communicate(timeout=15)
    assert err == b""


def test_a_hung_store_is_told_in_time(new_cluster: Callable[..., Cluster], bare_fluyt: Runner) -> None:
    with new_cluster(members=1, start=False) as cluster:
        cluster.pause(0)
        started_at = time.monotonic()
        unsure = bare_fluyt("--endpoints", cluster.endpoints[0], "--command-timeout", "1s", "get", "a")
        assert (unsure.code, time.monotonic() - started_at < 5) == (1, True)
        assert "Error: " in unsure.stderr
        cluster.resume(0)
