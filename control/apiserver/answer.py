"""Answers: status, headers, and a body that is bytes or a stream of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from control.api.schema import Object
from control.api.status import StatusError

JSON: Final = b"application/json"
Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Answer:
    """What goes back to the client. Either body or stream. object: what audit may log of it, when it is at hand.

    takeover: called instead of sending anything, for connections that are not HTTP any more.
    """

    code: int = 200
    body: bytes = b""
    media_type: bytes = JSON
    headers: list[Header] = field(default_factory=list)
    stream: AsyncIterator[bytes] | None = None
    object: Object | None = None
    takeover: Callable[[], Any] | None = None


def json_answer(obj: Any, code: int = 200) -> Answer:
    """An object as JSON."""
    return Answer(code, orjson.dumps(obj), object=obj if isinstance(obj, dict) else None)


def refusal(problem: StatusError) -> Answer:
    """The Status of a refusal, with Retry-After and WWW-Authenticate where they belong."""
    answer = json_answer(problem.to_status(), problem.code)
    if problem.retry_after:
        answer.headers.append((b"retry-after", str(problem.retry_after).encode()))
    return answer


def text_answer(text: str, code: int = 200, media_type: bytes = b"text/plain; charset=utf-8") -> Answer:
    """Plain text."""
    return Answer(code, text.encode(), media_type)
