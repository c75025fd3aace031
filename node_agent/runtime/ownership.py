"""Which sandboxes and containers of a shared daemon are ours: a label names the node. Pure.

Several agents may use one daemon (`fluyt up --nodes 2`), and other programs besides. Our labels are set on what we
make and taken off again from what the agent sees.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "fluyt.dev/runtime."
OWNER = f"{PREFIX}owner"


def labelled(labels: Mapping[str, str], owner: str, **ours: str) -> dict[str, str]:
    """The agent's labels and our own."""
    return {**labels, OWNER: owner, **{f"{PREFIX}{name}": value for name, value in ours.items()}}


def ours(labels: Mapping[str, str], name: str) -> str:
    """One of our own labels; empty when it is not there."""
    return labels.get(f"{PREFIX}{name}", "")


def visible(labels: Mapping[str, str]) -> dict[str, str]:
    """What the agent gave."""
    return {name: value for name, value in labels.items() if not name.startswith(PREFIX)}
