"""Who waits for a put in the usual form, and how all of one run are answered in one go.

Their answers are a header and nothing else, and the headers differ in the revision only, which counts up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from kvstore.errors import EtcdError
from kvstore.member.header import Headers
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.replies import reply_all


class PutWaiter(tuple[Call, Headers]):
    """The call of one put, and the headers of this member. A tuple, because nothing is made faster."""

    __slots__ = ()

    def __call__(self, result: Any, problem: EtcdError | None) -> None:
        """The put is applied, or never will be."""
        call, headers = self
        if problem is not None:
            call.fail(problem.code, problem.message)
        else:
            call.reply(headers.field(result.revision))

    @staticmethod
    def answer_run(waiters: Sequence[Any], first: int, *, at_once: bool) -> None:
        """The puts that these PutWaiters wait for have the revisions from `first` on.

        at_once: the answers leave before this returns. Hot.
        """
        reply_all(_answers(waiters, first), at_once=at_once)

    @staticmethod
    def prepare_run(waiters: Sequence[Any], first: int) -> Callable[[], None]:
        """What answer_run would say at once, made now and said when that is called."""
        return partial(reply_all, list(_answers(waiters, first)), at_once=True)


def _answers(waiters: Sequence[Any], first: int) -> Iterable[tuple[Call, bytes]]:
    headers: Headers = waiters[0][1]
    return zip([waiter[0] for waiter in waiters], headers.fields(first, len(waiters)), strict=True)
