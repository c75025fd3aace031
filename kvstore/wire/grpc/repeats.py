"""Messages that a client sends again and again on an open stream, such as renewals of its leases.

Each is known by the octets of its whole frame: one slice and one look-up replace its head's checks, its message and
the way to its handler. All that come in one read are handed over together, and their answers leave together.

Invariants: what is remembered belongs to a call that is open in both directions and has sent its headers; a call takes
the short way only while nothing of it waits, in either direction. Everything else goes the general way, with the same
result; a call's messages keep their order, on either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kvstore.wire.grpc.answer import MESSAGE
from kvstore.wire.grpc.messages import PREFIX_SIZE
from kvstore.wire.grpc.sending import put_message
from kvstore.wire.h2.frames import HEAD_SIZE

if TYPE_CHECKING:
    from kvstore.wire.grpc.call import Call
    from kvstore.wire.grpc.server_connection import ServerConnection

# What stands before a message in a DATA frame of its own.
_BEFORE = HEAD_SIZE + PREFIX_SIZE


class Repeat:
    """One such message. serve: is given all that came together, in order; they may belong to several calls.

    answer: the frame with the message to answer, which the handler sets (see `answer_with`). note: the handler's own.
    """

    __slots__ = ("answer", "call", "frame", "message", "note", "serve")

    def __init__(self, call: Call, message: bytes, note: Any, serve: Callable[[Sequence[Repeat]], None]) -> None:
        self.call = call
        self.message = message
        self.note = note
        self.serve = serve
        self.frame = _frame(call, message)
        self.answer = b""

    def answer_with(self, message: bytes) -> None:
        """What put_answers() sends."""
        self.answer = _frame(self.call, message)


def _frame(call: Call, message: bytes) -> bytes:
    size = len(message) + PREFIX_SIZE
    return MESSAGE(size << 8, 0, call.stream_id, 0, len(message)) + message


def remember(repeat: Repeat) -> bool:
    """From now on this message of its call takes the short way, until the call ends or forget() is called.

    The call has sent something already. False if that cannot be, or is so already: the call must be open in both
    directions, and all of a connection go to one handler.
    """
    call = repeat.call
    if call.closed or call.remote_closed or call.length_left is not None:
        return False
    known = call.connection.repeats
    if repeat.frame in known or (known and next(iter(known.values())).serve != repeat.serve):
        return False
    known[repeat.frame] = repeat
    if call.repeats is None:
        call.repeats = []
    call.repeats.append(repeat.frame)
    return True


def forget(call: Call) -> None:
    """None of the call's messages takes the short way any more."""
    if call.repeats is not None:
        for frame in call.repeats:
            call.connection.repeats.pop(frame, None)
        call.repeats = None


def put_answers(connection: ServerConnection, run: Sequence[Repeat]) -> None:
    """Send the answers of some that came together, before anything else is done to their calls. Hot."""
    room = 0 if connection.held else connection.send_window
    allowed, longest = connection.peer_window, connection.peer_max_frame
    out = []
    for repeat in run:
        answer = repeat.answer
        call = repeat.call
        size = len(answer) - HEAD_SIZE
        left = call.window_delta - size
        if size > room or size > longest or allowed + left < 0:
            break
        call.window_delta = left
        room -= size
        out.append(answer)
    if out:
        connection.send_window = room
        connection.write(b"".join(out))
    # What a window holds back waits in its stream's queue.
    for repeat in run[len(out) :]:
        put_message(repeat.call, repeat.answer[_BEFORE:])
