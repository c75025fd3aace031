"""Who is measured: our cluster, etcd's of two versions, and PySyncObj."""

from __future__ import annotations

from harness.binaries import KINDS, Kind, find

PYSYNCOBJ = "pysyncobj"
_TITLES: dict[Kind, str] = {"fluyt": "Fluyt", "etcd-3.5": "etcd 3.5.1", "etcd-3.4": "etcd 3.4.23"}
# In which columns stand.
ORDER = (*_TITLES, PYSYNCOBJ)


def available() -> dict[str, str]:
    """Names of the contenders on this machine → what they are called in tables."""
    found: dict[str, str] = {kind: title for kind, title in _TITLES.items() if find(kind)}
    try:
        import pysyncobj  # noqa: F401
    except ImportError:
        return found
    return {**found, PYSYNCOBJ: "PySyncObj"}


def kind_of(name: str) -> Kind:
    """A contender that is a cluster of processes with etcd's API."""
    return next(kind for kind in KINDS if kind == name)
