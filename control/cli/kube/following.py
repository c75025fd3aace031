"""One object followed until a condition holds of it: what wait, delete and rollout status have in common."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TypeVar

from control.api.schema import Object
from control.api.status import StatusError
from control.cli.kube.selecting import Found
from control.client.client import Client

T = TypeVar("T")


async def follow(client: Client, found: Found, judge: Callable[[Object | None], T | None]) -> T:
    """The first verdict that is not None on the states of an object, the present one first; None is "not there".

    Raises StatusError, Unreachable.
    """
    while True:
        field = f"metadata.name={found.name}"
        listed = await client.list(found.kind.resource, found.namespace, field_selector=field)
        items = listed.get("items") or []
        verdict = judge(items[0] if items else None)
        if verdict is not None:
            return verdict
        version = listed["metadata"]["resourceVersion"]
        try:
            async with aclosing(
                client.watch(found.kind.resource, found.namespace, resource_version=version, field_selector=field)  # type: ignore[type-var]
            ) as events:
                async for event in events:
                    if event.type == "BOOKMARK":
                        continue
                    verdict = judge(None if event.type == "DELETED" else event.object)
                    if verdict is not None:
                        return verdict
        except StatusError as refused:
            # History that is gone: look again.
            if refused.code != 410:
                raise
