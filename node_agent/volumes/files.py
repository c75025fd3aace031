"""The files of configMap, secret, downwardAPI and projected volumes. Pure.

Source: "Volumes" and "Projected Volumes" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from node_agent.pod import spec
from node_agent.pod.env import entries
from node_agent.pod.fields import ConfigProblem, field_value, resource_value
from node_agent.pod.needs import Sources
from node_agent.pod.spec import Object

DEFAULT_MODE: Final = 0o644
MOST_BYTES: Final = 16 << 20  # of one volume, together
KINDS: Final = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int = DEFAULT_MODE

    def __repr__(self) -> str:
        """Without the content, which may be secret."""
        return f"File({len(self.data)} bytes, {self.mode:o})"


@dataclass(frozen=True, slots=True)
class TokenWish:
    """A service account token that a projected volume holds."""

    volume: str
    path: str
    audience: str
    seconds: int


def token_wishes(pod: Object) -> Iterator[TokenWish]:
    for volume in spec.spec(pod).get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            token = source.get("serviceAccountToken")
            if token is not None:
                seconds = int(token.get("expirationSeconds") or 3600)
                yield TokenWish(volume["name"], token["path"], token.get("audience") or "", seconds)


def holds_secrets(volume: Object) -> bool:
    """Whether its files belong into memory rather than on a disk."""
    sources = (volume.get("projected") or {}).get("sources") or []
    return "secret" in volume or any("secret" in s or "serviceAccountToken" in s for s in sources)


def volume_files(pod: Object, volume: Object, sources: Sources, allocatable: Mapping[str, str]) -> dict[str, File]:
    """Path below the volume → file. ConfigProblem: a source or key that is not optional is missing, a path is bad."""
    found: dict[str, File] = {}
    for kind in KINDS:
        source = volume.get(kind)
        if source is not None:
            mode = DEFAULT_MODE if source.get("defaultMode") is None else int(source["defaultMode"])
            parts = [(kind, source)] if kind != "projected" else _projections(source)
            for part, content in parts:
                found.update(_files(pod, volume, part, content, mode, sources, allocatable))
    for path in found:
        _check(path)
    if sum(len(file.data) for file in found.values()) > MOST_BYTES:
        raise ConfigProblem(f"the files of volume {volume['name']} have more than {MOST_BYTES >> 20} MiB together")
    return found


def shows_other_metadata(old: Object | None, new: Object | None) -> bool:
    """Whether a pod's own labels or annotations changed, and a volume of it shows such."""
    if old is None or new is None or spec.uid(old) != spec.uid(new):
        return False
    parts = [part for volume in spec.spec(new).get("volumes") or [] for part in _parts(volume)]
    if not any(kind == "downwardAPI" for kind, _ in parts):
        return False
    before, after = spec.metadata(old), spec.metadata(new)
    return any((before.get(field) or {}) != (after.get(field) or {}) for field in ("labels", "annotations"))


def _parts(volume: Object) -> list[tuple[str, Object]]:
    """The sources of one volume, those inside of a projected one each by itself."""
    own = [(kind, volume[kind]) for kind in KINDS if kind in volume and kind != "projected"]
    return own + _projections(volume.get("projected") or {})


def _projections(source: Object) -> list[tuple[str, Object]]:
    return [(kind, content) for part in source.get("sources") or [] for kind, content in part.items()]


def _files(
    pod: Object,
    volume: Object,
    kind: str,
    source: Object,
    mode: int,
    sources: Sources,
    allocatable: Mapping[str, str],
) -> dict[str, File]:
    match kind:
        case "configMap":
            return _of_object("configmaps", source.get("name", ""), source, mode, sources)
        case "secret":
            return _of_object("secrets", source.get("secretName") or source.get("name", ""), source, mode, sources)
        case "downwardAPI":
            return _downward(pod, source, mode, allocatable)
        case "serviceAccountToken":
            token = sources.tokens.get((volume["name"], source["path"]))
            if token is None:
                raise ConfigProblem(f"no token for service account {_account(pod)} yet")
            return {source["path"]: File(token.encode(), 0o600 if mode == DEFAULT_MODE and _private(pod) else mode)}
    raise ConfigProblem(f"projected source {kind} is not supported by this agent")


def _account(pod: Object) -> str:
    return f"{spec.namespace(pod)}/{spec.spec(pod).get('serviceAccountName') or 'default'}"


def _private(pod: Object) -> bool:
    """Whether a token may be its owner's alone: every container runs as the same user, which the file is given to."""
    return token_owner(pod) is not None


def token_owner(pod: Object) -> int | None:
    """The user that all containers of the pod run as; None when they differ or it is not said."""
    of_pod = (spec.spec(pod).get("securityContext") or {}).get("runAsUser")
    users = {(c.get("securityContext") or {}).get("runAsUser", of_pod) for c in spec.every_container(pod)}
    user = users.pop() if len(users) == 1 else None
    return None if user is None else int(user)


def _of_object(resource: str, name: str, source: Object, mode: int, sources: Sources) -> dict[str, File]:
    optional = bool(source.get("optional")) or sources.lenient
    holder = sources.find(resource, name)
    if holder is None:
        if optional:
            return {}
        raise ConfigProblem(f'{resource.removesuffix("s")} "{name}" not found')
    values = entries(holder, resource)
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in values.items()}
    found = {}
    for item in items:
        if item["key"] in values:
            found[item["path"]] = File(values[item["key"]], mode if item.get("mode") is None else int(item["mode"]))
        elif not optional:
            raise ConfigProblem(f"references non-existent {resource.removesuffix('s')} key: {item['key']}")
    return found


def _downward(pod: Object, source: Object, mode: int, allocatable: Mapping[str, str]) -> dict[str, File]:
    found = {}
    for item in source.get("items") or []:
        if item.get("fieldRef"):
            text = field_value(pod, item["fieldRef"]["fieldPath"])
        else:
            text = resource_value(pod, {}, item.get("resourceFieldRef") or {}, allocatable)
        own = item.get("mode")
        found[item["path"]] = File(text.encode(), mode if own is None else int(own))
    return found


def _check(path: str) -> None:
    """A file must stay below its volume and must not touch the names that the atomic writer uses."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or "" in parts or len(path) > 4096:
        raise ConfigProblem(f"invalid path {path!r}: it must be relative and must not contain '..'")
    if parts[0].startswith(".."):
        raise ConfigProblem(f"invalid path {path!r}: must not start with '..'")
