"""What the process runtime remembers of a sandbox or container, in memory and as one JSON file each.

The configuration is written once, by the agent; `state.json` beside it belongs to the shim while that runs.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from node_agent.runtime.present import replace_file, text_if_there
from node_agent.runtime.stored import container_config, sandbox_config
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    Sandbox,
    SandboxConfig,
    SandboxState,
)

FILE = "record.json"
LOST = 137


@dataclass(slots=True)
class SandboxRecord:
    id: str
    config: SandboxConfig
    created_at: float
    folder: Path
    namespaces: dict[str, str] = field(default_factory=dict)
    ips: tuple[str, ...] = ()
    stopped: bool = False
    boot: str = ""

    @property
    def netns(self) -> str:
        return self.namespaces.get("net", "")

    def save(self) -> None:
        document = {
            "id": self.id,
            "config": asdict(self.config),
            "created_at": self.created_at,
            "namespaces": self.namespaces,
            "ips": self.ips,
            "stopped": self.stopped,
            "boot": self.boot,
        }
        replace_file(self.folder / FILE, json.dumps(document))

    def show(self) -> Sandbox:
        config = self.config
        return Sandbox(
            id=self.id,
            name=config.name,
            namespace=config.namespace,
            uid=config.uid,
            attempt=config.attempt,
            state=SandboxState.NOT_READY if self.stopped else SandboxState.READY,
            created_at=self.created_at,
            ips=() if self.stopped else self.ips,
            netns="" if self.stopped else self.netns,
            sealed=tuple(sorted(self.namespaces)),
            log_directory=config.log_directory,
            labels=config.labels,
            annotations=config.annotations,
        )


@dataclass(slots=True)
class ContainerRecord:
    """`state` is what the shim says. `ended` is set once it has ended; `starting` keeps start and removal apart."""

    id: str
    sandbox_id: str
    config: ContainerConfig
    image_id: str
    created_at: float
    folder: Path
    log_path: str
    stop_signal: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    def save(self) -> None:
        document = {
            "id": self.id,
            "sandbox_id": self.sandbox_id,
            "config": asdict(self.config),
            "image_id": self.image_id,
            "created_at": self.created_at,
            "log_path": self.log_path,
            "stop_signal": self.stop_signal,
        }
        replace_file(self.folder / FILE, json.dumps(document))

    def read_state(self) -> None:
        """What the shim has written so far. Raises RuntimeUnavailable: it is there and cannot be read now."""
        try:
            found = json.loads(text_if_there(self.folder / "state.json") or "")
        except ValueError:
            return
        if isinstance(found, dict):
            self.state = found

    def write_state(self, **changes: Any) -> None:
        """In the shim's place, when it is gone."""
        self.state = {**self.state, **changes}
        replace_file(self.folder / "state.json", json.dumps(self.state))

    @property
    def phase(self) -> ContainerState:
        match self.state.get("status"):
            case "running":
                return ContainerState.RUNNING
            case "exited":
                return ContainerState.EXITED
            case _:
                return ContainerState.CREATED

    def show(self) -> Container:
        return Container(
            id=self.id,
            sandbox_id=self.sandbox_id,
            name=self.config.name,
            attempt=self.config.attempt,
            image=self.config.image,
            image_id=self.image_id,
            state=self.phase,
            created_at=self.created_at,
            labels=self.config.labels,
            annotations=self.config.annotations,
        )

    def status(self) -> ContainerStatus:
        state = self.state
        exited = self.phase is ContainerState.EXITED
        return ContainerStatus(
            container=self.show(),
            started_at=state.get("started_at", 0.0),
            finished_at=state.get("finished_at", 0.0) if exited else 0.0,
            exit_code=state.get("code", 0) if exited else 0,
            reason=self._reason() if exited else "",
            message=state.get("refused", "") or state.get("message", ""),
            log_path=self.log_path,
            pid=0 if exited else state.get("pid", 0),
            mounts=self.config.mounts,
        )

    def _reason(self) -> str:
        if self.state.get("refused") is not None:
            return "StartError"
        if self.state.get("lost"):
            return "ContainerStatusUnknown"
        if self.state.get("oom"):
            return "OOMKilled"
        return "Error" if self.state.get("code") else "Completed"


def load_sandbox(folder: Path) -> SandboxRecord:
    """Raises OSError, ValueError, KeyError, TypeError when the file is missing or not ours."""
    found = json.loads((folder / FILE).read_text())
    return SandboxRecord(
        id=found["id"],
        config=sandbox_config(found["config"]),
        created_at=found["created_at"],
        folder=folder,
        namespaces=found["namespaces"],
        ips=tuple(found["ips"]),
        stopped=found["stopped"],
        boot=found["boot"],
    )


def load_container(folder: Path) -> ContainerRecord:
    """As load_sandbox; with the shim's last word. Raises RuntimeUnavailable, too: that cannot be read now."""
    found = json.loads((folder / FILE).read_text())
    record = ContainerRecord(
        id=found["id"],
        sandbox_id=found["sandbox_id"],
        config=container_config(found["config"]),
        image_id=found["image_id"],
        created_at=found["created_at"],
        folder=folder,
        log_path=found["log_path"],
        stop_signal=found["stop_signal"],
    )
    record.read_state()
    return record
