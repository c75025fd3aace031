"""What an ordinary run leaves to scripts/soak, and in which order it takes its files.

A test that is made once for each of several stores or programs says little more the second time where its subject is
ours: SECOND_OPINIONS names such repetitions. Files go to the workers in turn, so the longest come first; a file that
begins last ends last.
"""

from __future__ import annotations

import os
from collections.abc import Container
from typing import NamedTuple

import pytest


class SecondOpinion(NamedTuple):
    """Below `folder`, tests for the parameter `value` are scripts/soak's; not those in `files` or with such `names`."""

    folder: str
    value: str
    files: Container[str] = ()
    names: Container[str] = ()


SECOND_OPINIONS = (
    # The command line says what its client hears, which tests/client hears from etcd, too; two long stories stay.
    SecondOpinion("cli", "etcd-3.5", files={"test_cli_auth.py"}, names={"test_two_histories_are_told_the_same_way"}),
    # What other people's clients do at etcd is known once it is known.
    SecondOpinion("clients_elsewhere", "etcd-3.5"),
    # The older kubectl reads in ways of its own (tables, discovery, explain); what it writes are the same requests.
    SecondOpinion(
        "e2e_kubectl",
        "1.20",
        files={"test_kubectl_reading.py"},
        names={"test_apply_twice_changes_nothing", "test_edit", "test_rollout", "test_three_kinds_of_patches"},
    ),
    SecondOpinion("backup", "etcdctl-3.5"),
)

# Seconds that files took, one at a time; what is not here is short.
LONGEST = {
    "e2e_cluster/test_cluster_workloads.py": 120,
    "e2e/test_scripts.py": 100,
    "faults/test_membership.py": 80,
    "compat/test_differential_cluster.py": 80,
    "faults/test_crashes.py": 70,
    "faults/test_damage.py": 70,
    "faults/test_partitions.py": 60,
    "e2e_cluster/test_cluster_elsewhere.py": 60,
    "e2e_cluster/test_cluster_faults.py": 60,
    "cli/test_cli_against_etcdctl.py": 50,
    "backup/test_moving_house.py": 50,
    "compat/test_etcdctl_member.py": 50,
    "tls/test_tls_cluster.py": 40,
    "compat/test_auth_cluster.py": 40,
    "up/test_up_lifecycle.py": 37,
    "agent_live/test_agent_live.py": 37,
    "compat/test_differential_kv.py": 35,
    "simulation/test_simulation.py": 35,
    "runtime_conformance/test_runtime_streams.py": 33,
    "e2e_kubectl/test_kubectl_applying.py": 32,
    "up/test_pytest_plugin.py": 31,
    "client/test_client_watch.py": 31,
    "e2e_kubectl/test_kubectl_reading.py": 30,
    "e2e_kubectl/test_kubectl_creating.py": 30,
    "e2e/test_bad_input.py": 30,
    "failpoints/test_failpoint_crashes.py": 29,
    "faults/test_full_disk.py": 29,
    "faults/test_corruption.py": 27,
    "runtime_conformance/test_runtime_settings.py": 25,
    "runtime_conformance/test_runtime_lifecycle.py": 23,
    "http/test_http_pages.py": 23,
    "client/test_client_lease.py": 23,
    "faults/test_leader_locks.py": 22,
    "compat/test_auth_jwt.py": 22,
    "backup/test_live_backups.py": 20,
    "client/test_client_lock.py": 20,
    "cli/test_cli_commands.py": 20,
    "cli/test_cli_locks.py": 20,
    "compat/test_etcdctl.py": 20,
    "compat/test_etcdctl_auth.py": 20,
    "compat/test_compatibility_table.py": 20,
    "kube_cli/test_kube_commands.py": 20,
    "member/test_member_conf_state.py": 20,
    "client/test_client_operations.py": 19,
    "services/test_big_range.py": 19,
    "clients_elsewhere/test_other_clients.py": 18,
    "compat/test_differential_watch.py": 16,
    "linearizability/test_lin_cluster.py": 16,
    "node_network/test_network_live.py": 15,
    "apiserver/test_api_outages.py": 15,
    "controllers_live/test_live_workloads.py": 15,
    "backup/test_bad_backups.py": 15,
    "control_client/test_control_election.py": 14,
    "member/test_defragment.py": 14,
    "hostile/test_hostile_process.py": 14,
}


def examples(thorough: int) -> int:
    """How many examples hypothesis makes where scripts/soak makes `thorough`: others each time."""
    return thorough if os.environ.get("FLUYT_SOAK") else max(thorough // 3, 20)


def is_second_opinion(item: pytest.Item) -> bool:
    """Whether the test repeats, for another program, what the run says already."""
    callspec = getattr(item, "callspec", None)
    values = list(callspec.params.values()) if callspec is not None else []
    return any(
        item.path.parent.name == each.folder
        and each.value in values
        and item.path.name not in each.files
        and getattr(item, "originalname", "") not in each.names
        for each in SECOND_OPINIONS
    )


def longest_first(items: list[pytest.Item]) -> None:
    """Put the files that take longest to the front; tests of a file stay together and in their order."""
    items.sort(key=lambda item: -LONGEST.get(f"{item.path.parent.name}/{item.path.name}", 0))
