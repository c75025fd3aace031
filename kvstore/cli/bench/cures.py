"""What to do about errors under which no call of a load can ever work. Pure."""

from __future__ import annotations

from kvstore.errors import Code
from kvstore.errors import error as known_error

# Codes of refusals that the next attempt meets again.
_LASTING = {Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED}
_CURES = {
    "PERMISSION_DENIED": (
        "The user needs all keys below {prefix}: 'fluyt role grant-permission <role> readwrite {prefix} --prefix=true'"
    ),
    "USER_EMPTY": "The store asks who you are: name a user with --user",
    "NO_SPACE": "The store is full: 'fluyt compaction', 'fluyt defrag', then 'fluyt alarm disarm'",
    "REQUEST_TOO_LARGE": "Take a smaller --val-size, or start the members with a larger --max-request-bytes",
}
# How grpc-go begins its refusal of a request that is larger than even the store's connections take.
_TOO_LARGE = "grpc: received message larger than max"
_BY_MESSAGE = {known_error(name).message: cure for name, cure in _CURES.items()}


def hopeless(code: int, message: str) -> bool:
    """Whether a call that ended with this status can never work, however often it is tried."""
    return code in _LASTING or bool(_cure(message))


def with_cure(message: str, prefix: str) -> str:
    """The error and, where one is known, what helps. prefix: where the run's keys were to go."""
    cure = _cure(message)
    return f"{message}. {cure.format(prefix=prefix)}" if cure else message


def _cure(message: str) -> str:
    return _CURES["REQUEST_TOO_LARGE"] if message.startswith(_TOO_LARGE) else _BY_MESSAGE.get(message, "")
