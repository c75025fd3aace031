"""What agent and shim say to each other on the shim's socket: one byte of type, four of length, the body. Pure.

| agent → shim | | shim → agent | |
|---|---|---|---|
| `W` | tell me when it ends | `1` `2` | what the program wrote |
| `A` | attach: {"stdin": bool} | `X` | ended: {"code": int} |
| `E` | exec: {"argv", "tty", "stdin"} | `O` | done, or running |
| `I` `C` | stdin data, end of stdin | `F` | failed: why |
| `R` | resize: {"columns", "rows"} | | |
| `K` | signal: {"signal": int} | | |
| `L` | reopen the log | | |

One purpose per connection: W, A, E, K or L comes first and once. Both sides refuse frames beyond MAX_BODY.
"""

from __future__ import annotations

MAX_BODY = 1 << 18
HEAD = 5


class BadFrame(ValueError):
    """The other side does not speak this."""


def frame(kind: bytes, body: bytes = b"") -> bytes:
    return kind + len(body).to_bytes(4, "big") + body


class FrameReader:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Raises BadFrame."""
        self._buffer += data
        found = []
        while len(self._buffer) >= HEAD:
            length = int.from_bytes(self._buffer[1:HEAD], "big")
            if length > MAX_BODY:
                raise BadFrame(f"a frame of {length} bytes; the most is {MAX_BODY}")
            if len(self._buffer) < HEAD + length:
                break
            found.append((bytes(self._buffer[:1]), bytes(self._buffer[HEAD : HEAD + length])))
            del self._buffer[: HEAD + length]
        return found
