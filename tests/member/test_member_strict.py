"""Which changes of membership are too dangerous to make (etcd's membership tests say the same of its own)."""

from __future__ import annotations

import pytest
from test_member_changes import cluster_of, url

from kvstore.errors import EtcdError
from kvstore.member.cluster import Cluster
from kvstore.member.strict import HEALTHY_SECONDS, Health, check_add, check_caught_up, check_promote, check_remove
from kvstore.pb.etcd_pb2 import Member

LONG = HEALTHY_SECONDS + 1
NOT_ENOUGH = "re-configuration failed due to not enough started members"
UNHEALTHY = "unhealthy cluster"


def not_started(cluster: Cluster, *members: int) -> Cluster:
    for number in members:
        cluster.put(Member(ID=number, peerURLs=[url(number)]))
    return cluster


def verdict(check: object, *args: object) -> str:
    try:
        check(*args)  # type: ignore[operator]
    except EtcdError as problem:
        return problem.message.removeprefix("etcdserver: ")
    return "taken"


@pytest.mark.parametrize(
    ("started", "others", "learner", "expected"),
    [
        (1, 0, False, "taken"),
        (1, 1, False, NOT_ENOUGH),
        (2, 0, False, "taken"),
        (2, 1, False, NOT_ENOUGH),
        (3, 0, False, "taken"),
        (3, 1, False, "taken"),
        (3, 2, False, NOT_ENOUGH),
        (3, 2, True, "taken"),
    ],
)
def test_adding(started: int, others: int, learner: bool, expected: str) -> None:
    """A voter more must not need more votes than there are members that run; learners have none."""
    cluster = not_started(cluster_of(*range(1, started + 1)), *range(10, 10 + others))
    health = Health(1, dict.fromkeys(cluster.members, LONG))
    assert verdict(check_add, cluster, health, Member(ID=99, isLearner=learner)) == expected


@pytest.mark.parametrize("seconds", [None, HEALTHY_SECONDS - 0.1])
@pytest.mark.parametrize("learner", [False, True])
def test_nobody_is_added_while_a_voter_is_not_healthy(seconds: float | None, learner: bool) -> None:
    connected = {2: LONG} if seconds is None else {2: LONG, 3: seconds}
    assert verdict(check_add, cluster_of(1, 2, 3), Health(1, connected), Member(ID=9, isLearner=learner)) == UNHEALTHY


def test_a_learner_that_is_down_hinders_nobody() -> None:
    cluster = cluster_of(1, 2, 3, learners=(4,))
    assert verdict(check_add, cluster, Health(1, {2: LONG, 3: LONG}), Member(ID=9)) == "taken"


@pytest.mark.parametrize(
    ("leaving", "connected", "expected"),
    [
        (3, {2: LONG, 3: LONG}, "taken"),
        (1, {2: LONG, 3: LONG}, "taken"),
        (3, {2: LONG}, "taken"),
        (2, {2: LONG}, UNHEALTHY),
        (1, {2: LONG}, UNHEALTHY),
        (2, {2: LONG, 3: 1.0}, UNHEALTHY),
        (99, {2: LONG}, "taken"),
    ],
)
def test_removing_one_of_three(leaving: int, connected: dict[int, float], expected: str) -> None:
    """Who is down may always go; who is up only if enough others are."""
    assert verdict(check_remove, cluster_of(1, 2, 3), Health(1, connected), leaving) == expected


def test_removing_where_others_never_started() -> None:
    cluster = not_started(cluster_of(1, 2), 3)
    health = Health(1, {2: LONG})
    assert verdict(check_remove, cluster, health, 2) == NOT_ENOUGH
    assert verdict(check_remove, cluster, health, 3) == "taken"


def test_the_last_voter_stays_and_learners_may_go() -> None:
    cluster = cluster_of(1, learners=(2,))
    assert verdict(check_remove, cluster, Health(1, {}), 1) == NOT_ENOUGH
    assert verdict(check_remove, cluster, Health(1, {}), 2) == "taken"


def test_promoting() -> None:
    assert verdict(check_promote, cluster_of(1, learners=(2,))) == "taken"
    assert verdict(check_promote, not_started(cluster_of(1, 2), 3, 4)) == "taken"
    assert verdict(check_promote, not_started(cluster_of(1), 3, 4)) == NOT_ENOUGH


@pytest.mark.parametrize(("match", "leader", "expected"), [(90, 100, "taken"), (89, 100, "in sync"), (0, 0, "taken")])
def test_a_learner_is_ready_with_nine_tenths(match: int, leader: int, expected: str) -> None:
    assert expected in verdict(check_caught_up, match, leader)
