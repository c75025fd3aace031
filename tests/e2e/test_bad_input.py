"""Wrong flags, wrong folders, damaged files: one clear line on stderr, exit code not 0, nothing overwritten."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.answers import ask
from harness.calls import get, put
from harness.cluster import Cluster, ClusterFactory
from harness.fluyt_here import fluyt_here
from harness.ports import free_port
from harness.process import clean_environment
from harness.require import require
from harness.workload import Workload

from kvstore.pb import etcd_pb2 as pb

pytestmark = pytest.mark.skipif(
    os.environ.get("FLUYT_TEST_SUBJECT", "fluyt") != "fluyt", reason="about our own messages"
)


def flags(data_dir: Path, **changes: str) -> list[str]:
    """Flags that would work, with some changed: peer_url="…" stands for --peer-url."""
    client, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    pairs = {
        "name": "m1",
        "data-dir": str(data_dir),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"m1={peer}",
    }
    pairs |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [word for name, value in pairs.items() for word in (f"--{name}", value)]


def refused(arguments: list[str], *words: str) -> str:
    """Run `fluyt store`: it must end with a code that is not 0 and one line on stderr that has all `words`."""
    command = [require("fluyt"), "store", *arguments]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode not in (0, None), f"it started: {run.stderr}"
    return cause(run.stderr, *words)


def cause(said: str, *words: str) -> str:
    """The one line of what it said on stderr that is no log; it must have all `words`."""
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip() and not _is_log(line)]
    # click adds how to ask for help to a wrong flag; the cause itself is one line.
    causes = [line for line in lines if not line.startswith(("Usage:", "Try ", "Run "))]
    assert len(causes) == 1, f"not one line: {said}"
    for word in words:
        assert word.lower() in causes[0].lower(), f"{word!r} is not in {causes[0]!r}"
    return causes[0]


def _is_log(line: str) -> bool:
    """Whether a line is of the log, not the error."""
    return line[:4].isdigit() and line[4:5] == "-"


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file below the folder, without locks."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and "lock" not in p.name]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"no_such_flag": "1"}, ["--no-such-flag"]),
        ({"election_timeout": "soon"}, ["election-timeout", "soon"]),
        ({"election_timeout": "100", "heartbeat_interval": "100"}, ["election-timeout"]),
        ({"heartbeat_interval": "-5"}, ["heartbeat-interval"]),
        ({"listen_client_urls": "127.0.0.1:2379"}, ["listen-client-urls", "http://"]),
        ({"listen_client_urls": "http://127.0.0.1:port"}, ["listen-client-urls", "port"]),
        ({"listen_client_urls": "http://127.0.0.1:99999"}, ["listen-client-urls"]),
        ({"listen_client_urls": "http://127.0.0.1"}, ["listen-client-urls", "port"]),
        ({"listen_client_urls": ""}, ["listen-client-urls"]),
        ({"listen_peer_urls": "ftp://127.0.0.1:2380"}, ["listen-peer-urls", "http://"]),
        ({"listen_peer_urls": "http://127.0.0.1:2380/path"}, ["listen-peer-urls"]),
        ({"initial_cluster": "m1"}, ["initial-cluster", "m1"]),
        ({"initial_cluster": "other=http://127.0.0.1:1"}, ["initial-cluster", "m1"]),
        ({"initial_cluster_state": "perhaps"}, ["initial-cluster-state", "perhaps"]),
        ({"auto_compaction_mode": "sometimes"}, ["auto-compaction-mode", "sometimes"]),
        ({"auto_compaction_retention": "long"}, ["auto-compaction-retention", "long"]),
        ({"snapshot_count": "0.5"}, ["snapshot-count"]),
        ({"log_level": "loud"}, ["log-level", "loud"]),
        ({"name": ""}, ["name"]),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_flag_is_named(tmp_path: Path, changes: dict[str, str], words: list[str]) -> None:
    """The line names the flag and what is wrong with it; no data directory is left behind half made."""
    outcome = fluyt_here("store", *flags(tmp_path / "data", **changes))
    assert outcome.code, f"it started: {outcome.stderr}"
    cause(outcome.stderr, *words)
    assert not list((tmp_path / "data").rglob("identity.json"))


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    """ETCD_* variables are flags too."""
    command = [require("fluyt"), "store", *flags(tmp_path / "data")]
    environment = clean_environment({"ETCD_ELECTION_TIMEOUT": "soon"})
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert run.returncode != 0
    assert "soon" in run.stderr


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """Nobody can listen there; named with its flag."""
    refused(flags(tmp_path / "data", listen_client_urls="http://192.0.2.1:2379"), "listen-client-urls", "192.0.2.1")


@pytest.mark.parametrize("which", ["client", "peer"])
def test_a_port_in_use(tmp_path: Path, which: str) -> None:
    """Named with its flag."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        changes = {f"listen_{which}_urls": url}
        if which == "peer":
            changes |= {"initial_advertise_peer_urls": url, "initial_cluster": f"m1={url}"}
        refused(flags(tmp_path / "data", **changes), f"listen-{which}-urls", str(taken.getsockname()[1]), "in use")


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    """It stays as it is."""
    path = tmp_path / "file"
    path.write_text("mine")
    refused(flags(path), str(path), "directory")
    assert path.read_text() == "mine"


