"""What a write can carry besides its object: why it is made, and on whose term of leadership.

Both travel as headers, so they must be one line of ASCII. Source: docs/design/0010, "Fence" and "Cause".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

CAUSE_HEADER: Final = "Fluyt-Cause"
FENCE_HEADER: Final = "Fluyt-Fence"
# The server refuses longer ones.
_MOST_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Cause:
    """Because of which object, at which revision, by which rule.

    object: "<resource>/<namespace>/<name>" ("-" for no namespace), as "deployments.apps/default/web".
    revision: the resourceVersion that was looked at. rule: a few words, as "scale up". uid: of the object.
    """

    object: str
    revision: str = ""
    rule: str = ""
    uid: str = ""

    @classmethod
    def of(cls, resource: str, obj: dict[str, Any], rule: str) -> Cause:
        """The cause that an object of a resource is, as it was seen."""
        metadata = obj.get("metadata") or {}
        where = metadata.get("namespace") or "-"
        return cls(
            f"{resource}/{where}/{metadata.get('name', '')}",
            metadata.get("resourceVersion", ""),
            rule,
            metadata.get("uid", ""),
        )

    def header(self) -> str:
        """The header's value: JSON in ASCII, at most 2 KiB; a longer rule loses its end."""
        text = self._json(self.rule)
        if len(text) > _MOST_BYTES:
            # One character may take twelve bytes as escapes.
            text = self._json(self.rule[: max((_MOST_BYTES - len(self._json(""))) // 12 - 1, 0)])
        return text

    def _json(self, rule: str) -> str:
        fields = {"object": self.object, "revision": self.revision, "rule": rule, "uid": self.uid}
        return json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Fence:
    """A term of leadership: the election key in the store and its create revision."""

    key: str
    revision: int

    def header(self) -> str:
        """The header's value."""
        return f"{self.key};{self.revision}"
