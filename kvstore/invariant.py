"""Assertions that stay on in production: `python -O` does not remove them.

On the way of every batch they are written out (`if not …: raise InvariantViolation(…)`): there a call counts, and a
message that is put together for nothing.
"""


class InvariantViolation(AssertionError):
    """Something that can never be true was true; the process must not go on with the state it has."""


def invariant(condition: object, message: str) -> None:
    """Raise InvariantViolation(message) unless condition holds."""
    if not condition:
        raise InvariantViolation(message)
