"""Several clusters on a machine: which addresses each gets, and what is refused, by value and on files."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest

from control.up import plan as plans
from control.up import ranges
from control.up.children import Children
from control.up.credentials import ensure_rest
from control.up.neighbours import Neighbours
from control.up.plan import Plan, UpError, Wishes, decide
from control.up.refusals import refuse_impossible
from control.up.rows import table

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
br0\t0000700A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def decided(**wishes: object) -> Plan:
    numbers = itertools.count(1000)
    return decide(None, Wishes(**wishes), lambda count: [next(numbers) for _ in range(count)], "token")  # type: ignore[arg-type]


class Machine:
    """Clusters in folders, none of which runs unless it is said so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def found(self, name: str, **wishes: object) -> Plan:
        return self.again(name, decided(**{"nodes": 1, **wishes}))

    def again(self, name: str, plan: Plan) -> Plan:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        neighbours = Neighbours(folder, self.folder / "notes")
        with neighbours.locked():
            settled = neighbours.settle(plan)
            plans.write(folder, settled)
        return settled

    def runs(self, name: str) -> None:
        Children(self.folder / name).note("n1-agent", os.getpid())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Without ways of its own to anywhere."""
    monkeypatch.setattr("control.up.neighbours._routes", list)
    return Machine(tmp_path)


def test_each_cluster_has_addresses_of_its_own(machine: Machine) -> None:
    first, second = machine.found("a", network="bridge"), machine.found("b", network="bridge")
    assert first.services == "10.96.0.0/12"
    assert not ranges.overlapping(second.services, [first.services])
    assert first.pods == "10.244.0.0/16"
    assert not ranges.overlapping(second.pods, [first.pods])
    # They keep them, also when the other one is gone.
    shutil.rmtree(machine.folder / "a")
    assert machine.again("b", second) == second
    assert machine.found("c", network="bridge").services == first.services
    assert machine.found("d").pods == ""


def test_so_many_clusters_that_stopped_ones_give_theirs(machine: Machine) -> None:
    several = [machine.found(f"c{number}").services for number in range(len(ranges.SERVICES))]
    assert len(set(several)) == len(several)
    machine.runs("c0")
    assert machine.found("one-more").services == several[1]


def test_what_is_wanted_is_refused_only_while_the_other_cluster_is_up(machine: Machine) -> None:
    machine.found("a")
    wanted = machine.found("b", service_range="10.100.0.0/16")
    assert wanted.services == "10.100.0.0/16"
    machine.runs("a")
    with pytest.raises(UpError, match=rf"in {machine.folder}/a, which is up, of 10\.96\.0\.0/12; stop that one"):
        machine.again("b", wanted)
    assert machine.found("c", service_range="10.100.0.0/16", nodes=0).nodes == []


def test_pods_of_two_clusters_that_are_up_do_not_share_addresses(machine: Machine) -> None:
    extra = ("controllers.cluster-cidr=10.50.0.0/16", "agent.pod-network=bridge")
    assert machine.found("a", extra=extra).pods == "10.50.0.0/16"
    machine.runs("a")
    with pytest.raises(UpError, match=r"pods have addresses of 10\.50\.0\.0/16"):
        machine.found("b", extra=extra)


def test_a_note_of_what_is_no_cluster_is_forgotten(machine: Machine) -> None:
    machine.found("a")
    machine.found("b")
    notes = machine.folder / "notes"
    assert len(list(notes.glob("[0-9a-f]*"))) == 2
    (machine.folder / "a" / plans.FILE).unlink()
    machine.again("b", decided(nodes=1))
    assert [Path(note.read_text()).name for note in notes.glob("[0-9a-f]*")] == ["b"]


def test_where_no_notes_can_be_there_are_no_neighbours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    neighbours = Neighbours(tmp_path, tmp_path / "file" / "notes")
    with neighbours.locked():
        assert neighbours.settle(decided()).services == ranges.SERVICES[0]


def test_a_way_that_the_machine_has_is_left_alone() -> None:
    routes = ranges.parse_routes(ROUTES)
    assert routes == ["192.0.2.0/24", "10.112.0.0/16"]
    assert ranges.choose(ranges.SERVICES, ["10.96.0.0/12"], routes) == "10.113.0.0/16"
    assert ranges.choose(["10.112.0.0/16"], [], routes) == "10.112.0.0/16"
    assert ranges.choose(["10.112.0.0/16"], ["10.112.7.0/24"], routes) == ""
    assert ranges.choose(["10.112.0.0/16"], ["fd00::/108"], ["10.0.0.0/8"]) == "10.112.0.0/16"


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"service_range": "10.0.0.1/8"}, "--service-cluster-ip-range: .* has host bits set"),
        ({"service_range": "10.0.0.0/30"}, "has too few addresses"),
        ({"network": "bridge", "runtime": "docker"}, "--network bridge is for --runtime process"),
        ({"network": "bridge", "runtime": "simulated"}, "--network bridge is for --runtime process"),
    ],
)
def test_what_cannot_be_is_refused_at_once(wishes: dict[str, str], message: str) -> None:
    with pytest.raises(UpError, match=message):
        decided(**wishes)


def test_addresses_and_network_are_decided_once() -> None:
    plan = decided(network="bridge", service_range="10.20.0.0/16")
    for wishes, message in (
        (Wishes(network="host"), "with --network bridge; choose another --data-dir"),
        (Wishes(service_range="10.30.0.0/16"), r"addresses of 10\.20\.0\.0/16, and they keep them"),
    ):
        with pytest.raises(UpError, match=message):
            decide(plan, wishes, lambda count: [1] * count, "token")
    same = Wishes(network="bridge", service_range="10.20.0.0/16")
    assert decide(plan, same, lambda count: [1] * count, "token") == plan


def test_bridges_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UpError, match="--network bridge needs root"):
        refuse_impossible(decided(network="bridge", nodes=1))
    refuse_impossible(decided(network="bridge"))
    refuse_impossible(decided(nodes=1))


def test_bridges_need_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("node_agent.network.command.program", lambda name: "" if name == "nft" else "/sbin/ip")
    with pytest.raises(UpError, match="--network bridge needs nft; install"):
        refuse_impossible(decided(network="bridge", nodes=1))


def test_every_part_is_told(machine: Machine, tmp_path: Path) -> None:
    plan = machine.found("a", network="bridge", service_range="10.20.0.0/16")
    rows = {row.name: row.command for row in table(tmp_path, plan)}
    assert "--service-cluster-ip-range=10.20.0.0/16" in rows["m1-apiserver"]
    assert f"--cluster-cidr={plan.pods}" in rows["m1-controllers"]
    assert "--pod-network=bridge" in rows["n1-agent"]
    rows = {row.name: row.command for row in table(tmp_path, decided(nodes=1))}
    assert "--service-cluster-ip-range=10.96.0.0/12" in rows["m1-apiserver"]
    assert not [word for word in rows["m1-controllers"] if "cluster-cidr" in word]
    assert "--pod-network=loopback" in rows["n1-agent"]


def test_the_servers_certificate_names_where_pods_find_it(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from cryptography import x509

    ensure_rest(tmp_path, decided(service_range="10.20.0.0/16"), datetime.now(UTC))
    found = x509.load_pem_x509_certificate((tmp_path / "pki" / "apiserver.crt").read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "10.20.0.1" in {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def test_ports_of_other_clusters_are_not_offered(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be down, or so young that nobody listens there yet."""
    taken = sorted(machine.found("one").ports)
    monkeypatch.setattr("control.up.ports._candidates", lambda: iter([*taken, *range(12_000, 20_000)]))
    offered = Neighbours(machine.folder / "two", machine.folder / "notes").free_ports(3)
    assert len(offered) == 3
    assert not set(taken) & set(offered)
