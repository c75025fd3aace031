"""Images of a CRI runtime. The CRI can pull but not load; containerd's own `ctr` can."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime.cri import messages
from node_agent.runtime.cri.connection import CallFailed, pull_failure
from node_agent.runtime.cri.node import CriNode
from node_agent.runtime.errors import BadArchive, ImageInUse, NotFound, RuntimeFault, RuntimeUnavailable, Unsupported
from node_agent.runtime.image_names import normalised
from node_agent.runtime.image_store.bounds import DEFAULT_BOUNDS
from node_agent.runtime.image_store.names import archived_names
from node_agent.runtime.types import Credentials, FsUsage, Image

_IMPORT_SECONDS = 600.0


class ImageCalls(CriNode):
    """See interface.Images."""

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        request = pb.PullImageRequest(image=pb.ImageSpec(image=normalised(name)))
        if credentials is not None:
            request.auth.CopyFrom(
                pb.AuthConfig(
                    username=credentials.username,
                    password=credentials.password,
                    server_address=credentials.server,
                    identity_token=credentials.identity_token,
                    registry_token=credentials.registry_token,
                )
            )
        try:
            return (await self.cri.call("PullImage", request, pb.PullImageResponse)).image_ref
        except RuntimeFault as problem:
            raise pull_failure(name, problem) from problem

    async def load_image(self, archive: Path) -> tuple[str, ...]:
        names = await asyncio.to_thread(archived_names, archive, DEFAULT_BOUNDS)
        program = shutil.which("ctr")
        answer = await self.cri.call("Version", pb.VersionRequest(), pb.VersionResponse)
        if answer.runtime_name != "containerd" or program is None:
            raise Unsupported(
                f"{answer.runtime_name} takes no archives through the CRI; load {archive} with its own tools "
                "(containerd: ctr -n k8s.io images import; CRI-O: skopeo copy docker-archive: containers-storage:)"
            )
        await self._import(program, archive)
        return names

    async def _import(self, program: str, archive: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(program, "--address", self.cri.socket, "--namespace", "k8s.io", "images", "import", str(archive)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_IMPORT_SECONDS):
                _, said = await process.communicate()
        except BaseException as problem:
            process.kill()
            await process.wait()
            if isinstance(problem, TimeoutError):
                raise RuntimeUnavailable(f"{archive} was not loaded within {_IMPORT_SECONDS:g} s") from problem
            raise
        if process.returncode:
            raise BadArchive(f"{archive}: containerd refuses it: {said.decode('utf-8', 'replace').strip()[-500:]}")

    async def list_images(self) -> list[Image]:
        answer = await self.cri.call("ListImages", pb.ListImagesRequest(), pb.ListImagesResponse)
        return [messages.image_value(image) for image in answer.images]

    async def image_status(self, name: str) -> Image | None:
        wanted = name if name.startswith("sha256:") else normalised(name)
        request = pb.ImageRequest(image=pb.ImageSpec(image=wanted))
        try:
            answer = await self.cri.call("ImageStatus", request, pb.ImageStatusResponse)
        except NotFound:
            return None
        return messages.image_value(answer.image) if answer.HasField("image") else None

    async def remove_image(self, name: str) -> None:
        image = await self.image_status(name)
        if image is None:
            return
        containers = await self.cri.call("ListContainers", pb.ListContainersRequest(), pb.ListContainersResponse)
        if any(each.image_ref in (image.id, *image.digests) for each in containers.containers):
            raise ImageInUse(f"image {name} is used by a container: remove that first")
        try:
            await self.cri.call("RemoveImage", pb.ImageRequest(image=pb.ImageSpec(image=image.id)), pb.Empty)
        except NotFound:
            return
        except CallFailed as problem:
            raise ImageInUse(f"image {name} cannot be removed: {problem}") from problem

    async def image_fs(self) -> FsUsage:
        answer = await self.cri.call("ImageFsInfo", pb.Empty(), pb.ImageFsInfoResponse)
        if not answer.image_filesystems:
            raise RuntimeUnavailable("the runtime does not say where its images are")
        usage = answer.image_filesystems[0]
        return await asyncio.to_thread(_with_disk, usage.fs_id.mountpoint, usage)


def _with_disk(mountpoint: str, usage: pb.FilesystemUsage) -> FsUsage:
    try:
        disk = os.statvfs(mountpoint)
    except OSError as problem:
        raise RuntimeUnavailable(f"{mountpoint}: {problem.strerror}") from problem
    return FsUsage(
        mountpoint=mountpoint,
        used=usage.used_bytes.value,
        inodes_used=usage.inodes_used.value,
        capacity=disk.f_blocks * disk.f_frsize,
        available=disk.f_bavail * disk.f_frsize,
        inodes=disk.f_files,
        inodes_free=disk.f_favail,
    )
