"""Bootstrap roles and bindings in the store: what is missing is made, what somebody took away is put back. Idempotent.

What was added by hand stays. An object whose annotation `rbac.authorization.kubernetes.io/autoupdate` is "false" is
left alone. A binding whose roleRef is another is somebody's own. The deciding functions are pure; several servers may
run this at once: each write is a compare, and all write the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from control.api import meta
from control.api.copying import copied
from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.request import Caches, Objects
from control.apiserver.security.rbac.bootstrap import AUTOUPDATE, cluster_role_bindings, cluster_roles
from control.apiserver.security.rbac.index import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, RbacIndex
from control.apiserver.security.rbac.rules import Rule, uncovered

# Seconds; it is milliseconds while the store answers.
_PATIENCE = 30


async def ensure_bootstrap(caches: Caches, objects: Objects) -> int:
    """Bring the store to what bootstrap.py says; returns how many objects were written. Raises StatusErrors."""
    wanted = [(CLUSTER_ROLES, role) for role in cluster_roles()]
    wanted += [(CLUSTER_ROLE_BINDINGS, binding) for binding in cluster_role_bindings()]
    written = await asyncio.gather(*(_ensure(caches, objects, resource, obj) for resource, obj in wanted))
    return sum(written)


async def until_known(caches: Caches) -> None:
    """Wait until the caches have all of them: before that, a request could be refused for want of a role.

    TimeoutError: the store's watch brings nothing.
    """
    pending = {(CLUSTER_ROLES, meta.name(role)) for role in cluster_roles()}
    pending |= {(CLUSTER_ROLE_BINDINGS, meta.name(binding)) for binding in cluster_role_bindings()}
    known = asyncio.Event()

    def note(resource: str, new: Object | None) -> None:
        if new is not None and pending:
            pending.discard((resource, meta.name(new)))
            if not pending:
                known.set()

    for resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS):
        caches.subscribe(resource, lambda old, new, resource=resource: note(resource, new))  # type: ignore[misc]
    async with asyncio.timeout(_PATIENCE):
        await known.wait()


async def _ensure(caches: Caches, objects: Objects, resource: str, wanted: Object) -> int:
    name = meta.name(wanted)
    present = caches.get(resource, "", name)
    if present is None:
        try:
            await objects.create(resource, copied(wanted))
            return 1
        except StatusError as problem:
            if problem.reason != "AlreadyExists":
                raise
    elif repaired(present, wanted) is None:
        return 0
    try:
        await objects.update(resource, "", name, lambda found: repaired(found, wanted))
    except StatusError as problem:
        if problem.code != 404:
            raise
    return 1


def repaired(present: Object, wanted: Object) -> Object | None:
    """The object with all that is wanted in it; None when nothing lacks or it must be left alone. Pure."""
    if meta.annotations(present).get(AUTOUPDATE) == "false":
        return None
    if present.get("roleRef") != wanted.get("roleRef"):
        return None
    found = copied(present)
    for label, value in meta.labels(wanted).items():
        meta.set_label(found, label, value)
    for annotation, value in meta.annotations(wanted).items():
        meta.set_annotation(found, annotation, value)
    _add_rules(found, wanted)
    _add_entries(found, wanted, "subjects")
    if wanted.get("aggregationRule"):
        found["aggregationRule"] = wanted["aggregationRule"]
    return found if found != present else None


def _add_rules(found: Object, wanted: Object) -> None:
    """Rules that lack; those that are there in other words are left."""
    have = [Rule.of(rule) for rule in found.get("rules") or ()]
    missing = [rule for rule in wanted.get("rules") or () if uncovered(have, [Rule.of(rule)])]
    if missing:
        found["rules"] = [*(found.get("rules") or ()), *missing]


def _add_entries(found: Object, wanted: Object, field: str) -> None:
    have = found.get(field) or []
    missing = [entry for entry in wanted.get(field) or () if entry not in have]
    if missing:
        found[field] = [*have, *missing]


def stale_aggregates(index: RbacIndex) -> Iterable[tuple[str, list[Object]]]:
    """Aggregated ClusterRoles whose `rules` are not what they aggregate now: (name, rules to write). Pure."""
    for role in list(index.aggregating()):
        rules = index.raw_rules(("", meta.name(role)))
        if rules != (role.get("rules") or []):
            yield meta.name(role), rules


async def write_aggregates(index: RbacIndex, objects: Objects) -> None:
    """For those who read the roles: decisions are made from the parts. Raises StatusErrors."""
    for name, rules in stale_aggregates(index):

        def change(role: Object, rules: list[Object] = rules) -> Object | None:
            if not role.get("aggregationRule") or role.get("rules") == rules:
                return None
            return {**role, "rules": rules}

        try:
            await objects.update(CLUSTER_ROLES, "", name, change)
        except StatusError as problem:
            if problem.code != 404:
                raise
