"""hostPath volumes and persistent volumes that are folders of this node: is there what the pod expects?"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from node_agent.node.affinity import matches_node
from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.runtime.descent import descend, top_of
from node_agent.volumes.problem import VolumeProblem

_CHECKS: Final[dict[str, tuple[str, Callable[[int], bool]]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket file", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


def host_path(name: str, source: Object) -> Path:
    """The path of a hostPath volume, made if its type says so. Blocks; raises VolumeProblem."""
    path, kind = Path(source["path"]), source.get("type") or ""
    try:
        _create(path, kind)
        return _checked(name, path, kind)
    except OSError as problem:
        raise VolumeProblem(name, f"hostPath {path}: {problem.strerror}") from None


def _create(path: Path, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))


def _checked(name: str, path: Path, kind: str) -> Path:
    if not kind:
        # Docker's old habit, which Kubernetes keeps: what is not there becomes a folder.
        if not path.exists():
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return path
    if kind not in _CHECKS:
        raise VolumeProblem(name, f"hostPath type {kind!r} is not known")
    text, fits = _CHECKS[kind]
    if not path.exists() or not fits(path.stat().st_mode):
        raise VolumeProblem(name, f"hostPath type check failed: {path} is not {text}")
    return path


def persistent_path(name: str, claim: Object | None, claim_name: str, volume: Object | None, node: Object) -> Path:
    """The folder of a bound claim. claim, volume: the objects, None if they do not exist. Blocks; VolumeProblem."""
    if claim is None:
        raise VolumeProblem(name, f'persistentvolumeclaim "{claim_name}" not found')
    if (claim.get("status") or {}).get("phase") != "Bound" or not spec.spec(claim).get("volumeName"):
        raise VolumeProblem(name, f'PVC is not bound: persistentvolumeclaim "{claim_name}"')
    if volume is None:
        raise VolumeProblem(name, f'persistentvolume "{spec.spec(claim)["volumeName"]}" not found')
    required = (spec.spec(volume).get("nodeAffinity") or {}).get("required")
    as_pod = {"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}}
    if required and not matches_node(as_pod, node):
        raise VolumeProblem(name, f"persistentvolume {spec.name(volume)}: no matching NodeSelectorTerms on this node")
    source = spec.spec(volume)
    if source.get("hostPath"):
        return host_path(name, source["hostPath"])
    if source.get("local"):
        return host_path(name, {"path": source["local"]["path"], "type": "Directory"})
    raise VolumeProblem(name, f"persistentvolume {spec.name(volume)} is neither hostPath nor local: not supported here")


def below(name: str, root: Path, sub_path: str) -> Path:
    """root/sub_path with links resolved, made as a folder if it is not there. Blocks; VolumeProblem.

    Links must not lead out. Containers may change what is there at any moment: whoever uses it later goes down to it
    from the root once more, without following links.
    """
    top = os.path.realpath(root)
    resolved = os.path.realpath(os.path.join(top, sub_path))
    if resolved != top and not resolved.startswith(f"{top}/"):
        raise VolumeProblem(name, f"subPath {sub_path!r} leads out of the volume")
    try:
        _make_below(top, os.path.relpath(resolved, top))
    except OSError as problem:
        raise VolumeProblem(name, f"subPath {sub_path!r}: {problem.strerror}") from None
    return Path(resolved)


def _make_below(top: str, path: str) -> None:
    volume = top_of(top)
    try:
        os.close(descend(volume, path, make=partial(_folder_like, os.fstat(volume))))
    finally:
        os.close(volume)


def _folder_like(volume: os.stat_result, parent: int, name: str, last: bool) -> None:
    """As open as the volume: also to a container that does not run as root, as the kubelet has it."""
    os.mkdir(name, 0o700, dir_fd=parent)
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.geteuid() == 0:
            os.fchown(made, -1, volume.st_gid)
        os.fchmod(made, stat.S_IMODE(volume.st_mode))
    finally:
        os.close(made)
