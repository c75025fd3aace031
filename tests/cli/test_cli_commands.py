"""What a user meets: help, errors with the next step, defaults, signals, commands that run others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fluyt_process import Runner, Started, interrupt, lines
from harness.binaries import find
from harness.cluster import Cluster
from harness.ports import free_port
from harness.process import clean_environment
from harness.wait import wait_until

from kvstore.cli import console
from kvstore.cli.main import COMMANDS
from kvstore.client import Client

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
        (["get", "a", "--command-timeout", "0"], 128, "--command-timeout must be more than 0s"),
        (["watch", "a", "--command-timeout=-1s"], 128, "--command-timeout must be more than 0s"),
        (["get", "a", "--rev", "99999999999999999999"], 1, "99999999999999999999 does not fit into 64 bits"),
        (["lease", "grant", "\u0661\u0662"], 128, "invalid syntax"),
        (["role", "add", "\udcff"], 128, r'"\xff" is not UTF-8'),
        (["user", "add", "\udcff:pw"], 128, r'"\xff" is not UTF-8'),
        (["alarm", "list", "x"], 128, "alarm list command accepts no arguments"),
        (["bench", "put", "--rate", "nan", "--total", "5"], 1, "'nan' is no number"),
        (["get", "a", "--cert", "x"], 128, "--cert is given without --key: give both, or neither"),
        (["get", "a", "--key", "x"], 128, "--key is given without --cert"),
        (["make-mirror", "h:1", "--dest-cert", "x"], 128, "--dest-cert is given without --dest-key"),
        (["get", "a", "--cacert", "/none"], 128, "cannot read /none: No such file"),
        (["watch", "a", "--cert", "/none", "--key", "/none"], 128, "cannot read /none: No such file"),
        (["endpoint", "health", "--cacert", "/none"], 128, "cannot read /none: No such file"),
        (["snapshot", "save", "x", "--cacert", "/none"], 128, "cannot read /none: No such file"),
        (["bench", "put", "--cacert", "/none"], 128, "cannot read /none: No such file"),
        (["lock", "a", "--cacert", __file__], 128, f"{__file__} holds no PEM certificate"),
        (["get", "a", "--cacert", ""], 128, "empty string is passed to --cacert option"),
    ],
)
def test_bad_input_is_one_clear_line(bare_fluyt: Runner, words: list[str], code: int, message: str) -> None:
    refused = bare_fluyt(*words)
    assert refused.code == code
    assert refused.stdout == ""
    assert "Error: " in refused.stderr
    assert message in refused.stderr
    assert "unexpected" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_half_a_pair_of_certificates_in_the_environment_is_refused(bare_fluyt: Runner) -> None:
    refused = bare_fluyt("get", "a", environment={"ETCDCTL_CERT": "x"})
    assert (refused.code, "--cert is given without --key" in refused.stderr) == (128, True)


def test_a_server_without_tls_is_told(fluyt: Runner) -> None:
    refused = fluyt("get", "a", "--insecure-skip-tls-verify")
    assert refused.code == 1
    assert refused.stderr.startswith("Error: cannot fetch the certificate of 127.0.0.1:")


def test_commands_may_be_shortened_and_options_stand_anywhere(fluyt: Runner, store: Cluster, name: str) -> None:
    assert fluyt("put", name, "v", "--write-out=json").stdout.startswith('{"header"')
    assert fluyt("ge", name, "-w", "simple", "--hex=false").stdout == f"{name}\nv\n"
    assert json.loads(fluyt("-w", "fields", "mem", "l", "-w", "json").stdout)["members"]
    assert json.loads(fluyt("-w=fields", "mem", "-w=table", "l", "-w=json").stdout)["members"]


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


@pytest.mark.parametrize(
    ("words", "offered"),
    [("get -w ", ["simple", "fields", "json", "protobuf", "table"]), ("get -w t", ["table"])],
)
def test_completion_of_formats(words: str, offered: list[str]) -> None:
    assert _completed(words) == [f"plain,{each}" for each in offered]


@pytest.mark.parametrize("words", ["snapshot restore x", "snapshot save x", "get --cacert x"])
def test_completion_of_files(words: str) -> None:
    assert _completed(words) == ["file,x"]


def _completed(words: str) -> list[str]:
    program = find("fluyt")
    assert program is not None
    asked = {"COMP_WORDS": f"fluyt {words}", "COMP_CWORD": str(words.count(" ") + 1)}
    done = subprocess.run(
        [program],
        capture_output=True,
        text=True,
        env=clean_environment({**asked, "_FLUYT_COMPLETE": "bash_complete"}),
        check=False,
        timeout=30,
    )
    return done.stdout.split()


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
        words = "--endpoints", cluster.endpoints[0], "--command-timeout", "1s", "get", "a"
        began = time.monotonic()
        assert bare_fluyt(*words).code == 0
        usual = time.monotonic() - began
        cluster.pause(0)
        began = time.monotonic()
        unsure = bare_fluyt(*words)
        # Without the option it would be five seconds.
        assert time.monotonic() - began - usual < 4.8
        assert unsure.code == 1
        assert "Error: " in unsure.stderr
        cluster.resume(0)
