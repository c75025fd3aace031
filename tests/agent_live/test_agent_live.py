"""Real processes on a real node, by kubectl: run, probe, exec, logs, port-forward, cp, updates, agent restarts."""

from __future__ import annotations

import os
import re
import urllib.request
from typing import Any

import pytest
from agent_live_node import LiveNode
from harness.require import require
from harness.wait import wait_until

SERVER = (
    "import http.server, sys; "
    "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler); "
    "print('port', s.server_address[1], flush=True); s.serve_forever()"
)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the node's containers are made by root")


def status(pod: dict[str, Any]) -> dict[str, Any]:
    entries = pod["status"].get("containerStatuses") or [{}]
    return dict(entries[0])


def test_logs_exec_and_copies(node: LiveNode) -> None:
    script = 'echo "hello $WHO"; echo oops >&2; while sleep 0.2; do echo tick; done'
    env = [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    volumes = {"volumes": [{"name": "scratch", "emptyDir": {}}]}
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    node.run_pod("talk", "sh", "-c", script, container={"env": env, "volumeMounts": mounts}, **volumes)
    wait_until(lambda: "tick" in node.kubectl("logs", "talk"), "it talks")
    assert node.kubectl("logs", "talk").startswith("hello talk\noops\n")
    assert re.fullmatch(r"\d{4}-.*Z tick\n", node.kubectl("logs", "talk", "--tail=1", "--timestamps"))
    follower = node.spawn("logs", "-f", "talk", "--tail=1", log="follow.log")
    wait_until(lambda: follower.log.read_text().count("tick") >= 3, "the log is followed")
    follower.kill()
    assert node.kubectl("exec", "talk", "--", "sh", "-c", "echo $WHO") == "talk\n"
    assert node.kubectl("exec", "-i", "talk", "--", "tr", "a-z", "A-Z", stdin="up\n") == "UP\n"
    assert "exit code 7" in node.kubectl("exec", "talk", "--", "sh", "-c", "exit 7", code=7)
    source = node.folder / "there.txt"
    source.write_bytes(os.urandom(300_000))
    node.kubectl("cp", str(source), "talk:/scratch/there.txt")
    node.kubectl("cp", "talk:/scratch/there.txt", str(node.folder / "back.txt"))
    assert (node.folder / "back.txt").read_bytes() == source.read_bytes()
    node.kubectl("delete", "pod", "talk")


def test_port_forward_and_http_probes(node: LiveNode) -> None:
    node.run_pod("web", "python3", "-c", SERVER)
    wait_until(lambda: "port" in node.kubectl("logs", "web"), "it listens")
    port = node.kubectl("logs", "web").split()[1]
    forward = node.spawn("port-forward", "pod/web", f":{port}", log="forward.log")
    line = wait_until(lambda: re.search(r"127\.0\.0\.1:(\d+) ->", forward.log.read_text()), "it forwards")
    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{line.group(1)}/", timeout=10) as answer:
            assert answer.status == 200
    forward.kill()
    probe = {"httpGet": {"host": "127.0.0.1", "port": int(port), "path": "/nowhere"}, "periodSeconds": 1}
    node.run_pod("asks", "sleep", "1000", container={"readinessProbe": probe})
    wait_until(lambda: "HTTP probe failed with statuscode: 404" in node.kubectl("describe", "pod", "asks"), "unready")
    assert status(node.pod("asks"))["ready"] is False


def test_kubectl_before_1_31_speaks_spdy(node: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    node.run_pod("old", "python3", "-u", "-c", SERVER)
    wait_until(lambda: "port" in node.kubectl("logs", "old"), "it listens")
    port = node.kubectl("logs", "old").split()[1]
    monkeypatch.setattr(node, "program", require("kubectl-1.20"))
    assert node.kubectl("exec", "old", "--", "echo", "hello") == "hello\n"
    assert node.kubectl("exec", "-i", "old", "--", "tr", "a-z", "A-Z", stdin="up\n" * 50_000) == "UP\n" * 50_000
    said = node.kubectl("exec", "old", "--", "sh", "-c", "echo oops >&2; exit 7", code=7)
    assert said == "oops\ncommand terminated with exit code 7\n"
    assert "Error from server" in node.kubectl("exec", "old", "-c", "nope", "--", "true", code=1)
    source = node.folder / "old.txt"
    source.write_bytes(os.urandom(300_000))
    node.kubectl("cp", str(source), "old:/tmp/fluyt-old.txt")
    node.kubectl("cp", "old:/tmp/fluyt-old.txt", str(node.folder / "old-back.txt"))
    assert (node.folder / "old-back.txt").read_bytes() == source.read_bytes()
    node.kubectl("exec", "old", "--", "rm", "/tmp/fluyt-old.txt")
    forward = node.spawn("port-forward", "pod/old", f":{port}", log="old-forward.log")
    line = wait_until(lambda: re.search(r"127\.0\.0\.1:(\d+) ->", forward.log.read_text()), "it forwards")
    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{line.group(1)}/", timeout=10) as answer:
            assert answer.status == 200
    forward.kill()
    attached = node.spawn("attach", "old", log="old-attach.log")
    wait_until(lambda: "GET / HTTP" in attached.log.read_text() or _asked(port), "its log comes to who is attached")
    attached.kill()
    node.kubectl("delete", "pod", "old")


def _asked(port: str) -> bool:
    """Have the server say a line."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
        return False


def test_a_config_map_reaches_its_volume_and_a_secret_the_environment(node: LiveNode) -> None:
    node.kubectl("create", "configmap", "conf", "--from-literal=a=1")
    node.kubectl("create", "secret", "generic", "hush", "--from-literal=key=s3cret")
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
    container = {
        "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
        "envFrom": [{"secretRef": {"name": "hush"}}],
    }
    node.run_pod("reads", "sleep", "1000", container=container, volumes=volumes)
    assert node.kubectl("exec", "reads", "--", "sh", "-c", "cat /conf/a; echo $key") == "1s3cret\n"
    node.kubectl("patch", "configmap", "conf", "--type=merge", "-p", '{"data":{"a":"2"}}')
    wait_until(lambda: node.kubectl("exec", "reads", "--", "cat", "/conf/a") == "2", "the volume shows the change")
    assert node.kubectl("exec", "reads", "--", "test", "-L", "/conf/..data") == ""


def test_a_service_account_token_is_there_and_works(node: LiveNode) -> None:
    node.run_pod("robot", "sleep", "1000")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert node.kubectl("exec", "robot", "--", "cat", f"{folder}/namespace") == "default"
    token = node.kubectl("exec", "robot", "--", "cat", f"{folder}/token")
    who = node.kubectl("auth", "whoami", f"--token={token}", "--kubeconfig=/dev/null", f"--server={node.api.url}",
                       f"--certificate-authority={node.api.ca}")  # fmt: skip
    assert "system:serviceaccount:default:default" in who


def test_a_restarted_agent_restarts_no_container(node: LiveNode) -> None:
    node.run_pod("stays", "sleep", "1000")
    before = node.wait("stays", lambda pod: status(pod).get("ready"))
    process = node.kubectl("exec", "stays", "--", "sh", "-c", "echo $PPID; cat /proc/1/stat | cut -d' ' -f22")
    node.agent.kill()
    node.start()
    wait_until(lambda: node.kubectl("exec", "stays", "--", "true", code=None) == "", "the agent is back")
    after = node.pod("stays")
    assert status(after)["containerID"] == status(before)["containerID"]
    assert status(after)["restartCount"] == 0
    assert node.kubectl("exec", "stays", "--", "sh", "-c", "echo $PPID; cat /proc/1/stat | cut -d' ' -f22") == process


def test_bad_pods_say_why_in_kubernetes_words(node: LiveNode) -> None:
    node.run_pod("no-image", "x", wait=False, container={"image": "nosuch/image:1"})
    node.run_pod("no-config", "x", wait=False, container={"envFrom": [{"configMapRef": {"name": "nope"}}]})
    node.run_pod("no-program", "/no/such/program", wait=False)
    node.run_pod("too-big", "x", wait=False, container={"resources": {"requests": {"cpu": "999"}}})
    node.run_pod("crash", "sh", "-c", "echo bye > /dev/termination-log; exit 3", wait=False)

    def waits(name: str, *reasons: str) -> None:
        node.wait(name, lambda pod: status(pod).get("state", {}).get("waiting", {}).get("reason") in reasons)

    waits("no-image", "ErrImagePull", "ImagePullBackOff")
    waits("no-config", "CreateContainerConfigError")
    waits("no-program", "CrashLoopBackOff", "RunContainerError")
    waits("crash", "CrashLoopBackOff")
    ended = status(node.pod("crash"))["lastState"]["terminated"]
    assert (ended["exitCode"], ended["message"], ended["reason"]) == (3, "bye\n", "Error")
    assert node.wait("too-big", lambda pod: pod["status"].get("phase") == "Failed")["status"]["reason"] == "OutOfcpu"
    node.kubectl("delete", "pod", "no-image", "no-config", "no-program", "too-big", "crash")


def test_static_pods_and_figures(node: LiveNode) -> None:
    manifest = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: fixed}\n"
        "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: host, command: [sleep, '1000']}]}\n"
    )
    (node.static / "fixed.yaml").write_text(manifest)
    node.wait("fixed-n1", lambda pod: pod["status"].get("phase") == "Running")
    summary = node.kubectl("get", "--raw", "/api/v1/nodes/n1/proxy/stats/summary")
    assert '"fixed-n1"' in summary
    (node.static / "fixed.yaml").unlink()
    wait_until(lambda: not node.pod("fixed-n1"), "the mirror is gone")
