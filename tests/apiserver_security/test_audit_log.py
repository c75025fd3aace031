"""The audit log: which events, what stands in them, and the file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.wait import wait_until
from security_fakes import ALICE

from control.apiserver.request import RequestInfo, User
from control.apiserver.security.audit import log_file
from control.apiserver.security.audit.auditor import Auditor, open_auditor
from control.apiserver.security.audit.log_file import AuditFile
from control.apiserver.security.audit.policy import DEFAULT, read_policy
from control.apiserver.security.impersonation import ImpersonatedUser

Object = dict[str, Any]
PODS = RequestInfo("create", "/api/v1/namespaces/ns/pods", "POST", "", "v1", "pods", namespace="ns")
SECRET = RequestInfo("get", "/api/v1/namespaces/ns/secrets/s", "GET", "", "v1", "secrets", namespace="ns", name="s")
STATUS = RequestInfo("patch", "", "PATCH", "", "v1", "pods", "status", "ns", "p")
DEPLOYMENT = RequestInfo("get", "", "GET", "apps", "v1", "deployments", namespace="ns", name="d")
HEALTH, METRICS = RequestInfo("get", "/healthz"), RequestInfo("get", "/metrics")
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [quiet]}
- {level: None, nonResourceURLs: [/healthz*]}
- {level: Request, verbs: [create], resources: [{group: "", resources: [pods]}]}
- {level: Metadata, resources: [{group: "", resources: [pods/status]}], omitStages: [ResponseComplete]}
- {level: RequestResponse, namespaces: [ns]}
"""


class Lines:
    """A sink in memory."""

    def __init__(self) -> None:
        self.events: list[Object] = []

    def write(self, event: Object) -> None:
        self.events.append(json.loads(json.dumps(event)))


@pytest.mark.parametrize(
    ("info", "user", "level"),
    [
        (PODS, ALICE, "Request"),
        (PODS, User("quiet"), "None"),
        (HEALTH, ALICE, "None"),
        (METRICS, ALICE, "None"),
        (STATUS, ALICE, "Metadata"),
        (DEPLOYMENT, ALICE, "RequestResponse"),
        (SECRET, ALICE, "Metadata"),
    ],
)
def test_levels(info: RequestInfo, user: User, level: str) -> None:
    assert read_policy(yaml.safe_load(POLICY)).decide(info, user)[0] == level


def test_secrets_are_shown_only_to_who_asks_for_them_by_name() -> None:
    rule = {"level": "RequestResponse", "resources": [{"group": "", "resources": ["secrets"]}]}
    assert read_policy({"kind": "Policy", "rules": [rule]}).decide(SECRET, ALICE)[0] == "RequestResponse"
    rule["resources"] = [{"group": "", "resources": ["*"]}]
    assert read_policy({"kind": "Policy", "rules": [rule]}).decide(SECRET, ALICE)[0] == "Metadata"


def test_without_a_policy_writes_are_logged_and_noise_is_not() -> None:
    assert DEFAULT.decide(PODS, ALICE) == ("Metadata", frozenset({"RequestReceived"}))
    assert DEFAULT.decide(HEALTH, ALICE)[0] == "None"
    assert DEFAULT.decide(DEPLOYMENT, User("system:node:n", groups=("system:nodes",)))[0] == "None"
    assert DEFAULT.decide(RequestInfo("get", "/apis"), ALICE)[0] == "Metadata"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "not a Policy"),
        ({"kind": "Policy"}, "at least one"),
        ({"kind": "Policy", "rules": [{"level": "All"}]}, r"rules\[0\]\.level"),
        ({"kind": "Policy", "rules": [{"level": "None", "verbs": "get"}]}, r"rules\[0\]\.verbs"),
        ({"kind": "Policy", "rules": [{"level": "None", "omitStages": ["End"]}]}, r"omitStages"),
    ],
)
def test_a_policy_that_does_not_do(document: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_policy(document)


def events(info: RequestInfo, user: User = ALICE, policy: str = POLICY, response: Object | None = None) -> list[Object]:
    lines = Lines()
    auditor = Auditor(read_policy(yaml.safe_load(policy)), lines, lambda: 1_767_323_046.5)
    headers = {"user-agent": "kubectl/1.32", "authorization": "Bearer hunter2", "audit-id": "my-id"}
    entry = auditor.begin(info, user, headers, "10.0.0.9", 1_767_323_045.0)
    assert entry is not None
    body: Object = {"metadata": {"name": "p"}, "spec": {}}
    entry.request_object(body)
    body["spec"]["changed"] = "by admission"
    entry.done(201, response or {"kind": "Pod", "metadata": {"name": "p", "uid": "u"}}, {"a": "b"})
    return lines.events


def test_an_event() -> None:
    [event] = events(PODS)
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Request",
        "auditID": "my-id",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/ns/pods",
        "verb": "create",
        "user": {"username": "alice", "groups": ["system:authenticated"]},
        "sourceIPs": ["10.0.0.9"],
        "userAgent": "kubectl/1.32",
        "objectRef": {"resource": "pods", "namespace": "ns", "name": "p", "uid": "u", "apiVersion": "v1"},
        "requestReceivedTimestamp": "2026-01-02T03:04:05.000000Z",
        "stageTimestamp": "2026-01-02T03:04:06.500000Z",
        "requestObject": {"metadata": {"name": "p"}, "spec": {}},
        "responseStatus": {"metadata": {}, "code": 201},
        "annotations": {"a": "b"},
    }


