"""`fluyt store`: flags in Go's spelling, ETCD_* variables, the configuration file, and which of them count."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from harness.ports import free_port
from harness.process import Process, clean_environment
from harness.require import require
from harness.wait import wait_until

from kvstore.cli import store as store_module
from kvstore.cli.store_etcd_flags import ABSENT
from kvstore.cli.store_flags import FLAGS
from kvstore.member.config import Config

Start = Callable[..., "Started"]


class Started:
    """What `fluyt store` would have begun with, or said."""

    def __init__(self, code: int, text: str, config: Config | None, lines: list[str]) -> None:
        self.code = code
        self.text = text
        self.config = config
        self.lines = lines


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Start:
    """start(*words, ETCD_X="…"): runs the command, which stops where the member would begin."""
    for name in list(os.environ):
        if name.startswith("ETCD_"):
            monkeypatch.delenv(name)
    seen: list[Config] = []

    async def instead(config: Config, register: Any) -> int:
        config.validate()
        seen.append(config)
        return 0

    monkeypatch.setattr(store_module, "run", instead)
    monkeypatch.setattr(store_module.logging, "basicConfig", lambda **settings: None)

    def run(*words: str, **environment: str) -> Started:
        seen.clear()
        caplog.clear()
        with caplog.at_level("INFO"):
            result = CliRunner().invoke(store_module.store, list(words), env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Started(result.exit_code, result.output, seen[0] if seen else None, caplog.messages)

    return run


def config(started: Started) -> Config:
    assert started.code == 0, started.text
    assert started.config is not None
    return started.config


@pytest.mark.parametrize("words", [["--name", "m1"], ["-name", "m1"], ["-name=m1"], ["--name=m1"]])
def test_one_dash_is_as_good_as_two(start: Start, words: list[str]) -> None:
    found = config(start(*words, "-initial-cluster", "m1=http://localhost:2380"))
    assert found.name == "m1"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], False),
        (["--unsafe-no-fsync"], True),
        (["-unsafe-no-fsync"], True),
        (["--unsafe-no-fsync=true"], True),
        (["-unsafe-no-fsync=false"], False),
        (["--unsafe-no-fsync", "--pre-vote=false"], True),
    ],
)
def test_switches_are_gos(start: Start, words: list[str], expected: bool) -> None:
    assert config(start(*words)).unsafe_no_fsync is expected


def test_a_flag_wins_over_its_variable(start: Start) -> None:
    assert config(start(ETCD_SNAPSHOT_COUNT="7")).snapshot_count == 7
    assert config(start("--snapshot-count", "8", ETCD_SNAPSHOT_COUNT="7")).snapshot_count == 8


def test_a_misspelt_variable_is_an_error_with_the_right_name(start: Start) -> None:
    refused = start(ETCD_DATADIR="/x")
    assert refused.code == 1
    assert refused.text.strip() == "fluyt store: unknown environment variable ETCD_DATADIR; did you mean ETCD_DATA_DIR?"


@pytest.mark.parametrize("name", ["ETCD_SERVICE_HOST", "ETCD_PORT_2379_TCP_ADDR", "ETCD_SOMETHING_ELSE"])
def test_variables_of_the_platform_are_only_reported(start: Start, name: str) -> None:
    started = start(**{name: "1"})
    assert config(started)
    assert f"unknown environment variable {name} is ignored" in started.lines


def test_an_image_that_says_its_version_is_not_asked_for_ours(start: Start) -> None:
    started = start(ETCD_VERSION="3.5.0")
    assert config(started)
    assert "Version:" not in started.text


def test_versions(start: Start) -> None:
    for word in ("--version", "-version"):
        started = start(word)
        assert started.code == 0
        assert started.config is None
        assert started.text.startswith("etcd Version: 3.")
        assert "Fluyt Version: " in started.text


# ---- the file

FILE = """
name: m9
data-dir: there
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
initial-advertise-peer-urls: http://127.0.0.1:3
initial-cluster: m9=http://127.0.0.1:3
snapshot-count: 5
pre-vote: false
quota-backend-bytes: 123456789
auto-compaction-retention: "1h"
experimental-watch-progress-notify-interval: 5s
cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]
cors:
log-outputs: [stderr, stdout]
max-wals: 3
client-transport-security:
  cert-file: c.pem
  key-file: c-key.pem
  client-cert-auth: true
  trusted-ca-file: ca.pem
  auto-tls: false
peer-transport-security:
  cert-file: p.pem
  key-file: p-key.pem
  client-cert-auth: true
  trusted-ca-file: pca.pem
  allowed-cn: peer
