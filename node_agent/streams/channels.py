"""kubectl's channels in WebSocket messages: the first byte is the channel. Pure.

Protocols `v5.channel.k8s.io` and `v4.channel.k8s.io` (binary), `base64.*` forms are not offered. 0 stdin, 1 stdout,
2 stderr, 3 status at the end (a Status object), 4 terminal size as {"Width":…,"Height":…}; v5: 255 and a channel
closes that channel, used for stdin. Source: the remote command protocol of Kubernetes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
PROTOCOLS: Final = (V5, V4)


class Channel(IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


@dataclass(frozen=True, slots=True)
class Input:
    """data for stdin."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InputEnds:
    """stdin was closed."""


@dataclass(frozen=True, slots=True)
class Resize:
    columns: int
    rows: int


Message = Input | InputEnds | Resize | None


def read(message: bytes, protocol: str) -> Message:
    """What a client's message means; None for what has no meaning here."""
    if not message:
        return None
    if message[0] == Channel.STDIN:
        return Input(message[1:])
    if message[0] == Channel.RESIZE:
        return size(message[1:])
    if message[0] == Channel.CLOSE and protocol == V5 and message[1:2] == b"\0":
        return InputEnds()
    return None


def size(data: bytes) -> Resize | None:
    """A terminal's size, {"Width":…,"Height":…}; None for what is none."""
    try:
        said = json.loads(data)
        columns, rows = int(said["Width"]), int(said["Height"])
    except (ValueError, KeyError, TypeError):
        return None
    return Resize(columns, rows) if 0 < columns < 65536 and 0 < rows < 65536 else None


def output(channel: Channel, data: bytes) -> bytes:
    return bytes([channel]) + data


def ended(exit_code: int) -> bytes:
    """The last word, for channel 3: how the command ended, as a Status."""
    if exit_code == 0:
        return _json({"metadata": {}, "status": "Success"})
    status: dict[str, Any] = {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }
    return _json(status)


def failed(message: str) -> bytes:
    """The last word when the command could not be run or its end is not known."""
    status = {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
    return _json(status)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
