"""Static pods: manifests in a folder of the node, run by the agent without anybody's leave.

Each file (YAML or JSON) holds one Pod. It gets the node's name after its own, a uid that is the hash of node and
content, and Kubernetes' defaults. A changed file is another pod: the old one ends, then the new one begins. A file that
cannot be read is logged once per version and changes nothing else. Hidden files are passed over, so that editors' and
renames' in-between states are not seen.
Source: "Create static Pods" in the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from control.api.body import read_yaml
from control.api.decode import WrongType, check_type
from control.api.defaults import default_type
from control.api.status import StatusError
from node_agent.pod import spec
from node_agent.pod.spec import STATIC_HASH, STATIC_SOURCE, Object

log = logging.getLogger(__name__)

_MOST_BYTES = 10 << 20


def static_pod(content: bytes, node: str) -> Object:
    """The pod of a manifest. ValueError says what is wrong with it."""
    try:
        parsed, duplicates = read_yaml(content)
        pod, unknown = check_type("core.v1.Pod", parsed)
    except (StatusError, WrongType) as problem:
        raise ValueError(str(problem)) from None
    if not isinstance(pod, dict) or pod.get("kind") != "Pod" or pod.get("apiVersion") != "v1":
        raise ValueError("it is no v1 Pod")
    if unknown or duplicates:
        raise ValueError("; ".join([*unknown, *duplicates]))
    if not spec.name(pod) or not spec.containers(pod):
        raise ValueError("a pod needs metadata.name and spec.containers")
    if any(not c.get("name") or not c.get("image") for c in spec.containers(pod)):
        raise ValueError("every container needs a name and an image")
    return _settled(default_type("core.v1.Pod", pod), content, node)


def _settled(pod: Object, content: bytes, node: str) -> Object:
    identity = hashlib.md5(node.encode() + b"\0" + content, usedforsecurity=False).hexdigest()
    metadata = pod["metadata"]
    metadata["name"] = f"{metadata['name']}-{node}"
    metadata.setdefault("namespace", "default")
    metadata["uid"] = identity
    notes = metadata.setdefault("annotations", {})
    notes |= {STATIC_SOURCE: "file", STATIC_HASH: identity}
    of_pod = pod["spec"]
    of_pod["nodeName"] = node
    of_pod.setdefault("tolerations", []).append({"operator": "Exists", "effect": "NoExecute"})
    pod["status"] = {}
    return pod


class StaticPods:
    """Follows one folder. wanted(pod), unwanted(pod): a pod came, went; all(pods): those there are now."""

    def __init__(
        self,
        folder: Path,
        node: str,
        wanted: Callable[[Object], None],
        unwanted: Callable[[Object], None],
        everything: Callable[[list[Object]], None],
        period: float = 20.0,
    ) -> None:
        self._folder, self._node, self._period = folder, node, period
        self._wanted, self._unwanted, self._everything = wanted, unwanted, everything
        self._pods: dict[str, Object] = {}
        self._bad: dict[str, str] = {}

    async def run(self) -> None:
        """For ever; scan() once before."""
        while True:
            await asyncio.sleep(self._period)
            await self.scan()

    async def scan(self) -> None:
        """Look at the folder and tell what changed."""
        try:
            files = await asyncio.to_thread(self._read)
        except OSError as problem:
            log.warning("static pods in %s cannot be read: %s", self._folder, problem.strerror)
            return
        found: dict[str, Object] = {}
        for path, content in files:
            pod = self._parse(path, content)
            if pod is not None:
                found.setdefault(spec.uid(pod), pod)
        gone = [pod for uid, pod in self._pods.items() if uid not in found]
        new = [pod for uid, pod in found.items() if uid not in self._pods]
        self._pods = found
        for pod in gone:
            self._unwanted(pod)
        for pod in new:
            self._wanted(pod)
        if gone or new:
            self._everything(list(found.values()))

    def _read(self) -> list[tuple[Path, bytes]]:
        """The files of the folder, or the one file that it is."""
        if self._folder.is_file():
            paths = [self._folder]
        else:
            paths = sorted(p for p in self._folder.iterdir() if not p.name.startswith(".") and p.is_file())
        found = []
        for path in paths:
            with path.open("rb") as file:
                found.append((path, file.read(_MOST_BYTES)))
        return found

    def _parse(self, path: Path, content: bytes) -> Object | None:
        digest = hashlib.sha256(content).hexdigest()
        try:
            pod = static_pod(content, self._node)
            self._bad.pop(str(path), None)
            return pod
        except ValueError as problem:
            if self._bad.get(str(path)) != digest:
                log.error("static pod %s is not taken: %s", path, problem)
            self._bad[str(path)] = digest
            return None
