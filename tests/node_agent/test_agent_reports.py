"""Statuses on their way to the API server: what leaves, when, and what becomes of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agent_fake_api import FakeApi
from agent_one_node import pod, until

from control.api.status import StatusError
from control.client.cause import Cause
from node_agent.pod.spec import STATIC_HASH, STATIC_SOURCE
from node_agent.shell.reports import Reports

Object = dict[str, Any]


class Api(FakeApi):
    """Keeps the patches, and refuses them when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.patches: list[tuple[Object, Cause | None]] = []
        self.refuse: StatusError | None = None

    async def patch(self, resource: str, name: str, patch: Any, *, cause: Cause | None = None, **more: Any) -> Object:
        self.patches.append((patch, cause))
        if self.refuse is not None:
            raise self.refuse
        return await super().patch(resource, name, patch, **more)


def run(work: Callable[[Api, Reports, Object], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        api = Api()
        made = api.put("pods", pod("web"))
        reports = Reports(api)
        await work(api, reports, made)
        await reports.close()

    asyncio.run(all_of_it())


def status(phase: str, **more: Any) -> Object:
    return {"phase": phase, "startTime": "2026-01-01T00:00:00Z", **more}


def test_only_what_changed_leaves_with_the_uid_and_its_cause() -> None:
    async def work(api: Api, reports: Reports, of: Object) -> None:
        reports.report(of, status("Running"), "container web: init container is next")
        assert await reports.delivered(of)
        reports.report(of, status("Running", qosClass="BestEffort"), "no cause of note")
        assert await reports.delivered(of)
        reports.report(of, status("Running", qosClass="BestEffort"), "nothing")
        (first, cause), (second, none) = api.patches
        assert first == {"metadata": {"uid": of["metadata"]["uid"]}, "status": status("Running")}
        assert cause is not None
        assert (cause.object, cause.rule) == ("pods/default/web", "container web: init container is next")
        assert second["status"] == {"qosClass": "BestEffort"}
        assert none is None

    run(work)


def test_a_newer_report_overtakes_one_that_waits() -> None:
    async def work(api: Api, reports: Reports, of: Object) -> None:
        reports.report(of, status("Pending", qosClass="BestEffort"), "")
        await asyncio.sleep(0.02)
        assert api.patches == []
        reports.report(of, status("Running", qosClass="BestEffort"), "")
        await until(lambda: api.patches, "it leaves at once")
        assert await reports.delivered(of)
        assert [p["status"].get("phase") for p, _ in api.patches] == ["Running"]

    run(work)


def test_a_refusal_for_good_is_not_repeated_and_one_for_now_is() -> None:
    async def work(api: Api, reports: Reports, of: Object) -> None:
        api.refuse = StatusError(422, "Invalid", "no")
        reports.report(of, status("Running"), "")
        assert await reports.delivered(of)
        assert len(api.patches) == 1
        api.refuse = StatusError(503, "ServiceUnavailable", "later")
        reports.report(of, status("Failed"), "")
        await until(lambda: len(api.patches) == 2, "it was tried")
        api.refuse = None
        assert await reports.delivered(of)
        assert (api.of("pods", "web", "default") or {})["status"]["phase"] == "Failed"

    run(work)


def test_a_pod_that_is_gone_ends_its_reports() -> None:
    async def work(api: Api, reports: Reports, of: Object) -> None:
        api.drop("pods", "web", "default")
        api.put("pods", pod("web"))
        reports.report(of, status("Running"), "")
        assert not await reports.delivered(of)
        assert (api.of("pods", "web", "default") or {})["status"] == {"phase": "Pending"}
        await reports.remove(of, "over")
        assert api.of("pods", "web", "default") is not None

    run(work)


def test_what_others_wrote_meanwhile_is_seen() -> None:
    async def work(api: Api, reports: Reports, of: Object) -> None:
        reports.report(of, status("Running"), "")
        await reports.delivered(of)
        changed = api.of("pods", "web", "default")
        assert changed is not None
        changed["status"]["phase"] = "Failed"
        api.put("pods", changed)
        reports.report(api.of("pods", "web", "default") or {}, status("Running"), "")
        await reports.delivered(of)
        assert api.patches[-1][0]["status"] == {"phase": "Running"}

    run(work)


def test_a_conflict_over_the_same_pod_is_tried_again() -> None:
    """An API server gives up a write that lost too many races; the pod was never reported again."""

    async def work(api: Api, reports: Reports, of: Object) -> None:
        api.refuse = StatusError(409, "Conflict", "the object has been modified")
        reports.report(of, status("Running"), "")
        await until(lambda: api.patches, "it was tried")
        api.refuse = None
        assert await reports.delivered(of)
        assert (api.of("pods", "web", "default") or {})["status"]["phase"] == "Running"

    run(work)


def static() -> Object:
    made = pod("web")
    made["metadata"] |= {"uid": "h", "annotations": {STATIC_SOURCE: "file", STATIC_HASH: "h"}}
    return made


def test_a_mirror_that_is_made_anew_is_reported_to() -> None:
    """A user deletes a mirror while a report is on its way to it."""

    async def life() -> None:
        api = Api()
        first = api.put("pods", pod("web"))
        reports = Reports(api, lambda of: api.of("pods", "web", "default") or first)
        api.drop("pods", "web", "default")
        reports.report(static(), status("Running"), "")
        assert not await reports.delivered(static())
        api.put("pods", pod("web"))
        reports.report(static(), status("Running"), "")
        assert await reports.delivered(static())
        assert (api.of("pods", "web", "default") or {})["status"]["phase"] == "Running"
        await reports.close()

    asyncio.run(life())


class Slow(Api):
    """Answers its first patch when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def patch(self, resource: str, name: str, patch: Any, *, cause: Cause | None = None, **more: Any) -> Object:
        if not self.patches:
            self.patches.append((patch, cause))
            await self.go_on.wait()
            raise StatusError(404, "NotFound", "it is gone")
        return await super().patch(resource, name, patch, cause=cause, **more)


def test_a_late_answer_about_the_last_mirror_says_nothing_of_the_next() -> None:
    async def life() -> None:
        api = Slow()
        api.put("pods", pod("web"))
        reports = Reports(api, lambda of: api.of("pods", "web", "default"))
        reports.report(static(), status("Running"), "")
        await until(lambda: api.patches, "a patch is on its way")
        api.drop("pods", "web", "default")
        api.put("pods", pod("web"))
        reports.report(static(), status("Running"), "")
        api.go_on.set()
        assert await reports.delivered(static())
        assert (api.of("pods", "web", "default") or {})["status"]["phase"] == "Running"
        await reports.close()

    asyncio.run(life())
