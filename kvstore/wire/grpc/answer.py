"""The frames of an answer as one pack each: what stands before a message, and behind the last one.

A whole unary answer is HEADERS + DATA + HEADERS: constant blocks, so only lengths and the stream's number vary.
Arguments are frame heads (length << 8 | type, flags, stream) and the message's prefix (0, length).
"""

from __future__ import annotations

from struct import Struct

from kvstore.wire.grpc.status import RESPONSE, TRAILERS_OK
from kvstore.wire.h2.frames import END_HEADERS, END_STREAM, FrameType

# ANSWER(ANSWER_HEAD, END_HEADERS, stream, RESPONSE, size << 8, 0, stream, 0, size - 5), for a DATA of `size` octets.
ANSWER = Struct(f">IBI{len(RESPONSE)}sIBIBI").pack
ANSWER_HEAD = len(RESPONSE) << 8 | FrameType.HEADERS
# OK(OK_HEAD, LAST, stream, TRAILERS_OK)
OK = Struct(f">IBI{len(TRAILERS_OK)}s").pack
OK_HEAD = len(TRAILERS_OK) << 8 | FrameType.HEADERS
LAST = END_HEADERS | END_STREAM
# MESSAGE(size << 8, 0, stream, 0, size - 5): a message in one DATA frame.
MESSAGE = Struct(">IBIBI").pack
