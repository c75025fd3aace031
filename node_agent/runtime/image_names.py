"""Image names as Docker's reference format has them. Pure.

`nginx` is `docker.io/library/nginx:latest`; `host` and `host:/some/root` are ours (the process runtime's) and stay
as they are. Source: the distribution project's reference grammar.
"""

from __future__ import annotations

import re

from node_agent.runtime.errors import InvalidImageName

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_NAME = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MAX_NAME = 255
HOST = "host"


def is_host(name: str) -> bool:
    """Whether it is the machine's own files, or a folder of it."""
    return name == HOST or name.startswith(f"{HOST}:/")


def normalised(name: str) -> str:
    """With domain and tag (or digest). Raises InvalidImageName."""
    if is_host(name):
        return name
    domain, path, tag, digest = _parts(name)
    suffix = f"@{digest}" if digest else f":{tag or 'latest'}"
    return f"{domain}/{path}{suffix}"


def _parts(name: str) -> tuple[str, str, str, str]:
    match = _NAME.fullmatch(name) if len(name) <= _MAX_NAME + 200 else None
    if match is None:
        raise InvalidImageName(
            f"couldn't parse image name {name!r}: invalid reference format (lower case, [registry/]name[:tag][@digest])"
        )
    domain, path = match["domain"] or "", match["path"]
    if domain and "." not in domain and ":" not in domain and domain != "localhost":
        domain, path = "", f"{domain}/{path}"  # `library/nginx`: the first part is a name's, not a machine's
        if path != path.lower():
            raise InvalidImageName(f"couldn't parse image name {name!r}: repository name must be lowercase")
    if not domain:
        domain, path = "docker.io", path if "/" in path else f"library/{path}"
    elif domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return domain, path, match["tag"] or "", match["digest"] or ""
