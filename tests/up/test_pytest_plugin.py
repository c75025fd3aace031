"""The pytest plugin, used as a stranger's project would: a pytest of its own, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.process import clean_environment
from harness.real_store import store_words

STORE_TEST = """
import pytest
from kvstore.client import Client, MaybeApplied

def test_one(etcd_cluster):
    with Client(etcd_cluster.endpoints) as client:
        client.put("a", "1")
        assert client.get("a").value == b"1"

def test_same_store(etcd_cluster):
    with Client(etcd_cluster.endpoints) as client:
        assert client.get("a").value == b"1"

@pytest.mark.etcd_members(3)
def test_three(etcd_cluster):
    assert len(etcd_cluster.members) == 3
    with Client(etcd_cluster.endpoints) as client:
        etcd_cluster.members[0].pause()
        client.put("b", "2")
        etcd_cluster.members[0].resume()
        etcd_cluster.members[1].kill()
        try:
            client.put("c", "3")
        except MaybeApplied:  # it was on its way to the one that was killed
            client.put("c", "3")
        etcd_cluster.members[1].start()
        etcd_cluster.wait()
"""

KUBE_TEST = """
import json, ssl, urllib.request

def get(api, path):
    tls = ssl.create_default_context(cafile=str(api.ca))
    request = urllib.request.Request(api.url + path, headers={"Authorization": f"Bearer {api.token}"})
    return json.load(urllib.request.urlopen(request, context=tls))

def test_a_namespace_of_its_own(kube_api, kube_namespace):
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "y"}}
    path = f"/api/v1/namespaces/{kube_namespace}/configmaps"
    assert kube_api.request("POST", path, config_map)[0] == 201
    assert get(kube_api, f"{path}/a")["data"] == {"x": "y"}
    assert kube_api.kubeconfig.exists()

def test_another(kube_api, kube_namespace):
    assert not [c for c in get(kube_api, f"/api/v1/namespaces/{kube_namespace}/configmaps")["items"]
                if c["metadata"]["name"] == "a"]
"""


def run(folder: Path, text: str, *flags: str, settings: str = "") -> subprocess.CompletedProcess[str]:
    """A pytest process with this one test file."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *flags, "test_it.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        env=clean_environment(),
        check=False,
    )


def test_a_store_for_other_people_s_tests(tmp_path: Path) -> None:
    done = run(tmp_path, STORE_TEST, "--strict-markers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_an_api_server_for_other_people_s_tests(tmp_path: Path) -> None:
    with store_words() as words:
        done = run(tmp_path, KUBE_TEST, settings=f"fluyt_up = {' '.join(['--in-process', *words])}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_runs_that_do_not_use_it_load_nothing(tmp_path: Path) -> None:
    text = """
import sys

def test_nothing():
    assert "control.testing.plugin" in sys.modules
    ours = [name for name in sys.modules if name.startswith(("kvstore", "control."))]
    assert sorted(ours) == ["control.testing", "control.testing.plugin"]
    assert not {"asyncio", "grpc", "aiohttp", "yaml"} & set(sys.modules)
"""
    done = run(tmp_path, text, "-p", "no:asyncio", "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout + done.stderr
