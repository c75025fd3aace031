"""Sandboxes of the process runtime: shared namespaces, and the files that tell containers who and where they are."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from node_agent.runtime.errors import CannotCreate, CannotStart, RuntimeFault
from node_agent.runtime.process import namespaces, pid_holder, sandbox_files
from node_agent.runtime.process.node import ProcessNode, boot_id
from node_agent.runtime.process.records import SandboxRecord
from node_agent.runtime.types import EventType, Sandbox, SandboxConfig, selected


class SandboxCalls(ProcessNode):
    """See interface.Sandboxes."""

    async def run_sandbox(self, config: SandboxConfig) -> str:
        identity = secrets.token_hex(32)
        folder = self.root / "sandboxes" / identity
        record = SandboxRecord(identity, config, time.time(), folder, boot=boot_id())
        try:
            await self._make(record)
        except BaseException as problem:
            await pid_holder.let_go(record.folder)
            await self.in_thread(self._unmake, record)
            if isinstance(problem, OSError):
                raise CannotCreate(
                    f"sandbox of pod {config.name}: {problem.filename or ''} {problem.strerror or problem}".strip(),
                    "CreatePodSandboxError",
                ) from problem
            raise
        self.sandboxes[identity] = record
        self.tell(EventType.STARTED, identity)
        return identity

    async def _make(self, record: SandboxRecord) -> None:
        config = record.config
        (record.folder / "ns").mkdir(parents=True, mode=0o711)
        if config.log_directory:
            Path(config.log_directory).mkdir(parents=True, exist_ok=True)
        kinds = self._kinds(config)
        if kinds:
            await self._make_namespaces(record, kinds)
        if config.share_process_namespace and not config.host_pid:
            await self._share_processes(record)
        if "net" in record.namespaces and self.network is not None:
            record.ips = await self.network.attach(record.id, record.netns, config)
        await self.in_thread(self._write_files, record)
        await self.in_thread(record.save)

    def _kinds(self, config: SandboxConfig) -> list[str]:
        kinds = ["ipc"] if self.able.shared and not config.host_ipc else []
        if self.able.shared and (config.hostname or not config.host_network):
            kinds.append("uts")
        if not config.host_network:
            if not self.able.network:
                raise CannotCreate(
                    "this machine allows no network namespaces: use hostNetwork", "CreatePodSandboxError"
                )
            kinds.append("net")
        return kinds

    async def _make_namespaces(self, record: SandboxRecord, kinds: list[str]) -> None:
        config = record.config
        request = {"kinds": kinds, "hostname": config.hostname or config.name, "sysctls": dict(config.sysctls)}
        try:
            await namespaces.make_in_thread(str(record.folder / "ns"), request)
        except OSError as problem:
            raise CannotCreate(f"namespaces of pod {config.name}: {problem}", "CreatePodSandboxError") from problem
        record.namespaces = {kind: str(record.folder / "ns" / kind) for kind in kinds}

    async def _share_processes(self, record: SandboxRecord) -> None:
        if not self.able.pids or self.able.user:
            raise CannotCreate(
                "this machine allows no shared process namespace: it needs root", "CreatePodSandboxError"
            )
        try:
            record.namespaces["pid"] = await pid_holder.hold(record.folder, user=self.able.user)
        except CannotStart as problem:
            raise CannotCreate(f"shareProcessNamespace: {problem}", "CreatePodSandboxError") from problem

    def _write_files(self, record: SandboxRecord) -> None:
        config = record.config
        name = config.hostname or ("" if "uts" in record.namespaces else socket.gethostname()) or config.name
        files = {
            "hosts": sandbox_files.hosts(config, record.ips, name),
            "resolv.conf": sandbox_files.resolv_conf(config.dns, _machines("/etc/resolv.conf")),
            "hostname": f"{name}\n",
        }
        for file, text in files.items():
            path = record.folder / file
            path.write_text(text)
            path.chmod(0o644)

    def _unmake(self, record: SandboxRecord) -> None:
        namespaces.release(str(record.folder / "ns"))
        self.discard(record.folder)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        record = self.sandboxes.get(sandbox_id)
        if record is None or record.stopped:
            return
        await asyncio.gather(*(self.end_container(each.id, 0.0) for each in self.within(sandbox_id)))
        if record.netns and self.network is not None:
            await self.network.detach(sandbox_id, record.netns)
        await pid_holder.let_go(record.folder)
        record.stopped = True
        await self.in_thread(namespaces.release, str(record.folder / "ns"))
        with contextlib.suppress(OSError):
            await self.in_thread(record.save)
        self.tell(EventType.STOPPED, sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        record = self.sandboxes.get(sandbox_id)
        if record is None:
            return
        await self.stop_sandbox(sandbox_id)
        await asyncio.gather(*(self.forget_container(each.id) for each in self.within(sandbox_id)))
        if record.netns and self.network is not None:
            await self.network.detach(sandbox_id, record.netns)  # again: the machine may have been restarted in between
        self.sandboxes.pop(sandbox_id, None)
        await self.in_thread(self._unmake, record)
        self.tell(EventType.DELETED, sandbox_id)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[Sandbox]:
        found = [each.show() for each in self.sandboxes.values() if selected(each.config.labels, labels)]
        return sorted(found, key=lambda each: each.created_at)

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        return self.sandbox(sandbox_id).show()

    async def end_container(self, container_id: str, grace: float) -> None:
        raise RuntimeFault("containers are container_calls.py's")

    async def forget_container(self, container_id: str) -> None:
        raise RuntimeFault("containers are container_calls.py's")


def _machines(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
