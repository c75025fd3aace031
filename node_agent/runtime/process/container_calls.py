"""Containers of the process runtime: their files, their shims, their ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from node_agent.runtime.errors import CannotCreate, CannotStart, NotRunning, RuntimeUnavailable, Unsupported
from node_agent.runtime.image_store.store import StoredImage, copy_tree, disk_usage
from node_agent.runtime.present import replace_file
from node_agent.runtime.process import plan
from node_agent.runtime.process.image_calls import ImageCalls
from node_agent.runtime.process.records import ContainerRecord, SandboxRecord
from node_agent.runtime.process.sandbox_calls import SandboxCalls
from node_agent.runtime.process.shim_link import start_shim, tell, to_its_end
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    EventType,
    Resources,
    selected,
)

_KILL_SECONDS = 10.0
_USAGE_SECONDS = 60.0


class ContainerCalls(ImageCalls, SandboxCalls):
    """See interface.Containers."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._disk: dict[str, tuple[float, int, int]] = {}

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self.sandbox(sandbox_id)
        if sandbox.stopped:
            raise CannotCreate(f"sandbox {sandbox_id[:12]} does not run any more")
        image = await self.with_images(self.stored, config.image)
        identity = secrets.token_hex(32)
        folder = self.root / "containers" / identity
        directory = sandbox.config.log_directory
        log = str(Path(directory) / config.log_path) if directory and config.log_path else ""
        record = ContainerRecord(
            identity, sandbox_id, config, image.id, time.time(), folder, log, image.config.stop_signal
        )
        try:
            await to_its_end(self.in_thread(self._make_files, record, sandbox, image))
        except BaseException as problem:
            await self.in_thread(self.discard, folder)
            if isinstance(problem, OSError):
                raise CannotCreate(f"container {config.name}: {problem.strerror or problem}") from problem
            raise
        self.containers[identity] = record
        self.tell(EventType.CREATED, sandbox_id, identity)
        return identity

    def _make_files(self, record: ContainerRecord, sandbox: SandboxRecord, image: StoredImage) -> None:
        for name in ("upper", "work", "root"):
            (record.folder / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        record.folder.chmod(0o711)
        if not self.able.overlay and self.able.mounts and image.config.host != "/":
            copy_tree(image.tree, record.folder / "root")
        elif image.tree.is_dir():
            known = image.tree.stat()
            (record.folder / "upper").chmod(known.st_mode & 0o7777)
        spec = plan.container_spec(
            record.config,
            image.config,
            self._places(record, sandbox, image),
            self._shared(sandbox, record.config.target),
            self.able,
            [str(folder) for folder in self.cgroups.folders(record.id)],
            self.cgroups.oom_file(record.id),
        )
        replace_file(record.folder / "spec.json", json.dumps(spec))
        record.save()

    def _places(self, record: ContainerRecord, sandbox: SandboxRecord, image: StoredImage) -> plan.Places:
        folder = record.folder
        return plan.Places(
            lower=str(image.tree),
            upper=str(folder / "upper"),
            work=str(folder / "work"),
            target=str(folder / "root"),
            sandbox=str(sandbox.folder),
            log=record.log_path,
        )

    def _shared(self, sandbox: SandboxRecord, target: str) -> plan.Shared:
        namespaces = dict(sandbox.namespaces)
        if target and self.able.pids and "pid" not in namespaces and not sandbox.config.host_pid:
            namespaces["pid"] = self._processes_of(target)
        return plan.Shared(
            namespaces=namespaces,
            own_network=bool(sandbox.netns),
            host_pid=sandbox.config.host_pid,
            hostname=(sandbox.folder / "hostname").read_text().strip(),
        )

    def _processes_of(self, container_id: str) -> str:
        """The PID namespace of a container that runs."""
        if self.able.user:
            raise CannotCreate("without root, no container can see the processes of another")
        record = self.container(container_id)
        if record.phase is not ContainerState.RUNNING:
            raise CannotCreate(f"target container {container_id[:12]} does not run")
        return f"/proc/{record.state['pid']}/ns/pid"

    async def start_container(self, container_id: str) -> None:
        await to_its_end(self._start(self.container(container_id)))

    async def _start(self, record: ContainerRecord) -> None:
        async with record.starting:
            await self._look_again(record)
            if record.phase is not ContainerState.CREATED:
                raise CannotStart(f"container {record.id[:12]} was started before: make a new one")
            try:
                await self.in_thread(self.cgroups.create, record.id, record.config.resources)
                await start_shim(record.folder)
            except (OSError, CannotStart) as problem:
                await self.in_thread(self._refused, record, str(problem))
                raise CannotStart(f"failed to start container {record.config.name!r}: {problem}") from problem
            await self.in_thread(record.read_state)
            self.watch(record)
        self.tell(EventType.STARTED, record.sandbox_id, record.id)

    async def _look_again(self, record: ContainerRecord) -> None:
        """An agent that ended while it started this one knew it as created, and so did who came after it."""
        if record.phase is not ContainerState.CREATED:
            return
        await self.in_thread(record.read_state)
        match record.phase:
            case ContainerState.RUNNING:
                self.watch(record)
            case ContainerState.EXITED:
                record.ended.set()

    def _refused(self, record: ContainerRecord, message: str) -> None:
        record.read_state()
        if record.phase is not ContainerState.EXITED:
            record.write_state(status="exited", code=128, finished_at=time.time(), refused=message)
        self.cgroups.remove(record.id)
        record.ended.set()

    async def stop_container(self, container_id: str, grace: float) -> None:
        await self.end_container(container_id, grace)

    async def end_container(self, container_id: str, grace: float) -> None:
        record = self.containers.get(container_id)
        if record is None:
            return
        async with record.starting:
            await self._look_again(record)
            if record.phase is ContainerState.CREATED:
                # First: if this call is broken off while it writes, nobody else would set it.
                record.ended.set()
                await self.in_thread(
                    record.write_state, status="exited", code=137, finished_at=time.time(), message="never started"
                )
        if record.ended.is_set():
            return
        if grace > 0:
            await self._signal(record, _number(record.stop_signal))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await record.ended.wait()
        if not record.ended.is_set():
            await self._kill(record)

    async def _kill(self, record: ContainerRecord) -> None:
        await self._signal(record, signal.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await record.ended.wait()
        except TimeoutError as problem:
            raise RuntimeUnavailable(
                f"container {record.config.name!r} does not end although it was killed (waiting for a disk?)"
            ) from problem

    async def _signal(self, record: ContainerRecord, number: int) -> None:
        with contextlib.suppress(NotRunning):
            await tell(record.folder, b"K", {"signal": int(number)})

    async def remove_container(self, container_id: str) -> None:
        await self.forget_container(container_id)

    async def forget_container(self, container_id: str) -> None:
        await self.end_container(container_id, 0.0)
        record = self.containers.pop(container_id, None)
        if record is None:
            return
        self._disk.pop(container_id, None)
        await self.in_thread(self.cgroups.remove, container_id)
        await self.in_thread(self.discard, record.folder)
        self.tell(EventType.DELETED, record.sandbox_id, container_id)

    async def list_containers(self, sandbox_id: str = "", labels: Mapping[str, str] | None = None) -> list[Container]:
        chosen = self.within(sandbox_id) if sandbox_id else list(self.containers.values())
        found = [each.show() for each in chosen if selected(each.config.labels, labels)]
        return sorted(found, key=lambda each: each.created_at)

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self.container(container_id).status()

    async def container_statuses(self) -> list[ContainerStatus]:
        return [each.status() for each in self.containers.values()]

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        record = self.container(container_id)
        if not self.cgroups.layout.v1 and self.cgroups.layout.v2 is None:
            raise Unsupported(f"no limits can be set: {'; '.join(self.cgroups.layout.lacks)}")
        if record.phase is ContainerState.RUNNING:
            try:
                await self.in_thread(self.cgroups.limit, record.id, resources)
            except OSError as problem:
                raise Unsupported(f"limits of {record.config.name!r} were refused: {problem}") from problem

    async def reopen_log(self, container_id: str) -> None:
        await tell(self.running(container_id).folder, b"L")

    async def stats(self) -> list[ContainerStats]:
        running = [each for each in self.containers.values() if each.phase is ContainerState.RUNNING]
        return await self.in_thread(lambda: [self._usage(each) for each in running])

    def _usage(self, record: ContainerRecord) -> ContainerStats:
        usage = self.cgroups.usage(record.id)
        used, inodes = self._disk_of(record)
        return ContainerStats(
            id=record.id,
            sandbox_id=record.sandbox_id,
            name=record.config.name,
            at=time.time(),
            cpu_nanoseconds=usage.cpu if usage else 0,
            memory_working_set=usage.working_set if usage else 0,
            memory_usage=usage.memory if usage else 0,
            memory_rss=usage.rss if usage else 0,
            fs_used=used,
            fs_inodes=inodes,
            pids=usage.pids if usage else 0,
            labels=record.config.labels,
        )

    def _disk_of(self, record: ContainerRecord) -> tuple[int, int]:
        """Walking a writable layer may take long, so it is done once a minute."""
        at, used, inodes = self._disk.get(record.id, (-_USAGE_SECONDS, 0, 0))
        if time.monotonic() - at >= _USAGE_SECONDS:
            folder = record.folder / ("upper" if self.able.overlay else "root")
            used, inodes = disk_usage(folder)
            self._disk[record.id] = (time.monotonic(), used, inodes)
        return used, inodes


def _number(name: str) -> int:
    """The image's stop signal, by name or number; SIGTERM when it is neither."""
    if name.isdecimal() and 0 < int(name) < signal.NSIG:
        return int(name)
    whole = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    return int(getattr(signal, whole, signal.SIGTERM)) if name else int(signal.SIGTERM)
