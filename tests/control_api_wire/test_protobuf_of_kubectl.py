"""Bytes that kubectl really sends, against what it says the same command makes (`--dry-run=client -o json`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.require import require
from kubectl_stub import KubectlStub

from control.api import protobuf

COMMANDS = {
    "clusterrole": "create clusterrole cr --verb=get,list --resource=pods,deployments.apps",
    "configmap": "create configmap c --from-literal=a=b --from-literal=empty=",
    "cronjob": "create cronjob cj --image=x --schedule=@daily --restart=OnFailure -- date",
    "deployment": "create deployment d --image=nginx --replicas=0 --port=80",
    "ingress": "create ingress i --rule=h.example/x*=svc:8080,tls=cert --default-backend=d:80 --class=c",
    "job": "create job j --image=busybox -- echo hi",
    "namespace": "create namespace n",
    "poddisruptionbudget": "create pdb p --selector=a=b --min-available=50%",
    "priorityclass": "create priorityclass pc --value=-10 --description=low --preemption-policy=Never",
    "quota": "create quota q --hard=cpu=1500m,pods=10,memory=1Gi --scopes=BestEffort",
    "role": "create role r --verb=get --resource=pods --resource-name=x",
    "secret": "create secret generic s --from-literal=k=v",
    "service": "create service nodeport sv --tcp=80:8080 --node-port=30080",
    "service-external": "create service externalname se --external-name=h.example --tcp=80",
}


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Any, str]]]:
    """For each command: what came over the wire, what kubectl says it made, and the body's content type."""
    kubectl = require("kubectl-1.32")
    home = tmp_path_factory.mktemp("home")

    def exchange(name: str) -> tuple[str, tuple[Any, Any, str]]:
        with KubectlStub(Path(home)) as stub:
            stub.run(kubectl, *COMMANDS[name].split())
            (body,) = stub.posted
            head, dashes, tail = COMMANDS[name].partition(" -- ")
            said = stub.run(kubectl, *head.split(), "--dry-run=client", "-o", "json", *(dashes + tail).split())
            return name, (protobuf.decode(body.data), json.loads(said), body.content_type)

    with ThreadPoolExecutor(4) as threads:
        yield dict(threads.map(exchange, COMMANDS))


def said_by_go(value: Any) -> Any:
    """Go's JSON without its nulls and the structs and lists it writes empty: what clients mean."""
    if isinstance(value, dict):
        parts = {key: said_by_go(part) for key, part in value.items() if part is not None}
        return {key: part for key, part in parts.items() if part not in ({}, [])}
    return [said_by_go(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", COMMANDS)
def test_body(exchanged: dict[str, tuple[Any, Any, str]], name: str) -> None:
    decoded, said, content_type = exchanged[name]
    assert content_type == protobuf.CONTENT_TYPE
    assert decoded.warnings == ()
    # The namespace stands in the URL; kubectl adds it to what it prints.
    for value in (said, decoded.object):
        value["metadata"].pop("namespace", None)
        value.pop("status", None)  # zeros, which Go writes of some fields and not of others
    assert said_by_go(decoded.object) == said_by_go(said)
    again = protobuf.decode(protobuf.encode(decoded.object))
    assert again.object == decoded.object
