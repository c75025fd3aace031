"""The file that remembers which sandbox has which address and host ports, and on which bridge they are."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from node_agent.network.pods.leases import Leases
from node_agent.runtime.types import PortMapping


class Ledger:
    """The file. Faults assumed: the machine stops at any moment; a file that cannot be read counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.bridge = ""  # its name; "": not written down yet
        self.ranges: list[str] = []
        self.leases = Leases()
        self.ports: dict[str, tuple[PortMapping, ...]] = {}  # host ports by sandbox

    def load(self) -> None:
        try:
            content = json.loads(self._path.read_text())
            self.ranges = [str(each) for each in content["ranges"]]
            held = {str(k): tuple(map(str, v)) for k, v in content["held"].items()}
            self.leases = Leases(held, tuple(map(str, content["freed"])))
            self.bridge = str(content.get("bridge") or "")
            self.ports = {str(k): tuple(PortMapping(**each) for each in v) for k, v in content["ports"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.ranges, self.leases, self.ports, self.bridge = [], Leases(), {}, ""

    def save(self) -> None:
        """Whole or not at all. Raises OSError."""
        ports = {sandbox: [asdict(each) for each in mappings] for sandbox, mappings in self.ports.items()}
        held = dict(self.leases.held)
        content = {
            "bridge": self.bridge,
            "ranges": self.ranges,
            "held": held,
            "freed": self.leases.freed,
            "ports": ports,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.new")
        with temporary.open("w") as file:
            json.dump({**content, "ports": ports}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
