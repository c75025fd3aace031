"""Regular expressions that strangers write, matched in linear time: by RE2, whose syntax is also Go's.

Source: "pattern" in the documentation of CustomResourceDefinitions; https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

MAX_PATTERN: Final = 4096
_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 << 20


class Pattern:
    """A compiled pattern. It may match anywhere in a text unless it is anchored."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def matches(self, text: str) -> bool:
        return self._compiled.search(text) is not None


@lru_cache(1024)
def compile_pattern(text: str) -> Pattern:
    """ValueError: it is no regular expression of RE2, or longer than MAX_PATTERN."""
    if len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern may have {MAX_PATTERN} letters")
    try:
        return Pattern(re2.compile(text, _OPTIONS))
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"invalid regular expression: {words}") from None
