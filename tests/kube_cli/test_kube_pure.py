"""What of `fluyt kube` needs no server: templates, manifests, tables, formats, chains of causes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import pytest

from control.api.status import StatusError, not_found
from control.cli.causes.chain import containers, explain, responsible
from control.cli.kube import manifests, template
from control.cli.kube.output import Format, as_yaml, name_of
from control.cli.kube.rollout import _daemonset, _deployment, _statefulset
from control.cli.kube.tables import TablePrinter
from control.cli.kube.wait import _test
from kvstore.cli.exits import CommandError

PODS = {"items": [{"metadata": {"name": "a", "labels": {"x/y": "1"}}, "n": 1}, {"metadata": {"name": "b"}, "n": 2}]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{.items[*].metadata.name}", "a b"),
        (".items[0].n", "1"),
        ("items[1].metadata.name", "b"),
        ("{.items[0].metadata.labels['x/y']}", "1"),
        ("{range .items[*]}{.metadata.name}={.n}{'\\n'}{end}", "a=1\nb=2\n"),
        ('{range .items[*]}[{range @.n}{@}{end}]{"\\t"}{end}', "[1]\t[2]\t"),
        ("names: {.items[?(@.n==2)].metadata.name}!", "names: b!"),
        ("{.items[0].metadata}", '{"name":"a","labels":{"x/y":"1"}}'),
        ("{.none}", ""),
        ('{"}"}', "}"),
    ],
)
def test_templates(text: str, expected: str) -> None:
    assert template.render(text, PODS) == expected


@pytest.mark.parametrize("text", ["{.a", "{end}", "{range .a}", "{.a[}"])
def test_templates_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError):
        template.render(text, {})


def test_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: 2026-01-01}\n---\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n"
    )
    (tmp_path / "b.json").write_text('{"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "s-"}}')
    (tmp_path / "notes.txt").write_text("not me")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: n}\n")
    found = manifests.read([str(tmp_path)])
    assert [obj["kind"] for obj in found] == ["ConfigMap", "Pod", "Secret"]
    assert found[0]["data"] == {"day": "2026-01-01"}
    assert [obj["kind"] for obj in manifests.read([str(tmp_path)], recursive=True)][-1] == "Node"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "error parsing .*x.yaml: "),
        ("[]", "a document is no object"),
        ("kind: Pod", "has no apiVersion"),
        ("{apiVersion: v1, kind: Pod}", "a Pod has no metadata.name"),
        ("", "no objects passed"),
        ("!!python/object/apply:os.system [true]", "error parsing"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(CommandError, match=message):
        manifests.read([str(path)])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        manifests.read([str(tmp_path / "none")])
    with pytest.raises(CommandError, match="URLs are not fetched"):
        manifests.read(["https://example.org/x.yaml"])


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TablePrinter()
    printer.show(["name", "age"], [["a", None], ["bbbbbbb", True]])
    printer.show(["name", "age"], [["c\x1b[31m", 5]])
    assert capsys.readouterr().out == (
        "NAME      AGE\na         <none>\nbbbbbbb   true\nc [31m    5\n"
    )  # fmt: skip
    TablePrinter(headers=False).show(["name", "age"], [["a", 1]])
    assert capsys.readouterr().out == "a   1\n"
    TablePrinter(colours=True).show(["status"], [["Running"], ["Error"]])
    coloured = capsys.readouterr().out
    assert click.style("Running", fg="green") in coloured
    assert click.style("Error", fg="red") in coloured


def test_formats(capsys: pytest.CaptureFixture[str]) -> None:
    obj: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "managedFields": [1]},
    }
    Format("name").show([obj], as_list=False)
    Format("yaml").show([obj], as_list=False)
    Format("jsonpath={.metadata.name}").show([obj], as_list=False)
    Format("custom-columns=N:.metadata.name,X:.none").show([obj], as_list=False)
    assert capsys.readouterr().out == (
        "deployment.apps/w\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: w\nwN   X\nw   <none>\n"
    )
    Format("json", managed_fields=True).show([obj], as_list=True)
    assert '"managedFields"' in capsys.readouterr().out
    assert name_of({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}) == "pod/p"
    assert as_yaml({"a": "x\ny\n"}) == "a: |\n  x\n  y\n"


@pytest.mark.parametrize("text", ["toml", "jsonpath", "custom-columns"])
def test_formats_that_there_are_not(text: str) -> None:
    with pytest.raises(CommandError):
        Format(text)


def test_waiting_for_conditions_and_paths() -> None:
    ready = {"metadata": {"generation": 2}, "status": {"conditions": [{"type": "Ready", "status": "True"}], "n": 3}}
    stale = {**ready, "status": {**ready["status"], "observedGeneration": 1}}
    assert _test("condition=ready")(ready)
    assert not _test("condition=Ready")(stale)
    assert not _test("condition=Ready=False")(ready)
    assert _test("jsonpath={.status.n}=3")(ready)
    assert _test("jsonpath={.status.n}")(ready)
    assert not _test("jsonpath={.status.none}")(ready)
    with pytest.raises(CommandError, match="unrecognized condition"):
        _test("nothing")


def test_rollouts_say_where_they_are() -> None:
    def at(**status: Any) -> tuple[bool, str]:
        return _deployment({"metadata": {"name": "w", "generation": 2}, "spec": {"replicas": 3}, "status": status})

    assert at(observedGeneration=1)[1].startswith("Waiting for deployment spec update")
    assert "1 out of 3 new replicas" in at(observedGeneration=2, updatedReplicas=1)[1]
    assert "1 old replicas are pending" in at(observedGeneration=2, updatedReplicas=3, replicas=4)[1]
    state = {"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3}
    assert "2 of 3 updated replicas are available" in at(**state, availableReplicas=2)[1]
    assert at(**state, availableReplicas=3) == (True, 'deployment "w" successfully rolled out')
    late = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    with pytest.raises(CommandError, match="exceeded its progress deadline"):
        at(observedGeneration=2, conditions=late)
    daemons = {"metadata": {"name": "d"}, "status": {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2}}
    assert not _daemonset(daemons)[0]
    assert _daemonset({**daemons, "status": {**daemons["status"], "numberAvailable": 2}})[0]
    rolled = {"readyReplicas": 1, "updateRevision": "b", "currentRevision": "a", "updatedReplicas": 0}
    assert "0 pods at revision b" in _statefulset({"metadata": {}, "spec": {}, "status": rolled})[1]
    assert _statefulset({"metadata": {}, "spec": {}, "status": {**rolled, "currentRevision": "b"}})[0]


def record(number: int, verb: str = "update", /, subresource: str = "", **cause: str) -> dict[str, Any]:
    return {
        "revision": str(number),
        "time": f"2026-01-01T00:00:{number:02}Z",
        "verb": verb,
        "subresource": subresource,
        "user": "u",
        "cause": cause,
    }


def test_the_write_that_is_responsible() -> None:
    records = [record(1), record(5, subresource="status"), record(9)]
    assert responsible(records, "5", before="7", status=False) == records[0]
    assert responsible(records, "5", before="7", status=True) == records[1]
    assert responsible(records, "", before="10", status=False) == records[2]
    assert responsible(records, "12", before="9", status=False) == records[0]
    assert responsible(records[1:2], "6", before="7", status=False) == records[1]
    assert responsible([], "6", before="7", status=False) is None


class Records:
    """A client that knows causes and objects."""

    def __init__(self, causes: dict[str, list[dict[str, Any]]], objects: dict[str, dict[str, Any]]) -> None:
        self._causes, self._objects = causes, objects

    async def causes(self, resource: str, name: str, namespace: str = "") -> list[dict[str, Any]]:
        return self._causes.get(f"{resource}/{namespace or '-'}/{name}", [])

    async def get(self, resource: str, name: str, namespace: str = "") -> dict[str, Any]:
        found = self._objects.get(f"{resource}/{namespace or '-'}/{name}")
        if found is None:
            raise not_found(resource, name)
        return found


def test_chains_lead_back_to_the_user() -> None:
    causes = {
        "pods/d/p": [record(9, "create", object="replicasets.apps/d/rs", revision="6", rule="scale up")],
        "replicasets.apps/d/rs": [
            record(5, "create", object="deployments.apps/d/web", revision="3", rule="new template"),
            record(6, subresource="status", object="pods/d/p", revision="4"),
        ],
        "deployments.apps/d/web": [record(3, "create", rule="user u: create")],
    }
    pod = {"metadata": {"name": "p"}, "status": {"containerStatuses": []}}
    story = asyncio.run(explain(Records(causes, {"pods/d/p": pod}), "pods", "d", "p", 10))
    step = story.steps[0]
    chain = []
    while step is not None:
        chain.append((step.object, step.revision, step.rule))
        step = step.because  # type: ignore[assignment]
    assert chain == [
        ("pods/d/p", "9", "scale up"),
        ("replicasets.apps/d/rs", "5", "new template"),
        ("deployments.apps/d/web", "3", "user u: create"),
    ]
    assert story.owner is None
    shown = story.to_json()
    assert shown["steps"][0]["because"]["because"]["user"] == "u"
    assert "containers" not in shown


def test_chains_that_go_in_circles_end() -> None:
    causes = {
        "pods/d/a": [record(n, object="pods/d/b", revision=str(n), rule="r") for n in range(2, 60, 2)],
        "pods/d/b": [record(n, object="pods/d/a", revision=str(n), rule="r") for n in range(1, 60, 2)],
    }
    story = asyncio.run(explain(Records(causes, {"pods/d/a": {"metadata": {}}}), "pods", "d", "a", 1))
    step, depth = story.steps[0], 0
    while step.because is not None:
        step, depth = step.because, depth + 1
    assert (depth, step.note) == (17, "the chain goes on; it is cut here")


def test_without_records_owners_are_told() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u", "controller": True}
    objects = {
        "pods/d/p": {"metadata": {"name": "p", "ownerReferences": [owner]}},
        "replicasets.apps/d/rs": {"metadata": {"name": "rs"}},
    }
    causes = {"replicasets.apps/d/rs": [record(3, "create", rule="user u: create")]}
    story = asyncio.run(explain(Records(causes, objects), "pods", "d", "p", 10))
    assert story.note.startswith("nothing is recorded")
    assert story.owner is not None
    assert story.owner.steps[0].user == "u"


def test_what_is_gone_is_still_explained_and_what_never_was_is_not() -> None:
    causes = {"pods/d/p": [record(3, "delete", rule="user u: delete")]}
    story = asyncio.run(explain(Records(causes, {}), "pods", "d", "p", 10))
    assert story.note == "it is not there any more"
    with pytest.raises(StatusError):
        asyncio.run(explain(Records({}, {}), "pods", "d", "p", 10))


def test_containers_starts_and_ends() -> None:
    ended = {"startedAt": "2026-01-01T00:00:01Z", "finishedAt": "2026-01-01T00:00:05Z", "exitCode": 137}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    status = {
        "name": "c",
        "restartCount": 1,
        "lastState": {"terminated": {**ended, "reason": "Error"}},
        "state": {"waiting": waiting},
    }
    found = containers({"status": {"containerStatuses": [status]}})
    assert [(h.what, h.detail) for h in found] == [
        ("waits", "CrashLoopBackOff: back-off 10s"),
        ("started", ""),
        ("ended", "exit code 137, Error"),
    ]
