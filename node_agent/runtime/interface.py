"""The one interface between the node agent and whatever runs containers.

Promises of every runtime (tests/runtime_conformance holds all four to them):

* Nothing blocks the loop. Every call is cancellable; a cancelled call may or may not have happened, and repeating it
  is safe.
* Stop and remove are idempotent: what is not there any more counts as done. Everything else raises NotFound.
* Containers outlive the agent and, where they can, the runtime's daemon. A runtime object that is made anew over the
  same state finds all of its sandboxes and containers again, and none that are someone else's.
* `close` lets go without touching a container.
* Exited containers, their codes and times are kept until `remove_container`.
* Log lines are in the CRI's format, `<RFC 3339 time with nanoseconds> stdout|stderr F|P <text>`; rotation is: the
  agent renames the file, then calls `reopen_log`.
* Errors are those of errors.py and none else; a daemon that is away is RuntimeUnavailable, never a hang (each call
  has a deadline).

Networks: a sandbox with `host_network` has the node's. Otherwise the runtime makes a network namespace, and
`Network.attach` gives it addresses; a runtime that has a network of its own (docker, cri) ignores `Network`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from node_agent.runtime.streams import ByteStream, ProcessStream
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerStats,
    ContainerStatus,
    Credentials,
    ExecResult,
    FsUsage,
    Health,
    Image,
    Resources,
    RuntimeEvent,
    Sandbox,
    SandboxConfig,
    Version,
)


class Network(Protocol):
    """Who gives addresses to sandboxes that have a network of their own; idempotent per sandbox id, survives
    restarts.
    """

    async def attach(self, sandbox_id: str, netns: str, config: SandboxConfig) -> tuple[str, ...]:
        """Bring the namespace at path `netns` onto the network: its addresses, the first one is the pod's.

        Raises CannotCreate when it can have none.
        """
        ...

    async def detach(self, sandbox_id: str, netns: str) -> None:
        """Give its addresses back. Nothing happens when it has none; the namespace may be gone already."""
        ...


class Images(Protocol):
    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        """Have the image on this node: its id. Raises ImageNotFound, InvalidImageName, PullFailed.

        `process` has no registry: it takes what was loaded (or waits in its image folder), else ImageNotFound.
        """
        ...

    async def load_image(self, archive: Path) -> tuple[str, ...]:
        """Take a docker-archive or OCI tar: the names it has now. Raises BadArchive, PullFailed (disk full)."""
        ...

    async def list_images(self) -> list[Image]: ...

    async def image_status(self, name: str) -> Image | None:
        """By tag, digest or id; None: it is not here."""
        ...

    async def remove_image(self, name: str) -> None:
        """By tag (removes just the tag while there are others) or by id. Raises ImageInUse."""
        ...

    async def image_fs(self) -> FsUsage: ...


class Sandboxes(Protocol):
    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make and start what the containers of a pod share: its id. Raises CannotCreate."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it, give its network back. Idempotent."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Forget it and all of its containers, stopped first if they run. Idempotent."""
        ...

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[Sandbox]:
        """All, or those that have all of these labels; oldest first."""
        ...

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        """Raises NotFound."""
        ...


class Containers(Protocol):
    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        """Make a container that does not run yet: its id. Raises NotFound, ImageNotFound, CannotCreate."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Returns when its program runs (has been exec'd). Raises NotFound, CannotStart."""
        ...

    async def stop_container(self, container_id: str, grace: float) -> None:
        """SIGTERM (or the image's stop signal), SIGKILL after `grace` seconds; returns when it has ended. Idempotent.

        A second call with a shorter grace shortens the first one's.
        """
        ...

    async def remove_container(self, container_id: str) -> None:
        """Forget it, killed first if it runs. Its log stays. Idempotent."""
        ...

    async def list_containers(self, sandbox_id: str = "", labels: Mapping[str, str] | None = None) -> list[Container]:
        """All, of one sandbox, with these labels; oldest first."""
        ...

    async def container_status(self, container_id: str) -> ContainerStatus:
        """Raises NotFound."""
        ...

    async def container_statuses(self) -> list[ContainerStatus]:
        """The status of every container, in one go: what the agent asks each time it looks around."""
        ...

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Change the limits of a container that is there. Raises NotFound, Unsupported."""
        ...

    async def reopen_log(self, container_id: str) -> None:
        """Open the log's path anew, after it was renamed. Raises NotFound, NotRunning."""
        ...

    async def stats(self) -> list[ContainerStats]:
        """What the running containers use."""
        ...


class Streams(Protocol):
    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0.0) -> ExecResult:
        """Run a command inside, with its output, of which the first 16 MiB are kept. `timeout` in seconds, 0: none.

        A command that cannot be started has exit code 126 or 127, as in a shell, and says why on stderr.
        Raises NotFound, NotRunning, ExecTimeout.
        """
        ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ProcessStream:
        """Run a command inside with its streams open. Raises NotFound, NotRunning."""
        ...

    async def attach(self, container_id: str, *, stdin: bool = False) -> ProcessStream:
        """The container's own streams from now on. Raises NotFound, NotRunning."""
        ...

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        """A TCP connection to 127.0.0.1:port within the sandbox. Raises NotFound, NotRunning, ConnectionError
        (OSError).
        """
        ...


class Runtime(Images, Sandboxes, Containers, Streams, Protocol):
    """What node_agent/runtime/{process,docker,cri,simulated} are."""

    async def open(self) -> None:
        """Get ready: connect, find what is there. May be called again after RuntimeUnavailable."""
        ...

    async def close(self) -> None: ...

    async def version(self) -> Version:
        """Raises RuntimeUnavailable."""
        ...

    async def health(self) -> Health:
        """Never raises: a runtime that is away is not ready."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """From now on, until closed. A runtime that has no events of its own ends it at once; the agent polls anyway.

        Ends when events were lost (daemon restarted, reader too slow): look at everything, then ask again.
        """
        ...
