"""Small images made in Python: busybox (Debian's static one) in a layer, and a configuration."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
APPLETS = (
    "sh cat echo sleep true false env id hostname ls pwd kill nc httpd wget touch rm mkdir dd printf ps mount stty test"
    " head yes wc date tar"
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1001:1002:Alice:/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:1002:\naudio:x:29:alice\n"

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.linkname, info.size = mode, kind, link, len(data)
    return info, data


def layer(*entries: Entry) -> bytes:
    """An uncompressed tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers: list[bytes], **settings: Any) -> bytes:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in layers]},
        "history": [{"created_by": "tests"} for _ in layers],
    }
    return json.dumps(document).encode()


def docker_archive(path: Path, name: str, layers: list[bytes], **settings: Any) -> Path:
    document = config(layers, **settings)
    config_name = f"{digest(document).partition(':')[2]}.json"
    members = [entry(f"layer{number}.tar", data) for number, data in enumerate(layers)]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [info.name for info, _ in members]}]
    members += [entry(config_name, document), entry("manifest.json", json.dumps(manifest).encode())]
    path.write_bytes(layer(*members))
    return path


def oci_archive(path: Path, name: str, layers: list[bytes], **settings: Any) -> Path:
    blobs: dict[str, bytes] = {}

    def put(data: bytes, kind: str) -> dict[str, Any]:
        blobs[digest(data)] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "config": put(config(layers, **settings), "config.v1+json"),
        "layers": [put(each, "layer.v1.tar") for each in layers],
    }
    top = put(json.dumps(manifest).encode(), "manifest.v1+json")
    top["annotations"] = {"io.containerd.image.name": name}
    members = [entry(f"blobs/sha256/{key.partition(':')[2]}", data) for key, data in blobs.items()]
    members.append(entry("index.json", json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()))
    members.append(entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'))
    path.write_bytes(layer(*members))
    return path


def busybox_layer() -> bytes:
    folders = [entry(name, kind=tarfile.DIRTYPE, mode=0o755) for name in ("bin", "etc", "root", "home", "home/alice")]
    folders.append(entry("tmp", kind=tarfile.DIRTYPE, mode=0o1777))
    links = [entry(f"bin/{name}", kind=tarfile.SYMTYPE, link="busybox") for name in APPLETS.split()]
    files = [
        entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
        entry("etc/passwd", PASSWD.encode()),
        entry("etc/group", GROUP.encode()),
        entry("etc/release", b"one\n"),
    ]
    return layer(*folders, *files, *links)


def busybox(path: Path, name: str = "fluyt.test/busybox:1") -> Path:
    """PATH and an environment variable are set, the command is a shell."""
    environment = ["PATH=/bin", "FROM_IMAGE=yes"]
    return docker_archive(path, name, [busybox_layer()], Env=environment, Cmd=["sh"], WorkingDir="/root")
