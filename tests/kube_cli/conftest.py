"""A cluster of one master and one node for the commands that need one."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.folder import of_folder
from harness.process import clean_environment
from harness.real_store import kube_api
from kube_runs import Done, Kube

from control.testing.kube import KubeApi
from kvstore.cli.main import main

STAYS = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "stays"},
    "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "host", "command": ["sleep", "100000"]}]},
}


@pytest.fixture(scope="module")
def kube_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KubeApi:
    """Store, API server, controllers, scheduler and a node that runs the machine's own programs as containers."""
    return of_folder(request, "kube-cluster", lambda: _cluster(tmp_path_factory.mktemp("kube-cli")))


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[KubeApi]:
    with kube_api(folder, ["--nodes", "1"]) as api:
        status, answer = api.request("POST", "/api/v1/namespaces/default/pods", STAYS)
        assert status == 201, answer
        yield api
    # A container that ran to the end ends with the cluster, and so does all that was made for it.
    assert not [line for line in _processes() if str(folder) in line]
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def _processes() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


@pytest.fixture
def space(kube_cluster: KubeApi) -> Iterator[str]:
    """A namespace of the test's own."""
    name = kube_cluster.create_namespace()
    yield name
    kube_cluster.delete_namespace(name)


@pytest.fixture
def fluyt(
    kube_cluster: KubeApi, space: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Kube:
    """Runs `fluyt …` in that namespace: fluyt("kube", "get", "pods"). code: what it must end with, None for any.

    Without processes, whose starts would be most of the time; what reads descriptor 0 needs one: process=True.
    """

    def run(*words: str, stdin: str = "", code: int | None = 0, process: bool = False) -> Done:
        # Behind the command's name, as what follows -- is not ours.
        verb = 2 if words[0] == "kube" else 1
        flags = ["--kubeconfig", str(kube_cluster.kubeconfig), "-n", space]
        line = [*words[:verb], *flags, *words[verb:]]
        if process:
            command = [str(Path(sys.prefix, "bin", "fluyt")), *line]
            ran = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False
            )
            done = Done(ran.returncode, ran.stdout, ran.stderr)
        else:
            capfd.readouterr()
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            with pytest.raises(SystemExit) as ended:
                main(line)
            done = Done(int(ended.value.code or 0), *capfd.readouterr())
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    return run
