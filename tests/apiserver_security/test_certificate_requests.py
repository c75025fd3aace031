"""Certificate signing requests by value: what may be asked for, who is written down, who decides and who signs."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from security_fakes import ADMIN, ALICE, FakeCluster, review

from control.api.catalogue import BUILTIN
from control.api.cells import CELLS
from control.api.prepare import prepare_update
from control.api.status import StatusError
from control.api.validate import create_causes, update_causes
from control.apiserver.admission.certificates import (
    REQUESTS,
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from control.apiserver.admission.node_restriction import NodeRestriction
from control.apiserver.request import Attributes, Decision, User
from control.pki.requests import CLIENT, NODE_CLIENT, make_request

Object = dict[str, Any]
KIND = BUILTIN[REQUESTS]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
STAMP = "2026-01-02T00:00:00Z"


def csr(
    *conditions: str, user: str = "jane", groups: tuple[str, ...] = (), certificate: str = "", **spec: Any
) -> Object:
    pem = base64.b64encode(make_request(user, groups).pem).decode()
    asked = {"request": pem, "signerName": CLIENT, "usages": ["client auth", "digital signature"], **spec}
    status: Object = {"conditions": [{"type": word, "status": "True"} for word in conditions]} if conditions else {}
    status |= {"certificate": certificate} if certificate else {}
    head = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return {**head, "metadata": {"name": "jane", "uid": "u"}, "spec": asked, "status": status}


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    [
        ({"request": "%%"}, "spec.request", "base64"),
        ({"request": base64.b64encode(b"x").decode()}, "spec.request", "PEM block type must be CERTIFICATE REQUEST"),
        ({"usages": []}, "spec.usages", "Required value"),
        ({"usages": ["client auth", "flying"]}, "spec.usages[1]", "Unsupported value"),
        ({"usages": ["client auth", "client auth"]}, "spec.usages[1]", "Duplicate value"),
        ({"signerName": "plain"}, "spec.signerName", "fully qualified domain and path"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "spec.signerName", "not allowed via this API version"),
        ({"expirationSeconds": 599}, "spec.expirationSeconds", "may not specify a duration less than 600 seconds"),
    ],
)
def test_requests_that_cannot_be(spec: Object, field: str, says: str) -> None:
    found = create_causes(KIND, csr(**spec))
    assert [cause.field for cause in found] == [field]
    assert says in found[0].message
    assert create_causes(KIND, csr()) == []


def test_decisions_are_for_ever_and_exclude_each_other() -> None:
    [both] = update_causes(KIND, csr("Approved", "Denied"), csr("Approved"), "approval")
    assert "mutually exclusive" in both.message
    [gone] = update_causes(KIND, csr("Denied"), csr("Approved"), "approval")
    assert "may not remove a condition of type" in gone.message


def test_who_certifies_does_not_decide() -> None:
    """A status that says Approved would be an approval by who may only write the status."""
    for word in ("Approved", "Denied"):
        [added] = update_causes(KIND, csr(word), csr(), "status")
        assert f"updates may not add a condition of type '{word}'" in added.message
        [removed] = update_causes(KIND, csr(), csr(word), "status")
        assert "may not remove a condition of type" in removed.message
    [turned] = [
        str(c) for c in update_causes(KIND, csr("Approved", "Denied"), csr("Denied"), "status") if "add" in str(c)
    ]
    assert "'Approved'" in turned
    assert update_causes(KIND, csr("Approved", certificate="bmV3"), csr("Approved"), "status") == []
    [changed] = update_causes(KIND, csr("Approved", certificate="bmV3"), csr("Approved", certificate="b2xk"), "status")
    assert changed.field == "status.certificate"


def test_each_subresource_writes_its_own_part() -> None:
    old = csr("Approved")
    other = {**csr("Denied", certificate="bmV3"), "spec": {**old["spec"], "signerName": "example.com/x"}}

    def written(subresource: str) -> Object:
        new = {**other, "metadata": dict(old["metadata"]), "status": {**other["status"]}}
        found = prepare_update(KIND, new, old, subresource=subresource)
        assert found["spec"] == old["spec"]
        return found["status"]  # type: ignore[no-any-return]

    assert written("") == old["status"]
    assert [c["type"] for c in written("approval")["conditions"]] == ["Denied"]
    assert "certificate" not in written("approval")
    assert written("status")["certificate"] == "bmV3"
    made = {"type": "Approved", "status": "True", "reason": "Mine"}
    new = {**csr("Approved"), "metadata": dict(old["metadata"])}
    old["status"]["conditions"] = [made]
    assert prepare_update(KIND, new, old, subresource="status")["status"]["conditions"] == [made]


def test_who_asks_is_not_what_they_say() -> None:
    asked = review(
        REQUESTS, csr(username="admin", groups=["system:masters"], uid="7"), user=User("eve", "u1", ("dev",))
    )
    CertificateRequester().mutate(asked)
    assert asked.object is not None
    spec = asked.object["spec"]
    assert (spec["username"], spec["uid"], spec["groups"]) == ("eve", "u1", ["dev"])
    assert "extra" not in spec


def test_decisions_are_dated() -> None:
    new, old = csr("Approved"), csr()
    asked = review(REQUESTS, new, operation="UPDATE", old=old, subresource="approval")
    CertificateRequester(lambda: NOW).mutate(asked)
    [condition] = new["status"]["conditions"]
    assert (condition["lastUpdateTime"], condition["lastTransitionTime"]) == (STAMP, STAMP)


class May:
    """Allows one verb on one signer's name."""

    def __init__(self, verb: str, name: str) -> None:
        self.asked = ("certificates.k8s.io", "signers", verb, name)

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        asked = (attributes.group, attributes.resource, attributes.verb, attributes.name)
        return Decision(asked == self.asked)


