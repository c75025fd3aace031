"""One message on its way out, of either half of a connection."""

from __future__ import annotations

from kvstore.wire.grpc.answer import MESSAGE
from kvstore.wire.grpc.messages import PREFIX, PREFIX_SIZE
from kvstore.wire.h2.stream import Stream


def put_message(stream: Stream, message: bytes) -> None:
    """Send it as DATA, now or as windows allow. Hot, for watches and peers: mostly it fits and nothing waits."""
    connection = stream.connection
    size = len(message) + PREFIX_SIZE
    if (
        not stream.waits
        and size <= connection.send_window
        and size <= connection.peer_window + stream.window_delta
        and size <= connection.peer_max_frame
        and not connection.held
    ):
        connection.send_window -= size
        stream.window_delta -= size
        connection.write(MESSAGE(size << 8, 0, stream.stream_id, 0, size - PREFIX_SIZE) + message)
    else:
        stream.put_data([PREFIX.pack(0, size - PREFIX_SIZE), message], size)