def test_a_folder_with_other_files(tmp_path: Path) -> None:
    """A typing error must not mix our files with a user's."""
    (tmp_path / "letter.txt").write_text("dear reader")
    before = contents(tmp_path)
    refused(flags(tmp_path), str(tmp_path), "letter.txt")
    assert contents(tmp_path) == before


def test_etcds_own_data_directory(tmp_path: Path) -> None:
    """etcd's files are no use to us; they stay."""
    (tmp_path / "member" / "wal").mkdir(parents=True)
    (tmp_path / "member" / "wal" / "0.wal").write_bytes(b"etcd")
    before = contents(tmp_path)
    refused(flags(tmp_path), str(tmp_path))
    assert contents(tmp_path) == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Below a file; works as root too, who may write anywhere."""
    (tmp_path / "file").write_text("")
    refused(flags(tmp_path / "file" / "data"), str(tmp_path / "file"))


def test_an_unreadable_folder(tmp_path: Path) -> None:
    """No permission: as an ordinary user."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0)
    if os.access(folder, os.R_OK):
        setpriv = shutil.which("setpriv")
        if setpriv is None or os.geteuid() != 0:
            pytest.skip("needs setpriv to give up root's rights")
        run = subprocess.run(
            [setpriv, "--inh-caps=-all", "--bounding-set=-all", "--reuid=65534", "--clear-groups", "--", "true"],
            check=False,
        )
        if run.returncode:
            pytest.skip("may not give up root's rights here")
        os.chmod(tmp_path, 0o755)
        # /root and pytest's folders are closed to others, so only the capability to override permissions is dropped.
        command = [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--", require("fluyt")]
        run_store = subprocess.run(
            [*command, "store", *flags(folder)],
            capture_output=True,
            text=True,
            timeout=60,
            env=clean_environment(),
            check=False,
        )
        assert run_store.returncode != 0
        assert str(folder) in run_store.stderr
        assert "permission" in run_store.stderr.lower()
        assert "Traceback" not in run_store.stderr
        return
    refused(flags(folder), str(folder), "permission")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """A cluster of one that has data and was stopped, and a copy of its directory."""
    copy = tmp_path_factory.mktemp("stopped") / "data"
    require("fluyt")
    with Cluster("fluyt", 1) as cluster:
        with Workload(cluster, writers=1, readers=0) as load:
            load.wait_for_more(300)
        cluster.stop(0)
        shutil.copytree(cluster.members[0].data_dir, copy)
        yield cluster, copy


@pytest.fixture
def used(stopped: tuple[Cluster, Path]) -> Cluster:
    """That cluster with its directory as it was when it stopped."""
    cluster, copy = stopped
    cluster.wipe(0)
    shutil.copytree(copy, cluster.members[0].data_dir)
    return cluster


def arguments_of(cluster: Cluster) -> list[str]:
    """The flags it ran with."""
    return cluster.arguments(0)[2:]


def test_a_data_directory_in_use(new_cluster: ClusterFactory) -> None:
    """The second process leaves the first alone."""
    cluster = new_cluster(members=1)
    refused(flags(cluster.members[0].data_dir), str(cluster.members[0].data_dir), "in use")
    assert "header" in ask(cluster.stub(), *put(b"still", b"there"))


def test_a_data_directory_of_another_cluster(used: Cluster) -> None:
    """Other token, other cluster: refused, and nothing in it changes."""
    before = contents(used.members[0].data_dir)
    arguments = arguments_of(used)
    arguments[arguments.index("--initial-cluster-token") + 1] = "another"
    refused(arguments, str(used.members[0].data_dir), "cluster")
    assert contents(used.members[0].data_dir) == before


def test_a_data_directory_of_another_member(new_cluster: ClusterFactory) -> None:
    """The first member's flags with the second one's folder: refused, nothing in it changes."""
    cluster = new_cluster(members=3)
    for index in range(3):
        cluster.stop(index)
    arguments, other = arguments_of(cluster), cluster.members[1].data_dir
    before = contents(other)
    arguments[arguments.index("--data-dir") + 1] = str(other)
    refused(arguments, str(other), "member")
    assert contents(other) == before


def segments(cluster: Cluster) -> list[Path]:
    """The files of the log."""
    return sorted((cluster.members[0].data_dir / "log").glob("*.wal"))


def last_written(path: Path) -> int:
    """The offset after the last byte that is not zero (segments are preallocated)."""
    return len(path.read_bytes().rstrip(b"\0"))


def test_a_bit_flipped_in_the_middle_of_the_log(used: Cluster) -> None:
    """Refused with the file's name, never truncated: what follows the damage was acknowledged."""
    segment = segments(used)[0]
    data = bytearray(segment.read_bytes())
    data[last_written(segment) // 2] ^= 0x10
    segment.write_bytes(data)
    before = contents(used.members[0].data_dir / "log")
    refused(arguments_of(used), segment.name, "damaged")
    assert contents(used.members[0].data_dir / "log") == before


def test_a_log_segment_without_its_head(used: Cluster) -> None:
    """Zeros where the head was."""
    segment = segments(used)[0]
    data = bytearray(segment.read_bytes())
    data[:16] = bytes(16)
    segment.write_bytes(data)
    before = contents(used.members[0].data_dir / "log")
    refused(arguments_of(used), segment.name)
    assert contents(used.members[0].data_dir / "log") == before


def test_a_log_that_is_gone(used: Cluster) -> None:
    """An identity without a log is a disk that lost files: refused, not begun anew."""
    for segment in segments(used):
        segment.unlink()
    refused(arguments_of(used), str(used.members[0].data_dir))
    assert not segments(used)


def test_an_identity_that_is_no_json(used: Cluster) -> None:
    """Refused, named, left as it is."""
    identity = used.members[0].data_dir / "identity.json"
    identity.write_text("{ no json")
    refused(arguments_of(used), "identity.json")
    assert identity.read_text() == "{ no json"


def test_a_damaged_backend(used: Cluster) -> None:
    """Not a database any more: refused."""
    backend = next((used.members[0].data_dir / "backend").glob("*.mdb"))
    backend.write_bytes(b"not a database" * 1000)
    refused(arguments_of(used), "backend")
    assert backend.read_bytes().startswith(b"not a database")


def test_a_torn_tail_is_cut_and_the_rest_is_there(new_cluster: ClusterFactory) -> None:
    """What a crash leaves half-written after the last whole record is no corruption."""
    cluster = new_cluster(members=1)
    with Workload(cluster, writers=1, readers=0) as load:
        load.wait_for_more(100)
    cluster.kill(0)
    segment = segments(cluster)[-1]
    with segment.open("r+b") as file:
        file.seek(last_written(segment))
        file.write(b"\x40\x00\x00\x00torn")
    cluster.launch(0)
    cluster.wait_healthy()
    for write in load.history.acknowledged[-20:]:
        answer = cluster.stub().Range(pb.RangeRequest(key=write.key, revision=write.revision), timeout=5)
        assert answer.kvs[0].value == write.value


def test_a_wiped_member_does_not_vote_with_an_empty_memory(new_cluster: ClusterFactory) -> None:
    """A member whose disk was wiped must not help to forget: what was acknowledged stays, whoever is there."""
    cluster = new_cluster()
    assert "header" in ask(cluster.stub(), *put(b"k", b"precious"))
    wiped = cluster.followers()[0]
    cluster.kill(wiped)
    cluster.wipe(wiped)
    cluster.launch(wiped)
    others = [i for i in range(3) if i != wiped]
    cluster.wait_healthy(others)
    for index in others:
        answer = cluster.stub(index).Range(get(b"k")[1], timeout=5)
        assert answer.kvs[0].value == b"precious"
