"""Figures of the machine, as plain values. CPU in thousandths, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node is made of. swap: bytes, 0 for none."""

    cpu: int
    memory: int
    disk: int = 0
    pids: int = 0
    huge_pages: dict[str, int] = field(default_factory=dict)
    architecture: str = ""
    operating_system: str = "linux"
    kernel: str = ""
    os_image: str = ""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    swap: int = 0


@dataclass(frozen=True, slots=True)
class Pressure:
    """How much is left at present: bytes and counts. Of the agent's own file system and the runtime's images."""

    memory_available: int = 0
    memory_capacity: int = 0
    disk_available: int = 0
    disk_capacity: int = 0
    inodes_free: int = 0
    inodes: int = 0
    image_available: int = 0
    image_capacity: int = 0
    image_inodes_free: int = 0
    image_inodes: int = 0
    pids_available: int = 0
    pids_capacity: int = 0
