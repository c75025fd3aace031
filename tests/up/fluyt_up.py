"""`fluyt up` as a user has it: commands that end by themselves, and requests to the cluster that they made."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.process import clean_environment

from control.client import kubeconfig
from control.up.cluster import Cluster

FLUYT = str(Path(sys.prefix, "bin", "fluyt"))


def fluyt(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    done = subprocess.run(
        [FLUYT, *words], capture_output=True, text=True, timeout=100, env=clean_environment(), check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def status(folder: Path, method: str, path: str, body: Any = None) -> int:
    """One request as the administrator."""
    cluster = Cluster(folder)
    port = cluster.planned().masters[0].api
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=kubeconfig.load(cluster.admin_conf).ssl_context(), timeout=30
    )
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
