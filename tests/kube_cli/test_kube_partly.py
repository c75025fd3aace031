"""Commands that can do a part of what was asked: it is done, and each of the rest is told in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness.process import clean_environment
from kube_runs import Kube

from control.testing.kube import KubeApi

MISSING = 'Error from server (NotFound): configmaps "{}" not found\n'


@pytest.fixture
def config_map(fluyt: Kube) -> None:
    fluyt("kube", "create", "configmap", "here", "--from-literal=x=y")


def test_a_table_of_what_is_there(fluyt: Kube, config_map: None) -> None:
    said = fluyt("kube", "get", "cm", "gone", "here", "nope", code=1)
    assert [line.split()[0] for line in said.stdout.splitlines()] == ["NAME", "here"]
    assert said.stderr == MISSING.format("gone") + MISSING.format("nope")
    assert fluyt("kube", "get", "cm", "gone", "here", "--ignore-not-found").stderr == ""
    alone = fluyt("kube", "get", "cm", "gone", code=1)
    assert (alone.stdout, alone.stderr) == ("", MISSING.format("gone"))


def test_objects_that_are_there(fluyt: Kube, config_map: None) -> None:
    said = fluyt("kube", "get", "cm", "here", "gone", "-o", "name", code=1)
    assert (said.stdout, said.stderr) == ("configmap/here\n", MISSING.format("gone"))
    listed = json.loads(fluyt("kube", "get", "cm/here", "cm/gone", "-o=json", code=1).stdout)
    assert listed["kind"] == "List", "as two were asked for"
    assert [item["metadata"]["name"] for item in listed["items"]] == ["here"]
    assert fluyt("kube", "get", "cm", "gone", "-o", "json", code=1).stdout == ""


def test_one_kind_that_is_refused_leaves_the_others(fluyt: Kube, config_map: None) -> None:
    said = fluyt("kube", "get", "cm,secrets", "--as=nobody", "-o", "name", code=1).stderr.splitlines()
    assert [line.partition(":")[0] for line in said] == ["Error from server (Forbidden)"] * 2


def test_a_log_is_followed_until_its_reader_has_enough(kube_cluster: KubeApi, fluyt: Kube, space: str) -> None:
    """As `fluyt kube logs -f web | head -2`."""
    command = ["sh", "-c", "while echo line; do sleep 0.01; done"]
    container = {"name": "c", "image": "host", "command": command}
    spec = {"nodeName": "n1", "terminationGracePeriodSeconds": 0, "containers": [container]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talks"}, "spec": spec}
    assert kube_cluster.request("POST", f"/api/v1/namespaces/{space}/pods", body)[0] == 201
    fluyt("kube", "wait", "--for=condition=Ready", "pod/talks", "--timeout=40s")
    words = ["kube", "logs", "-f", "talks", "-n", space, "--kubeconfig", str(kube_cluster.kubeconfig)]
    follows = subprocess.Popen(
        [str(Path(sys.prefix, "bin", "fluyt")), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    assert follows.stdout is not None
    assert follows.stderr is not None
    try:
        assert follows.stdout.readline() == b"line\n"
        follows.stdout.close()
        assert follows.wait(30) == 1
        assert follows.stderr.read() == b""
    finally:
        follows.kill()
        follows.wait()
        follows.stderr.close()
