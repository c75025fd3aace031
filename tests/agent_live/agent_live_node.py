"""One node with the process runtime: its agent as a child process, and kubectl as the administrator."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from harness.ports import free_port
from harness.process import Process, clean_environment
from harness.wait import wait_until

from control.pki.cluster import ensure_node
from control.testing.kube import KubeApi

FLUYT = str(Path(sys.prefix, "bin", "fluyt"))


class LiveNode:
    """Node n1: its agent, and kubectl as its cluster's administrator."""

    def __init__(self, api: KubeApi, master: Path, folder: Path, kubectl: str, **flags: object) -> None:
        """flags: of the agent, over the usual ones; `_` stands for `-`."""
        self.api, self.folder, self.program = api, folder, kubectl
        self.static = folder / "static"
        self.static.mkdir()
        ensure_node(master, "n1", api.url, ["127.0.0.1"], datetime.now(UTC))
        self._flags = {
            "kubeconfig": master / "node-n1.conf",
            "hostname-override": "n1",
            "runtime": "process",
            "root-dir": folder / "root",
            "node-ip": "127.0.0.1",
            "port": free_port(),
            "tls-cert-file": master / "pki" / "node-n1.crt",
            "tls-private-key-file": master / "pki" / "node-n1.key",
            "client-ca-file": master / "pki" / "ca.crt",
            "pod-manifest-path": self.static,
            "file-check-frequency": "200ms",
            # What is on the test machine's disk is nothing to them.
            "eviction-hard": "memory.available<100Mi,nodefs.available<1%",
            **{name.replace("_", "-"): value for name, value in flags.items()},
        }
        self.agent: Process
        self.start()

    def start(self) -> None:
        """Run the agent until the node is ready."""
        flags = [f"--{name}={value}" for name, value in self._flags.items()]
        self.agent = Process([FLUYT, "agent", *flags], self.folder / "agent.log")
        wait_until(self._ready, "the node is ready", 30)

    def _ready(self) -> bool:
        code, node = self.api.request("GET", "/api/v1/nodes/n1")
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])} if code == 200 else {}
        return conditions.get("Ready") == "True"

    def kubectl(self, *words: str, stdin: str | None = None, code: int | None = 0) -> str:
        """Both outputs of a command that must end with that code; code 0 gives standard output alone."""
        done = subprocess.run(
            [self.program, *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(),
            check=False,
        )
        said = f"kubectl {' '.join(words)}\n{done.stdout}{done.stderr}"
        assert code is None or done.returncode == code, said
        return done.stdout if code == 0 else done.stdout + done.stderr

    def environment(self) -> dict[str, str]:
        return clean_environment({"KUBECONFIG": str(self.api.kubeconfig), "HOME": str(self.folder)})

    def spawn(self, *words: str, log: str) -> Process:
        """A kubectl that runs on, its outputs in a file."""
        environment = {"KUBECONFIG": str(self.api.kubeconfig), "HOME": str(self.folder)}
        return Process([self.program, *words], self.folder / log, environment)

    def run_pod(self, name: str, *command: str, wait: bool = True, **spec: Any) -> None:
        """A pod of one container with the machine's own files, bound to the node."""
        container = {"name": "main", "image": "host", "imagePullPolicy": "IfNotPresent", "command": list(command)}
        container |= spec.pop("container", {})
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
        }
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(pod))
        if wait:
            self.wait(name, lambda found: found["status"].get("phase") == "Running")

    def pod(self, name: str) -> dict[str, Any]:
        code, found = self.api.request("GET", f"/api/v1/namespaces/default/pods/{name}")
        return found if code == 200 else {}

    def wait(self, name: str, holds: Any, timeout: float = 30) -> dict[str, Any]:
        """Wait until the pod is as it should be, and return it."""

        def look() -> dict[str, Any] | None:
            found = self.pod(name)
            return found if found and holds(found) else None

        try:
            return wait_until(look, f"pod {name}", timeout)
        except TimeoutError:
            raise AssertionError(json.dumps(self.pod(name).get("status"), indent=1)) from None

    def close(self) -> None:
        """End all pods, then the agent."""
        for manifest in self.static.iterdir():
            manifest.unlink()
        self.kubectl("delete", "pods", "--all", "--grace-period=1", code=None)
        self.agent.kill()
