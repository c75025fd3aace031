"""What a failing store means to a client of the API server: a Status with a time to come back, never a hang.

Invariant: 503 says that the write was not done; 504 that it may have been.
"""

from __future__ import annotations

from control.api.status import StatusError
from kvstore.client import (
    ClientError,
    Compacted,
    FutureRevision,
    MaybeApplied,
    NoSpace,
    PermissionDenied,
    StoreError,
    TimedOut,
    TooManyRequests,
)
from kvstore.errors import Code

RETRY_SECONDS = 1
COMPACTED = "The provided continue parameter is too old to display a consistent list result. Start a new list."


def status_of(problem: ClientError) -> StatusError:
    """The refusal that stands for a failure of the store."""
    match problem:
        case Compacted():
            return StatusError(410, "Expired", "The resourceVersion for the provided list is too old.")
        case FutureRevision():
            return _error(504, "Timeout", "Too large resource version", causes=True)
        case TooManyRequests():
            return _error(429, "TooManyRequests", "the store has more work than it takes, please try again later")
        case NoSpace():
            return _error(503, "ServiceUnavailable", "the store is full: compact it, disarm its alarm", 10)
        case PermissionDenied():
            return _error(500, "InternalError", "the store does not allow this server's user to do that")
        case MaybeApplied():
            # Go's client repeats whatever it is told to come back for: not this.
            return _error(
                504, "Timeout", "the store did not answer in time: the change may or may not have happened", 0
            )
        case TimedOut():
            return _error(504, "Timeout", "the store did not answer in time")
        case StoreError() if problem.code in (Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED):
            return StatusError(413, "RequestEntityTooLarge", f"the store refuses the object: {problem.message}")
    return _error(503, "ServiceUnavailable", f"the store cannot be reached: {problem}")


def _error(code: int, reason: str, message: str, retry: int = RETRY_SECONDS, causes: bool = False) -> StatusError:
    details: dict[str, object] = {"retryAfterSeconds": retry} if retry else {}
    if causes:
        details["causes"] = [{"reason": "ResourceVersionTooLarge", "message": message}]
    return StatusError(code, reason, message, details)
