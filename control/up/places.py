"""Names within a cluster's folder that more than one part knows. Kept by themselves: they cost nothing to load."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from control.up.plan import Plan

# The agent that plays all the simulated nodes, and its folder.
SIMULATED: Final = "sim"
# Certificates of the store, below FOLDER/pki.
STORE_CA: Final = "etcd/ca"
STORE_SERVER: Final = "etcd/server"
STORE_CLIENT: Final = "apiserver-etcd-client"


def home(folder: Path, plan: Plan, number: int) -> Path:
    """The folder with the kubeconfigs of one master's processes."""
    return folder if number == 0 else folder / plan.masters[number].name
