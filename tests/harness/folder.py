"""What the tests of one folder share, and what ends when the last of them has run.

pytest ends a fixture of scope "package" with the session unless its folder is a Python package, which ours are not; a
cluster that only waits for the end of the run costs the rest of it a tenth of a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_KEY = pytest.StashKey[dict[str, Any]]()


def of_folder(request: pytest.FixtureRequest, name: str, make: Callable[[], AbstractContextManager[T]]) -> T:
    """What `make` yields, made for the first test of the folder that asks for `name` and closed behind its last one.

    For fixtures of any scope up to "module".
    """
    folder = request.node.getparent(pytest.Directory)
    shared = folder.stash.setdefault(_KEY, {})
    if name not in shared:
        stack = ExitStack()
        shared[name] = stack.enter_context(make())

        def end() -> None:
            del shared[name]
            stack.close()

        folder.addfinalizer(end)
    found: T = shared[name]
    return found
