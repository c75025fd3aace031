"""The pods of this node on its own disk, for a restart while no API server answers.

One JSON file a pod, written when its spec changes and removed with the pod; secrets are not in it (a Pod names them
only). A damaged file is removed and the pod taken up again when the API server answers; a full disk is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from node_agent.pod import spec
from node_agent.pod.spec import Object

log = logging.getLogger(__name__)

_STATUSES = ("initContainerStatuses", "containerStatuses")


class Checkpoint:
    """Below <root>/checkpoint."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "checkpoint"
        self._written: dict[str, str] = {}

    def remember(self, pod: Object) -> None:
        """Write the pod down, if what matters of it changed."""
        if spec.is_static(pod):
            return
        essence = {name: pod.get(name) for name in ("apiVersion", "kind", "metadata", "spec", "status")}
        digest = hashlib.sha256(_json(_stable(essence))).hexdigest()
        uid = spec.uid(pod)
        if self._written.get(uid) == digest:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._folder / f".{uid}"
            new.write_bytes(_json(essence))
            new.chmod(0o600)
            os.replace(new, self._path(uid))
            self._written[uid] = digest
        except OSError as problem:
            log.warning("pod %s cannot be written down: %s", spec.full_name(pod), problem)

    def forget(self, uid: str) -> None:
        self._written.pop(uid, None)
        try:
            self._path(uid).unlink(missing_ok=True)
        except OSError as problem:
            log.warning("the checkpoint of pod %s cannot be removed: %s", uid, problem)

    def recall(self, uid: str) -> Object | None:
        """The pod as it was last written down."""
        return self._read(self._path(uid))

    def pods(self) -> list[Object]:
        """All that are written down."""
        if not self._folder.is_dir():
            return []
        found = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return [pod for pod in found if pod is not None]

    def _path(self, uid: str) -> Path:
        return self._folder / f"{uid.replace('/', '_')}.json"

    def _read(self, path: Path) -> Object | None:
        try:
            pod = json.loads(path.read_bytes())
            if isinstance(pod, dict) and spec.uid(pod) and isinstance(pod.get("spec"), dict):
                return pod
            raise ValueError("it is no pod")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            log.warning("the checkpoint %s is not used: %s", path, problem)
            path.unlink(missing_ok=True)
            return None


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _stable(pod: Object) -> Object:
    """What must be written anew when it changes: not each status and version."""
    metadata = {k: v for k, v in (pod.get("metadata") or {}).items() if k not in ("resourceVersion", "managedFields")}
    status = pod.get("status") or {}
    return {
        "metadata": metadata,
        "spec": pod.get("spec"),
        "phase": status.get("phase"),
        "ip": status.get("podIP"),
        "containers": [_found_out(entry) for name in _STATUSES for entry in status.get(name) or []],
    }


def _found_out(entry: Object) -> list[Any]:
    """What probes have found out about a container: the next agent goes on from it, and asks nothing twice."""
    return [entry.get(name) for name in ("name", "containerID", "started", "ready")]