def test_patches_are_written_down_as_they_came() -> None:
    auditor = Auditor(read_policy({"kind": "Policy", "rules": [{"level": "Request"}]}), lines := Lines())
    bodies: list[Any] = [[{"op": "remove", "path": "/a"}], {"metadata": 7}, "odd", None]
    for body in bodies:
        entry = auditor.begin(PODS, ALICE, {}, "", 0)
        assert entry is not None
        entry.request_object(body)
        entry.done(200, None, {})
    found = [event.get("requestObject") for event in lines.events if event["stage"] == "ResponseComplete"]
    assert found == bodies


def test_refusals_and_impersonation() -> None:
    status = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no"}
    [event] = events(DEPLOYMENT, ImpersonatedUser("bob", by=ALICE), response=status)
    assert event["user"]["username"] == "alice"
    assert event["impersonatedUser"] == {"username": "bob"}
    assert event["responseStatus"] == {"metadata": {}, "code": 201} | {
        k: status[k] for k in ("status", "reason", "message")
    }
    assert event["responseObject"] == status


def test_no_secret_gets_into_the_log() -> None:
    everything = "kind: Policy\nrules: [{level: RequestResponse}]"
    found = events(SECRET, policy=everything, response={"kind": "Secret", "data": {"p": "hunter2"}})
    assert len(found) == 2
    assert "hunter2" not in json.dumps(found)


def test_stages() -> None:
    assert [e["stage"] for e in events(PODS, policy="kind: Policy\nrules: [{level: Metadata}]")] == [
        "RequestReceived",
        "ResponseComplete",
    ]
    assert events(STATUS) == []


# ---- the file ----


def lines_of(path: Path) -> list[Object]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    auditor, file = open_auditor(path, None)
    for number in range(2000):
        entry = auditor.begin(PODS, User(f"u{number}"), {}, "", 0)
        assert entry is not None
        entry.done(200, None, {})
    file.close()
    assert [event["user"]["username"] for event in lines_of(path)] == [f"u{number}" for number in range(2000)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_are_turned_over_and_old_ones_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "_LINES_A_WRITE", 1)
    clock = iter(float(number) for number in range(1, 10_000))
    path = tmp_path / "audit.log"
    file = AuditFile(path, max_bytes=100, max_backups=3, clock=lambda: next(clock))
    for number in range(60):
        file.write({"number": number, "padding": "x" * 50})
    file.close()
    backups = sorted(tmp_path.glob("audit-*.log"))
    assert len(backups) == 3
    kept = [event["number"] for found in (*backups, path) for event in lines_of(found)]
    assert kept == list(range(kept[0], 60))
    assert all(found.stat().st_size <= 100 or len(lines_of(found)) > 1 for found in backups)


def test_files_are_removed_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "_LINES_A_WRITE", 1)
    ancient = tmp_path / "audit-2020-01-01T00-00-00.000000.log"
    ancient.write_text("{}\n")
    os.utime(ancient, (0, 0))
    file = AuditFile(tmp_path / "audit.log", max_bytes=10, max_age=timedelta(days=1))
    for number in range(5):
        file.write({"number": number})
    file.close()
    assert not ancient.exists()
    assert len(list(tmp_path.glob("audit-*.log"))) >= 1


def test_a_slow_disk_drops_events_and_blocks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuditFile(tmp_path / "audit.log")
    gate = threading.Event()
    write = AuditFile._write

    def slow(self: AuditFile, data: bytes) -> None:
        gate.wait()
        write(self, data)

    monkeypatch.setattr(AuditFile, "_write", slow)
    for number in range(12_000):
        file.write({"number": number})
    assert file.dropped >= 1000
    gate.set()
    file.close()
    assert len(lines_of(tmp_path / "audit.log")) == 12_000 - file.dropped


def test_a_disk_that_fails_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuditFile(tmp_path / "audit.log")
    fails = iter([OSError(28, "No space left on device")])
    write = AuditFile._write

    def full(self: AuditFile, data: bytes) -> None:
        problem = next(fails, None)
        if problem:
            raise problem
        write(self, data)

    monkeypatch.setattr(AuditFile, "_write", full)
    file.write({"number": 1})
    wait_until(lambda: file._file.closed, "the failure is noticed")
    file.write({"number": 2})
    file.close()
    assert lines_of(tmp_path / "audit.log") == [{"number": 2}]


def test_standard_output(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from control.apiserver.security.audit.auditor import open_auditor\n"
        "_, file = open_auditor(Path('-'), None)\n"
        "file.write({'number': 1})\n"
        "file.close()\n"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert json.loads(found.stdout) == {"number": 1}
