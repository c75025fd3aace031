"""Answers to many unary calls at once, which is what a log entry full of puts or a round of gets leads to.

The same as Call.reply for each, with one pack for a short answer's three frames, nothing looked up twice, and one write
for neighbours on a connection.
Faults assumed: as for Call: any of the calls may be over, or its client not reading.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from struct import Struct

from kvstore.wire.grpc.answer import ANSWER_HEAD, LAST, OK_HEAD
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.messages import PREFIX_SIZE
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.grpc.status import RESPONSE, TRAILERS_OK
from kvstore.wire.h2.frames import END_HEADERS

log = logging.getLogger(__name__)

# HEADERS, DATA with one message, HEADERS: the packer of each length of a message. Longer ones are rare or dear anyway.
_WHOLE = [Struct(f">IBI{len(RESPONSE)}sIBIBI{size}sIBI{len(TRAILERS_OK)}s").pack for size in range(512)]


def reply_all(answers: Iterable[tuple[Call, bytes]], *, at_once: bool = False) -> None:
    """Reply to each call with its message. One that raises is logged, the others go on. Hot.

    An answer is asked for when those before it have been given, or are sure to fit the windows.
    at_once: a connection's answers leave before the next one's are looked at; else when the loop gets its next turn.
    """
    whole, response, trailers = _WHOLE, RESPONSE, TRAILERS_OK
    connection: ServerConnection | None = None
    out: list[bytes] = []
    room = longest = 0
    try:
        for call, message in answers:
            if call.connection is not connection:
                if out:
                    _write(connection, out, room, at_once)
                    out = []
                connection = call.connection
                room = 0 if connection.careful else connection.send_window
                longest = min(connection.peer_window, len(whole) - 1 + PREFIX_SIZE)
            length = len(message)
            size = length + PREFIX_SIZE
            if call.whole and call.deadline_bucket is None and size <= longest and size <= room:
                room -= size
                number = call.stream_id
                out.append(
                    whole[length](
                        ANSWER_HEAD,
                        END_HEADERS,
                        number,
                        response,
                        size << 8,
                        0,
                        number,
                        0,
                        length,
                        message,
                        OK_HEAD,
                        LAST,
                        number,
                        trailers,
                    )
                )
                call.whole = False
                call.ended = call.local_closed = call.closed = True
                del connection.streams[number]
                call.head.method.handled[0] += 1  # type: ignore[union-attr]
            else:
                if out:
                    _write(connection, out, room, at_once)
                    out = []
                _reply(call, message)
                connection = None
    finally:
        if out:
            _write(connection, out, room, at_once)


def _write(connection: ServerConnection | None, out: list[bytes], room: int, at_once: bool) -> None:
    """What was packed for it, which leaves so much of its window."""
    assert connection is not None
    connection.send_window = room
    write = connection.write_now if at_once else connection.write
    write(b"".join(out))


def _reply(call: Call, message: bytes) -> None:
    try:
        call.reply(message)
    except Exception:
        log.exception("answering a request failed; it was applied")