@pytest.mark.parametrize(
    ("name", "allowed"), [(CLIENT, True), ("kubernetes.io/*", True), (NODE_CLIENT, False), ("example.com/*", False)]
)
def test_approving_and_signing_go_by_the_signer_s_name(name: str, allowed: bool) -> None:
    cases = (
        (CertificateApproval, "approve", "approval", csr("Approved")),
        (CertificateSigning, "sign", "status", csr(certificate="bmV3")),
        (CertificateSigning, "sign", "status", csr("Failed")),
    )
    for plugin, verb, subresource, new in cases:
        asked = review(REQUESTS, new, operation="UPDATE", old=csr(), subresource=subresource, user=ALICE)
        if allowed:
            plugin(May(verb, name)).validate(asked)
            continue
        with pytest.raises(StatusError, match=f"not permitted to {verb} requests with signerName") as refused:
            plugin(May(verb, name)).validate(asked)
        assert refused.value.code == 403


def test_a_status_that_says_nothing_new_needs_no_right() -> None:
    old = csr("Approved")
    CertificateSigning(May("", "")).validate(
        review(REQUESTS, csr("Approved"), operation="UPDATE", old=old, subresource="status")
    )


def test_a_node_asks_in_its_own_name() -> None:
    node = User("system:node:n1", groups=("system:nodes",))
    check = NodeRestriction(FakeCluster())
    for signer in (NODE_CLIENT, "kubernetes.io/kubelet-serving"):
        check.validate(review(REQUESTS, csr(user="system:node:n1", signerName=signer), user=node))
        with pytest.raises(StatusError, match="can only create a node CSR with CN=system:node:n1"):
            check.validate(review(REQUESTS, csr(user="system:node:n2", signerName=signer), user=node))
    check.validate(review(REQUESTS, csr(user="anything", signerName="example.com/x"), user=node))


def test_nobody_makes_administrators() -> None:
    plugin = CertificateSubjectRestriction()
    plugin.validate(review(REQUESTS, csr(groups=()), user=ADMIN))
    made = csr()
    made["spec"]["request"] = base64.b64encode(make_request("jane", ["system:masters"]).pem).decode()
    with pytest.raises(StatusError, match="system:masters group is not allowed"):
        plugin.validate(review(REQUESTS, made, user=ADMIN))


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (csr(), "Pending"),
        (csr("Approved"), "Approved"),
        (csr("Approved", certificate="bmV3"), "Approved,Issued"),
        (csr("Approved", "Failed"), "Approved,Failed"),
        (csr("Denied"), "Denied"),
    ],
)
def test_columns(request_: Object, word: str) -> None:
    assert CELLS["request_condition"](request_, NOW) == word
    assert CELLS["requested_duration"](request_, NOW) == "<none>"
    assert CELLS["requested_duration"](csr(expirationSeconds=3600), NOW) == "60m"