"""


def write(folder: Path, text: str) -> str:
    path = folder / "etcd.yml"
    path.write_text(text)
    return str(path)


def test_a_file_says_what_flags_would(start: Start, tmp_path: Path) -> None:
    started = start("--config-file", write(tmp_path, FILE))
    found = config(started)
    assert (found.name, found.data_dir, found.snapshot_count, found.pre_vote) == ("m9", "there", 5, False)
    assert found.listen_client_urls == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    assert found.quota_backend_bytes == 123456789
    assert found.watch_progress_interval == 5.0
    assert (found.client_tls.cert, found.client_tls.ca, found.client_cert_auth) == ("c.pem", "ca.pem", True)
    assert (found.peer_tls.cert, found.peer_tls.ca, found.peer_tls.allowed_cn) == ("p.pem", "pca.pem", "peer")
    assert len(found.client_tls.ciphers) == 2
    assert found.cors == {"*"}, "a key without a value is the default"
    assert found.heartbeat_interval == 100, "what the file does not say is the default"
    assert any(line.startswith("--max-wals is ignored: ") for line in started.lines)


def test_a_file_counts_alone(start: Start, tmp_path: Path) -> None:
    path = write(tmp_path, "snapshot-count: 5\n")
    started = start("-config-file", path, "--max-txn-ops", "9", "--snapshot-count=6", ETCD_HEARTBEAT_INTERVAL="10")
    found = config(started)
    assert (found.snapshot_count, found.max_txn_ops, found.heartbeat_interval) == (5, 128, 100)
    for flag in ("max-txn-ops", "snapshot-count", "heartbeat-interval"):
        assert f"--{flag} is ignored: --config-file alone counts" in started.lines


def test_the_file_may_be_named_by_a_variable(start: Start, tmp_path: Path) -> None:
    assert config(start(ETCD_CONFIG_FILE=write(tmp_path, "snapshot-count: 5\n"))).snapshot_count == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("listen-client-url: http://a:1", "unknown key 'listen-client-url'; did you mean listen-client-urls?"),
        ("snapshot_count: 5", "unknown key 'snapshot_count'; did you mean snapshot-count?"),
        ("config-file: x", "unknown key 'config-file'"),
        ("5: x", "unknown key '5'"),
        (
            "client-transport-security: {certfile: x}",
            "unknown key 'certfile' in client-transport-security; did you mean cert-file?",
        ),
        ("client-transport-security: x", "client-transport-security must hold keys and values"),
        ("heartbeat-interval: soon", "heartbeat-interval: 'soon' is not a valid integer"),
        ("pre-vote: perhaps", "pre-vote: 'perhaps' is not a valid boolean"),
        ("name: {a: b}", "name must be one value, or a list of words"),
        ("name: [", "is not YAML, line 2"),
        ("- a\n- b", "must hold keys and values"),
        ("name: !!python/object/apply:os.system [id]", "is not YAML"),
        ("wal-dir: /x", "--wal-dir=/x is not supported"),
        ("election-timeout: 10", "--election-timeout (10 ms) must be at least 5 times"),
    ],
)
def test_a_wrong_file_is_one_clear_line(start: Start, tmp_path: Path, text: str, line: str) -> None:
    refused = start("--config-file", write(tmp_path, text + "\n"))
    assert refused.code == 1
    assert refused.config is None
    assert line in refused.text
    assert len(refused.text.strip().splitlines()) == 1


def test_files_that_cannot_be_read(start: Start, tmp_path: Path) -> None:
    assert "No such file" in start("--config-file", str(tmp_path / "none")).text
    assert "Is a directory" in start("--config-file", str(tmp_path)).text
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    assert "is not YAML" in start("--config-file", str(binary)).text


def test_an_empty_file_is_all_defaults(start: Start, tmp_path: Path) -> None:
    assert config(start("--config-file", write(tmp_path, ""))).name == "default"


def test_a_member_runs_from_a_file(tmp_path: Path) -> None:
    client, peer = free_port(), free_port()
    text = f"""
data-dir: {tmp_path}/data
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""
    process = Process([require("fluyt"), "store", "--config-file", write(tmp_path, text)], tmp_path / "log")
    try:
        wait_until(lambda: "this member leads" in process.output() or not process.running, "the member to lead")
        assert process.running, process.output()
    finally:
        assert process.stop() == 0


# ---- etcd's flags

EXTRA = {"version", "help", "config-file"}


def etcd_flags() -> dict[str, str]:
    """flag → default, from etcd's own help."""
    import re

    run = subprocess.run(
        [require("etcd-3.5"), "--help"], capture_output=True, text=True, timeout=60, env=clean_environment(), check=True
    )
    found = re.findall(r"^ +--([a-z0-9-]+)(?: (?:'(.*?)'|(\S+)))?$", run.stdout + run.stderr, re.MULTILINE)
    return {name: quoted or bare for name, quoted, bare in found}


def test_every_flag_of_etcd_is_known() -> None:
    ours = {flag for flag, _, _ in FLAGS} | {absent.flag for absent in ABSENT} | EXTRA
    assert not sorted(set(etcd_flags()) - ours)


def test_defaults_are_etcds() -> None:
    theirs = etcd_flags()
    # etcd's own names and folders, URLs that follow from others, and settings that no two programs share.
    different = {"data-dir", "initial-cluster", "advertise-client-urls", "listen-metrics-urls"}
    wrong = {}
    for flag, settings, _ in FLAGS:
        if flag in theirs and flag not in different and str(settings.get("default", "")) != theirs[flag]:
            wrong[flag] = (settings.get("default"), theirs[flag])
    assert not wrong


@pytest.mark.parametrize("absent", ABSENT, ids=[absent.flag for absent in ABSENT])
def test_absent_flags_are_answered(start: Start, absent: Any) -> None:
    if any(flag == absent.flag for flag, _, _ in FLAGS):
        pytest.fail(f"--{absent.flag} is there now: take it out of ABSENT")
    started = start(f"--{absent.flag}=7")
    if absent.refused:
        assert started.code == 1
        assert f"--{absent.flag}=7 is not supported: {absent.why}" in started.text
    else:
        assert config(started)
        assert f"--{absent.flag} is ignored: {absent.why}" in started.lines
    if absent.default:
        assert config(start(f"--{absent.flag}={absent.default}"))


def test_the_list_of_flags_in_the_documentation_is_true() -> None:
    page = Path(__file__, "../../../docs/flags.md").resolve().read_text()
    for absent in ABSENT:
        effect = "refused" if absent.refused else "ignored"
        assert f"| `--{absent.flag}` | {effect} | {absent.why} |" in page
    assert page.count("| refused |") + page.count("| ignored |") == len(ABSENT)


def test_help_names_every_flag_and_hides_the_absent_ones() -> None:
    text = click.Context(store_module.store).get_help()
    assert all(f"--{flag}" in text for flag, _, _ in FLAGS)
    assert "--max-wals" not in text
