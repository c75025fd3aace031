"""What the calls of the process runtime stand on: its folders, its records, what the machine allows, its events.

lock                  one agent at a time
sandboxes/<id>/       record.json, ns/, and the files for /etc
containers/<id>/      record.json, spec.json, state.json, shim.sock, and the root file system
images/ …             see image_store/store.py
trash/                what is being removed; emptied at the next start
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

from node_agent.runtime.errors import NotFound, NotRunning, RuntimeUnavailable
from node_agent.runtime.events import EventQueues
from node_agent.runtime.image_store.store import ImageStore
from node_agent.runtime.image_store.unpack import remove_tree
from node_agent.runtime.interface import Network
from node_agent.runtime.process import namespaces, pid_holder
from node_agent.runtime.process.abilities import Abilities, abilities
from node_agent.runtime.process.cgroups import Cgroups, Layout, find_layout
from node_agent.runtime.process.records import (
    LOST,
    ContainerRecord,
    SandboxRecord,
    load_container,
    load_sandbox,
)
from node_agent.runtime.process.shim_link import ShimLink, program
from node_agent.runtime.types import ContainerState, EventType, RuntimeEvent

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_LOCK_SECONDS = 15.0
_THREADS, _IMAGE_THREADS = 8, 2
# Seconds until a shim that could not be asked is asked again: at first, and at most.
_SOON, _LATER = 0.05, 5.0


class ProcessNode:
    """`root` is the runtime's folder. `network` gives addresses to sandboxes that do not want the node's."""

    def __init__(self, root: Path, network: Network | None = None) -> None:
        self.root = root.absolute()
        self.network = network
        self.images = ImageStore(self.root)
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self.able = Abilities()
        self.cgroups = Cgroups(Layout())
        self._events = EventQueues()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._lock: IO[str] | None = None
        self._make_pools()

    def _make_pools(self) -> None:
        """Images may take minutes; what containers need must not wait behind them."""
        self._quick = ThreadPoolExecutor(_THREADS, thread_name_prefix="containers")
        self._slow = ThreadPoolExecutor(_IMAGE_THREADS, thread_name_prefix="images")

    # opening and closing

    async def open_node(self) -> None:
        """Raises RuntimeUnavailable: another agent has the folder, or the disk refuses."""
        try:
            await self.in_thread(self._make_folders)
            await self._take_lock()
            await self._look_at_machine()
            await self.in_thread(self._load)
            await self._empty_trash()
        except OSError as problem:
            raise RuntimeUnavailable(f"{problem.filename or self.root}: {problem.strerror or problem}") from problem
        for record in self.containers.values():
            if record.phase is ContainerState.RUNNING:
                self.watch(record)
            elif record.phase is ContainerState.EXITED:
                record.ended.set()

    def close_node(self) -> None:
        for task in self._watches.values():
            task.cancel()
        self._watches.clear()
        self._events.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._quick.shutdown(wait=False)
        self._slow.shutdown(wait=False)
        self._make_pools()

    def _make_folders(self) -> None:
        for name in ("sandboxes", "containers", "trash"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o711)
        self.images.prepare()

    async def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = open(self.root / "lock", "w", encoding="ascii")  # noqa: SIM115  held while the runtime is open
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._lock = lock
                return
            except OSError:
                if time.monotonic() > deadline:
                    lock.close()
                    raise RuntimeUnavailable(f"{self.root} is used by another agent: stop that one first") from None
                await asyncio.sleep(0.05)

    async def _look_at_machine(self) -> None:
        folder = self.root / "trash" / "probe"
        folder.mkdir(exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *program("node_agent.runtime.process.probe", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise RuntimeUnavailable(
                f"what this machine allows cannot be found out: {err.decode(errors='replace')[-500:]}"
            )
        self.able = abilities(json.loads(out), root=os.geteuid() == 0)
        self.cgroups = Cgroups(await self.in_thread(lambda: find_layout(Path("/proc/self/mountinfo").read_text())))

    def _load(self) -> None:
        boot = boot_id()
        for folder in (self.root / "sandboxes").iterdir():
            sandbox = self._loaded(load_sandbox, folder)
            if sandbox is not None:
                sandbox.stopped = sandbox.stopped or sandbox.boot != boot
                self.sandboxes.setdefault(sandbox.id, sandbox)
        for folder in (self.root / "containers").iterdir():
            container = self._loaded(load_container, folder)
            if container is not None:
                self.containers.setdefault(container.id, container)

    def _loaded(self, load: Callable[[Path], _T], folder: Path) -> _T | None:
        """None: made half when the agent was killed. A file that is there and cannot be read now is no such case."""
        try:
            return load(folder)
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as problem:
            _log.warning("%s is not complete and is removed: %s", folder, problem)
            self._to_trash(folder)
            return None

    async def _empty_trash(self) -> None:
        for left in await self.in_thread(lambda: list((self.root / "trash").iterdir())):
            try:
                await self._clear_away(left)
            except (OSError, RuntimeUnavailable) as problem:
                # It is in nobody's way, and the next start tries again.
                _log.warning("%s is left over and cannot be removed: %s", left, problem)

    async def _clear_away(self, folder: Path) -> None:
        """Of an agent that was killed: namespaces may still be mounted in a sandbox's folder, and hold a process."""
        await pid_holder.let_go(folder)
        await self.in_thread(namespaces.release, str(folder / "ns"))
        await self.in_thread(remove_tree, str(folder))

    # watching

    def watch(self, record: ContainerRecord) -> None:
        """Know when it ends: its shim says so, or is gone."""
        task = asyncio.create_task(self._watch(record), name=f"container {record.id[:12]}")
        self._watches[record.id] = task
        task.add_done_callback(lambda _: self._watches.pop(record.id, None))

    async def _watch(self, record: ContainerRecord) -> None:
        pause = _SOON
        while not await self._has_ended(record):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATER)
        record.ended.set()
        self.tell(EventType.STOPPED, record.sandbox_id, record.id)

    async def _has_ended(self, record: ContainerRecord) -> bool:
        """Wait for it, and note it. False: what became of it cannot be known now."""
        try:
            if not await _heard_of_end(record):
                return False
            if record.id in self.containers:
                await self.in_thread(self._note_end, record)
        except RuntimeUnavailable as problem:
            _log.warning("container %s is asked again: %s", record.id[:12], problem)
            return False
        return True

    def _note_end(self, record: ContainerRecord) -> None:
        record.read_state()
        if record.phase is not ContainerState.EXITED:
            message = "the container's shim was killed, or the machine was restarted"
            record.write_state(status="exited", code=LOST, lost=True, finished_at=time.time(), message=message)
        self.cgroups.remove(record.id)

    # for the calls

    async def in_thread(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._quick, partial(call, *args, **kwargs))

    async def with_images(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """In a thread for what may load or remove images."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, partial(call, *args, **kwargs))

    def events(self) -> AsyncIterator[RuntimeEvent]:
        return self._events.subscribe()

    def tell(self, type_: EventType, sandbox: str, container: str = "") -> None:
        self._events.put(RuntimeEvent(type_, sandbox, container, time.time()))

    def sandbox(self, sandbox_id: str) -> SandboxRecord:
        found = self.sandboxes.get(sandbox_id)
        if found is None:
            raise NotFound(f"sandbox {sandbox_id[:12]} is not there")
        return found

    def container(self, container_id: str) -> ContainerRecord:
        found = self.containers.get(container_id)
        if found is None:
            raise NotFound(f"container {container_id[:12]} is not there")
        return found

    def running(self, container_id: str) -> ContainerRecord:
        found = self.container(container_id)
        if found.phase is not ContainerState.RUNNING:
            raise NotRunning(f"container {container_id[:12]} does not run")
        return found

    def within(self, sandbox_id: str) -> list[ContainerRecord]:
        return [each for each in self.containers.values() if each.sandbox_id == sandbox_id]

    def discard(self, folder: Path) -> None:
        """Remove a folder so that half of it is never taken for the whole."""
        trash = self._to_trash(folder)
        if trash is not None:
            remove_tree(str(trash))

    def _to_trash(self, folder: Path) -> Path | None:
        """Where it is now; None: it was not there. What is mounted below it moves along."""
        trash = self.root / "trash" / f"{folder.name}-{time.monotonic_ns()}"
        try:
            os.rename(folder, trash)
        except FileNotFoundError:
            return None
        return trash


async def _heard_of_end(record: ContainerRecord) -> bool:
    """Wait for it. False: the shim went silent, which says nothing of the container; nor does RuntimeUnavailable."""
    try:
        link = await ShimLink.open(record.folder)
    except NotRunning:
        return True
    try:
        await link.send(b"W")
        while (message := await link.receive()) is not None:
            if message[0] == b"X":
                return True
    except (NotRunning, RuntimeUnavailable):
        pass
    finally:
        link.close()
    return False


def boot_id() -> str:
    """Which start of the machine this is: namespaces and processes of another one are gone."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
