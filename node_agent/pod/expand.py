"""$(NAME) in commands, arguments and environment values. Pure.

$(NAME) of a known name is its value, of an unknown one stays as it is; $$ is one $, so $$(NAME) is the text $(NAME).
Source: "Define Dependent Environment Variables" in the Kubernetes documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$|\([^)]*\))")


def expand(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = match.group(1)
        return "$" if found == "$" else known.get(found[1:-1], match.group(0))

    return _REFERENCE.sub(value, text)
