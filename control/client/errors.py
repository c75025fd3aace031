"""What a call to the API server can end with besides an answer.

A refusal by the server is control.api.status.StatusError. Unreachable is for what no server answered; the difference
that matters to a caller is whether a write may have been applied all the same.
"""

from __future__ import annotations

from collections.abc import Mapping


class Unreachable(Exception):
    """No API server answered.

    causes: server URL → what went wrong there, in a few words.
    maybe_applied: the request was sent, so a write may have been applied; only reading the object tells.
    """

    def __init__(self, causes: Mapping[str, str], *, maybe_applied: bool = False) -> None:
        self.causes = dict(causes)
        self.maybe_applied = maybe_applied
        tried = "; ".join(f"{server}: {reason}" for server, reason in self.causes.items()) or "no server is configured"
        fate = " (the write may have been applied: read the object before trying again)" if maybe_applied else ""
        super().__init__(f"no API server answered: {tried}{fate}")


class ConfigError(ValueError):
    """A kubeconfig or the in-cluster configuration cannot be used; the message names the file and the cure."""
