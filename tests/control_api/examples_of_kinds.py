"""The example manifests, one small valid one per kind, for any test that needs objects."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from control.api.body import read_yaml
from control.api.catalogue import BUILTIN
from control.api.decode import STRICT, decode
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.prepare import ENTROPY_BYTES, identify, prepare_create

FOLDER = Path(__file__).parent / "examples"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTROPY = bytes(range(ENTROPY_BYTES))


@cache
def _manifest(name: str) -> dict[str, Any]:
    value, duplicates = read_yaml((FOLDER / f"{name}.yaml").read_bytes())
    assert not duplicates
    assert isinstance(value, dict)
    return value


def manifest(name: str) -> dict[str, Any]:
    """A copy of an example, as "pods.v1" or "deployments.apps.v1"."""
    return deepcopy(_manifest(name))


def file_of(kind: Kind) -> str:
    """The example's name: by plural, or by kind for bodies of subresources."""
    return f"{kind.plural or kind.name.lower()}{'.' + kind.group if kind.group else ''}.{kind.version}"


def example(kind: Kind) -> dict[str, Any]:
    return manifest(file_of(kind))


def created(kind: Kind, obj: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    """The object as it would be stored, but for validation."""
    found = decode(kind, obj, validation=STRICT).object
    identify(kind, found, namespace=namespace if kind.namespaced else "")
    apply_defaults(kind, found)
    return prepare_create(kind, found, now=NOW, entropy=ENTROPY)


def pod(**spec: Any) -> dict[str, Any]:
    """A stored pod with one container and these other fields of its spec."""
    containers = spec.pop("containers", [{"name": "main", "image": "busybox:1.36"}])
    obj = {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}
    return created(BUILTIN["pods"], obj)
