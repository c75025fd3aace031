"""What the nodes run containers on: processes of the machine, or a Docker engine or containerd of our own."""

from __future__ import annotations

import asyncio
import copy
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.require import missing
from runtime_conformance import image_tar
from runtime_conformance.daemons import containerd, dockerd
from whole_remains import shims

from node_agent.runtimes import new_runtime

Object = dict[str, Any]
IMAGE: Final = "fluyt.test/busybox:1"
DAEMONS: Final = {"docker": dockerd, "cri": containerd}
# The web server of the examples, without Python: says its version, and notes each request.
_SERVE: Final = """mkdir -p /srv
echo "$GREETING from $POD_NAME on $NODE_NAME, version $VERSION" > /srv/index.html
exec httpd -f -vv -p $POD_IP:8080 -h /srv"""


@dataclass(frozen=True)
class Engine:
    """runtime, endpoint: as `fluyt up` takes them. request_noted: what the web server's log has after a request."""

    runtime: str = "process"
    endpoint: str = ""
    request_noted: str = "GET / HTTP/1.1"

    @property
    def words(self) -> list[str]:
        """For `fluyt up`."""
        more = ["--container-runtime-endpoint", self.endpoint] if self.endpoint else []
        return ["--runtime", self.runtime, *more]

    def fit(self, objects: Sequence[Object]) -> list[Object]:
        """Objects of examples/ with an image that this engine has."""
        fitted = copy.deepcopy(list(objects))
        if self.runtime != "process":
            for container in (found for obj in fitted for found in _containers(obj)):
                container["image"] = IMAGE
                if "python3" in container["command"]:
                    container["command"] = ["sh", "-c", _SERVE]
        return fitted

    def running(self, folder: Path) -> set[str]:
        """The ids of the containers that really run on the cluster's nodes."""
        if self.runtime == "process":
            return shims(folder)
        return asyncio.run(self._running(list(folder.glob("n[0-9]*"))))

    async def _running(self, nodes: Sequence[Path]) -> set[str]:
        found = set[str]()
        for root in nodes:
            runtime = new_runtime(self.runtime, self.endpoint, root, root.name)
            await runtime.open()
            found |= {each.id for each in await runtime.container_statuses() if each.state == "Running"}
            await runtime.close()
        return found

    async def load(self, archive: Path) -> None:
        runtime = new_runtime(self.runtime, self.endpoint, archive.parent, "n1")
        await runtime.open()
        assert await runtime.load_image(archive) == (IMAGE,)
        await runtime.close()


def _containers(obj: Object) -> list[Object]:
    """Of a pod, and of whatever has a pod template, at whatever depth."""
    spec = obj.get("spec") or {}
    if obj.get("kind") == "Pod":
        return list(spec["containers"])
    if "jobTemplate" in spec:
        return _containers(spec["jobTemplate"])
    return list(spec["template"]["spec"]["containers"]) if "template" in spec else []


@contextmanager
def engine(runtime: str) -> Iterator[Engine]:
    """With its daemon, if it needs one, and the image of the tests in it."""
    if runtime == "process":
        yield Engine()
        return
    if not image_tar.BUSYBOX.exists():
        missing("/bin/busybox is not on this machine; cure: apt-get install busybox-static")
    folder = Path(tempfile.mkdtemp(prefix="fluyt-d-"))
    try:
        with DAEMONS[runtime](folder) as socket:
            made = Engine(runtime, f"unix://{socket}", "url:/")
            asyncio.run(made.load(image_tar.busybox(folder / "busybox.tar")))
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
