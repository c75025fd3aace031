"""Images of a Docker engine."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import Any

from node_agent.runtime import pause
from node_agent.runtime.docker import messages
from node_agent.runtime.docker.engine import CallFailed, Engine
from node_agent.runtime.errors import (
    BadArchive,
    CannotCreate,
    ImageInUse,
    ImageNotFound,
    NotFound,
    PullFailed,
    RuntimeUnavailable,
)
from node_agent.runtime.image_names import normalised
from node_agent.runtime.image_store.bounds import DEFAULT_BOUNDS
from node_agent.runtime.image_store.convert import docker_form
from node_agent.runtime.image_store.names import archived_names
from node_agent.runtime.types import Credentials, FsUsage, Image

_USAGE_SECONDS = 60.0
_MISSING = ("not found", "does not exist", "access denied", "manifest unknown")


class ImageCalls:
    """See interface.Images. `owner`: the node's name; see ownership.py."""

    def __init__(self, endpoint: str, owner: str) -> None:
        self.engine = Engine(endpoint)
        self.owner = owner
        self._pause = ""
        self._used: tuple[float, int] = (-_USAGE_SECONDS, 0)

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        repository, tag = _split(normalised(name))
        auth = {"username": credentials.username, "password": credentials.password} if credentials else None
        if credentials and credentials.identity_token:
            auth = {"identitytoken": credentials.identity_token}
        try:
            await self.engine.call(lambda api: _pull(api, repository, tag, auth))
        except (NotFound, CallFailed) as problem:
            text = str(problem)
            if isinstance(problem, NotFound) or any(words in text for words in _MISSING):
                raise ImageNotFound(f'image "{name}" not found: {text}') from problem
            raise PullFailed(f'image "{name}" cannot be pulled: {text}') from problem
        image = await self.image_status(name)
        if image is None:
            raise PullFailed(f'image "{name}" was pulled but is not there: removed meanwhile?')
        return image.id

    async def load_image(self, archive: Path) -> tuple[str, ...]:
        names = await asyncio.to_thread(archived_names, archive, DEFAULT_BOUNDS)
        try:
            await self.engine.call(lambda api: _load(api, archive))
        except OSError as problem:
            raise PullFailed(f"{archive}: {problem.strerror or problem}") from problem
        except CallFailed as problem:
            raise BadArchive(f"{archive}: docker refuses it: {problem}") from problem
        return names

    async def list_images(self) -> list[Image]:
        found = await self.engine.call(lambda api: api.images())
        return [messages.image_value(each) for each in found]

    async def image_status(self, name: str) -> Image | None:
        wanted = name if name.startswith("sha256:") else normalised(name)
        try:
            return messages.image_value(await self.engine.call(lambda api: api.inspect_image(wanted)))
        except NotFound:
            return None

    async def remove_image(self, name: str) -> None:
        image = await self.image_status(name)
        if image is None:
            return
        users = await self.engine.call(lambda api: api.containers(all=True, filters={"ancestor": image.id}))
        if users:
            raise ImageInUse(f"image {name} is used by a container: remove that first")
        targets = list(image.tags) if name.startswith("sha256:") and image.tags else [name]
        for target in targets:
            try:
                await self.engine.call(lambda api, target=target: api.remove_image(target))  # type: ignore[misc]
            except NotFound:
                continue
            except CallFailed as problem:
                raise ImageInUse(f"image {name} cannot be removed: {problem}") from problem

    async def image_fs(self) -> FsUsage:
        info = await self.engine.call(lambda api: api.info())
        at, used = self._used
        if time.monotonic() - at > _USAGE_SECONDS:
            used = int((await self.engine.call(lambda api: api.df())).get("LayersSize") or 0)
            self._used = (time.monotonic(), used)
        return await asyncio.to_thread(_usage, str(info["DockerRootDir"]), used)

    async def pause_image(self) -> str:
        """The image of sandboxes, loaded when it is missing: its id. Raises CannotCreate."""
        name = f"{pause.NAME}:1"
        image = await self.image_status(name)
        if image is None:
            try:
                data = pause.image(platform.machine(), name)
            except KeyError as problem:
                text = f"no sandbox program for {platform.machine()}; load an image called {name} that waits for ever"
                raise CannotCreate(text, "CreatePodSandboxError") from problem
            await self.engine.call(lambda api: [line for line in api.load_image(data) if line])
            image = await self.image_status(name)
        if image is None:
            raise CannotCreate(f"image {name} cannot be loaded", "CreatePodSandboxError")
        return image.id


def _split(name: str) -> tuple[str, str]:
    """Repository, and tag or digest."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    repository, _, tag = name.rpartition(":")
    return repository, tag


def _pull(api: Any, repository: str, tag: str, auth: dict[str, str] | None) -> None:
    for step in api.pull(repository, tag=tag, stream=True, decode=True, auth_config=auth):
        if step.get("error"):
            raise CallFailed(str(step["error"]))


def _load(api: Any, archive: Path) -> None:
    with docker_form(archive, DEFAULT_BOUNDS) as file:
        for step in api.load_image(file):
            if step.get("error"):
                raise CallFailed(str(step["error"]))


def _usage(folder: str, used: int) -> FsUsage:
    try:
        disk = os.statvfs(folder)
    except OSError as problem:
        raise RuntimeUnavailable(f"{folder}: {problem.strerror}: is the engine on another machine?") from problem
    return FsUsage(
        mountpoint=folder,
        used=used,
        inodes_used=0,
        capacity=disk.f_blocks * disk.f_frsize,
        available=disk.f_bavail * disk.f_frsize,
        inodes=disk.f_files,
        inodes_free=disk.f_favail,
    )
