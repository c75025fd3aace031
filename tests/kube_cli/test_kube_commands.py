"""`fluyt kube` and `fluyt why` against a whole cluster."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

from harness.process import clean_environment
from harness.wait import wait_until
from kube_runs import Kube

from control.testing.kube import KubeApi

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeName: n1
      containers:
      - name: c
        image: host
        command: [sh, -c, "echo hello; exec sleep 1000"]
"""


def test_config_maps_by_every_verb(fluyt: Kube, space: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("from a file\n")
    made = fluyt("kube", "create", "configmap", "a", "--from-literal=x=y", f"--from-file={tmp_path / 'file.txt'}")
    assert made.stdout == "configmap/a created\n"
    assert "already exists" in fluyt("kube", "create", "cm", "a", code=1).stderr
    table = fluyt("kube", "get", "cm", "a").stdout.splitlines()
    assert table[0].split() == ["NAME", "DATA", "AGE"]
    assert table[1].split()[:2] == ["a", "2"]
    shown = json.loads(fluyt("kube", "get", "configmap/a", "-o", "json").stdout)
    assert shown["data"] == {"x": "y", "file.txt": "from a file\n"}
    assert "managedFields" not in shown["metadata"]
    assert "  file.txt: |\n    from a file\n" in fluyt("kube", "get", "cm/a", "-o", "yaml").stdout
    assert fluyt("kube", "get", "cm", "a", "-o", "name").stdout == "configmap/a\n"
    assert fluyt("kube", "get", "cm", "a", "-o", "jsonpath={.data.x}").stdout == "y"
    assert fluyt("kube", "label", "cm/a", "tier=front").stdout == "configmap/a labeled\n"
    assert fluyt("kube", "label", "cm/a", "tier=front").stdout == "configmap/a not labeled\n"
    assert "already has a value (front)" in fluyt("kube", "label", "cm/a", "tier=back", code=1).stderr
    fluyt("kube", "label", "cm/a", "tier=back", "--overwrite")
    fluyt("kube", "annotate", "cm/a", "note=read me")
    assert "tier=back" in fluyt("kube", "get", "cm", "-l", "tier=back", "--show-labels").stdout
    assert fluyt("kube", "get", "cm", "-l", "tier=front").stdout == ""
    described = fluyt("kube", "describe", "cm", "a").stdout
    assert "Labels:             tier=back\n" in described
    assert "Annotations:        note=read me\n" in described
    everywhere = fluyt("kube", "get", "cm", "-A", "--no-headers").stdout.splitlines()
    assert [space, "a"] in [line.split()[:2] for line in everywhere]
    fluyt("kube", "label", "cm/a", "tier-")
    assert fluyt("kube", "delete", "cm", "a").stdout == 'configmap "a" deleted\n'
    assert fluyt("kube", "delete", "cm", "a", "--ignore-not-found").stdout == ""
    assert "(NotFound)" in fluyt("kube", "get", "cm", "a", code=1).stderr


def test_apply_says_what_it_did(fluyt: Kube, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(WEB.replace("replicas: 1", "replicas: 0"))
    assert fluyt("kube", "apply", "-f", str(path), "--dry-run=server").stdout == (
        "deployment.apps/web created (server dry run)\n"
    )
    assert fluyt("kube", "apply", "-f", str(path)).stdout == "deployment.apps/web created\n"
    again = fluyt("kube", "apply", "-f", "-", stdin=path.read_text())
    assert again.stdout == "deployment.apps/web unchanged\n"
    fluyt("kube", "scale", "deployment/web", "--replicas=0", "--current-replicas=0")
    assert (
        "Expected replicas to be 7, was 0"
        in fluyt("kube", "scale", "deployment/web", "--replicas=1", "--current-replicas=7", code=1).stderr
    )
    changed = path.read_text().replace("echo hello", "echo bye")
    assert fluyt("kube", "apply", "-f", "-", stdin=changed).stdout == "deployment.apps/web configured\n"
    wrong = changed.replace("replicas: 0", "replcas: 0")
    assert 'unknown field "spec.replcas"' in fluyt("kube", "apply", "-f", "-", stdin=wrong, code=1).stderr
    elsewhere = changed.replace("{name: web}", "{name: web, namespace: other}", 1)
    assert "does not match the namespace" in fluyt("kube", "apply", "-f", "-", stdin=elsewhere, code=1).stderr


def test_a_deployment_from_birth_to_death(fluyt: Kube, kube_cluster: KubeApi, space: str) -> None:
    fluyt("kube", "apply", "-f", "-", stdin=WEB)
    assert "successfully rolled out" in fluyt("kube", "rollout", "status", "deployment/web", "--timeout=40s").stdout
    (pod,) = fluyt("kube", "get", "pods", "-l", "app=web", "-o", "name").stdout.split()
    assert fluyt("kube", "wait", "--for=condition=Ready", pod).stdout == f"{pod} condition met\n"
    assert fluyt("kube", "logs", "deployment/web").stdout == "hello\n"
    assert fluyt("kube", "logs", "-l", "app=web", "--prefix", "--tail=1").stdout == f"[{pod}/c] hello\n"
    ran = fluyt("kube", "exec", "deployment/web", "--", "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert ran.stdout == "out\n"
    assert ran.stderr == "err\ncommand terminated with exit code 3\n"
    assert fluyt("kube", "exec", "-i", pod, "--", "cat", stdin="line\n" * 5000, process=True).stdout == "line\n" * 5000
    everything = fluyt("kube", "get", "all").stdout
    assert "deployment.apps/web" in everything
    assert pod in everything
    assert "Started" in fluyt("kube", "describe", pod).stdout

    told = fluyt("why", pod).stdout
    assert "created: scale up" in told
    assert "because deployments.apps web" in told
    assert "container c started" in told
    story = json.loads(fluyt("why", pod, "-w", "json").stdout)
    made = next(step for step in story["steps"] if step["verb"] == "create")
    assert made["because"]["because"]["object"] == f"deployments.apps/{space}/web"
    assert made["because"]["because"]["user"] == "kubernetes-admin"
    assert "not found" in fluyt("why", "pod/none", code=1).stderr

    assert fluyt("kube", "scale", "deployment/web", "--replicas=2").stdout == "deployment.apps/web scaled\n"
    fluyt("kube", "wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=40s")
    fluyt("kube", "rollout", "restart", "deployment/web")
    fluyt("kube", "rollout", "status", "deployment/web", "--timeout=40s")
    fluyt("kube", "delete", "deployment/web", "--cascade=foreground", "--timeout=40s")
    fluyt("kube", "wait", "--for=delete", "pods", "-l", "app=web", "--timeout=40s")


def test_a_terminal(kube_cluster: KubeApi) -> None:
    words = ["kube", "exec", "-it", "stays", "--kubeconfig", str(kube_cluster.kubeconfig)]
    wait = ["kube", "wait", "--for=condition=Ready", "pod/stays", "--kubeconfig", str(kube_cluster.kubeconfig)]
    fluyt = str(Path(sys.prefix, "bin", "fluyt"))
    subprocess.run([fluyt, *wait], check=True, capture_output=True, timeout=60, env=clean_environment())
    child, terminal = pty.fork()
    if child == 0:
        os.execve(
            fluyt, [fluyt, *words, "--", "sh", "-c", "read x; echo got $x; stty size; exit 4"], clean_environment()
        )
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        os.write(terminal, b"a line\n")
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while select.select([terminal], [], [], 30)[0] and (part := os.read(terminal, 4096)):
                said += part
    finally:
        os.close(terminal)
        with contextlib.suppress(ProcessLookupError):
            wait_until(lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT), "its end", timeout=5)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert b"got a line\r\n33 77\r\n" in said
    assert os.waitstatus_to_exitcode(status) == 4


def test_watching(fluyt: Kube, kube_cluster: KubeApi, space: str, tmp_path: Path) -> None:
    fluyt("kube", "create", "configmap", "a")
    words = ["kube", "get", "cm", "-w", "-n", space, "--kubeconfig", str(kube_cluster.kubeconfig)]
    out = tmp_path / "out"
    with out.open("wb") as file:
        watch = subprocess.Popen(
            [str(Path(sys.prefix, "bin", "fluyt")), *words], stdout=file, stderr=file, env=clean_environment()
        )
    try:
        wait_until(lambda: "a   " in out.read_text(), "the list", timeout=20)
        fluyt("kube", "create", "configmap", "later", "--from-literal=x=y")
        wait_until(lambda: "later" in out.read_text(), "the event", timeout=20)
        assert out.read_text().count("NAME") == 1
    finally:
        watch.kill()
        watch.wait()


def test_kinds_of_the_server(fluyt: Kube) -> None:
    kinds = fluyt("kube", "api-resources").stdout
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in [line.split() for line in kinds.splitlines()]
    names = fluyt("kube", "api-resources", "--api-group=apps", "-o", "name").stdout.split()
    assert {"deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps"} <= set(names)
    assert "nodes " not in fluyt("kube", "api-resources", "--namespaced=true").stdout


def test_mistakes_of_the_user(fluyt: Kube, tmp_path: Path) -> None:
    assert "doesn't have a resource type" in fluyt("kube", "get", "nothing", code=1).stderr
    assert "must specify the type" in fluyt("kube", "get", code=1).stderr
    assert "unable to match a printer" in fluyt("kube", "get", "pods", "-o", "toml", code=1).stderr
    assert "no name was specified" in fluyt("kube", "delete", "pods", code=1).stderr
    assert "--grace-period=0 needs --force" in fluyt("kube", "delete", "pod/a", "--grace-period=0", code=1).stderr
    assert "unknown command" in fluyt("kube", "dance", code=1).stderr
    assert "timed out" in fluyt("kube", "wait", "--for=create", "pod/x", "--timeout=0.3s", code=1).stderr
    (tmp_path / "none").write_text("clusters: []")
    nobody = ["kube", "get", "pods", "--kubeconfig", str(tmp_path / "none")]
    assert "has no current-context" in fluyt(*nobody, code=1).stderr
    gone = fluyt("kube", "get", "pods", "-s", "https://127.0.0.1:1", code=1).stderr
    assert "Unable to connect to the server" in gone
    assert "Connection refused" in gone
