"""`fluyt kube scale --current-replicas` beside others that write the same object."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control.api.status import StatusError, conflict
from control.cli.kube import scale as scaling
from control.cli.kube.scale import _scale
from kvstore.cli.exits import CommandError


class Api:
    """A scale that a controller writes after each of the first looks at it."""

    def __init__(self, others: int, replicas: int = 2) -> None:
        self.others, self.revision, self.replicas = others, 1, replicas

    async def get(self, *_: Any, **__: Any) -> Any:
        seen = {"metadata": {"resourceVersion": str(self.revision)}, "spec": {"replicas": self.replicas}}
        if self.others:
            self.others -= 1
            self.revision += 1
        return seen

    async def patch(self, resource: Any, name: str, patch: Any, **_: Any) -> None:
        stale = patch.get("metadata", {}).get("resourceVersion", str(self.revision)) != str(self.revision)
        if stale or (self.others and "metadata" not in patch):
            raise conflict("deployments.apps", name)
        self.replicas = patch["spec"]["replicas"]


def scaled(api: Api, current: int | None) -> int:
    found = SimpleNamespace(kind=SimpleNamespace(resource="deployments"), name="web", namespace="d")
    asyncio.run(_scale(cast(Any, SimpleNamespace(client=api)), cast(Any, found), 5, current))
    return api.replicas


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "delays", lambda **_: iter([0.0] * 100))


def test_a_write_of_somebody_else_is_looked_at_and_passed() -> None:
    assert scaled(Api(others=3), current=2) == 5


def test_another_number_is_refused_whoever_wrote() -> None:
    with pytest.raises(CommandError, match="Expected replicas to be 3, was 2"):
        scaled(Api(others=3), current=3)


def test_it_ends_and_says_why() -> None:
    with pytest.raises(StatusError, match="Operation cannot be fulfilled"):
        scaled(Api(others=1000), current=2)


def test_a_refusal_without_a_condition_is_said_at_once() -> None:
    api = Api(others=1)
    with pytest.raises(StatusError, match="Operation cannot be fulfilled"):
        scaled(api, current=None)
    assert api.others == 1
