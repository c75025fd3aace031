"""The small languages of the runtimes: names, log lines, frames, Docker's streams, SPDY. By value."""

from __future__ import annotations

import random
import struct

import pytest

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime import ownership, pause
from node_agent.runtime.cri import messages as cri
from node_agent.runtime.cri.spdy_client import SpdyBroken, SpdyClient
from node_agent.runtime.cri.streams import exit_of
from node_agent.runtime.docker import messages as docker
from node_agent.runtime.docker.multiplex import Demultiplexer
from node_agent.runtime.docker.process_tree import descendants
from node_agent.runtime.errors import InvalidImageName
from node_agent.runtime.image_names import normalised
from node_agent.runtime.log_format import MAX_LINE, LineCutter, stamp
from node_agent.runtime.process.shim.frames import BadFrame, FrameReader, frame
from node_agent.runtime.streams import Channel
from node_agent.runtime.types import ContainerConfig, ContainerState, Resources, SandboxConfig, Security
from node_agent.streams import spdy


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("library/nginx", "docker.io/library/nginx:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("me/app:v1", "docker.io/me/app:v1"),
        ("localhost/app", "localhost/app:latest"),
        ("reg.example:5000/a/b:c", "reg.example:5000/a/b:c"),
        ("a@sha256:" + "0" * 64, "docker.io/library/a@sha256:" + "0" * 64),
        ("a:1@sha256:" + "0" * 64, "docker.io/library/a@sha256:" + "0" * 64),
        ("host", "host"),
        ("host:relative", "docker.io/library/host:relative"),
        ("host:/srv/root", "host:/srv/root"),
    ],
)
def test_image_names(name: str, whole: str) -> None:
    assert normalised(name) == whole


@pytest.mark.parametrize("name", ["", "A", "a b", "a:", "a/", "/a", "a@sha256:12", "a" * 500, "Up/a", "a:b:c"])
def test_what_is_no_image_name(name: str) -> None:
    with pytest.raises(InvalidImageName, match=r"invalid reference format|lowercase"):
        normalised(name)


def test_log_lines() -> None:
    at = 1_767_323_045_000_000_006
    assert stamp(at) == "2026-01-02T03:04:05.000000006Z"
    cutter = LineCutter("stdout")
    assert cutter.feed(b"one\n\ntw", at) == f"{stamp(at)} stdout F one\n{stamp(at)} stdout F \n".encode()
    assert cutter.feed(b"o\n", at) == f"{stamp(at)} stdout F two\n".encode()
    assert cutter.feed(b"rest", at) == b""
    assert cutter.end(at) == f"{stamp(at)} stdout F rest\n".encode()
    assert cutter.end(at) == b""


def test_long_lines_are_cut_however_they_come(seed: int) -> None:
    chance = random.Random(seed)
    text = bytes(chance.choice(b"ab\n") if chance.random() < 0.0002 else 99 for _ in range(200_000)) + b"\n"
    cutter, records, left = LineCutter("stderr"), b"", text
    while left:
        size = chance.randrange(1, 50_000)
        piece, left = left[:size], left[size:]
        records += cutter.feed(piece, 1)
    rows = [row.split(b" ", 3) for row in records.split(b"\n")[:-1]]
    assert max(len(row[3]) for row in rows) <= MAX_LINE
    joined = b"".join(row[3] + (b"\n" if row[2] == b"F" else b"") for row in rows)
    assert joined == text


def test_frames(seed: int) -> None:
    chance = random.Random(seed)
    sent = [(bytes([chance.randrange(65, 90)]), chance.randbytes(chance.randrange(0, 3000))) for _ in range(50)]
    data = b"".join(frame(kind, body) for kind, body in sent)
    reader, got = FrameReader(), []
    while data:
        size = chance.randrange(1, 4000)
        got += reader.feed(data[:size])
        data = data[size:]
    assert got == sent
    with pytest.raises(BadFrame):
        FrameReader().feed(b"I\xff\xff\xff\xff")


def test_dockers_streams(seed: int) -> None:
    chance = random.Random(seed)
    sent = [(chance.choice((1, 2)), chance.randbytes(chance.randrange(1, 900))) for _ in range(60)]
    data = b"".join(bytes([kind, 0, 0, 0]) + struct.pack(">I", len(body)) + body for kind, body in sent)
    for whole in (True, False):
        reader, got, left = Demultiplexer(whole=whole), [], data
        while left:
            size = chance.randrange(1, 500)
            got += reader.feed(left[:size])
            left = left[size:]
        for channel in (Channel.STDOUT, Channel.STDERR):
            assert b"".join(b for c, b in got if c is channel) == b"".join(b for k, b in sent if k == channel)
        assert not whole or got == [(Channel(kind), body) for kind, body in sent]
    assert Demultiplexer(raw=True).feed(b"\1\0x") == [(Channel.STDOUT, b"\1\0x")]


def test_spdy_against_the_agents_own_server() -> None:
    client, server = SpdyClient(), spdy.SpdyServer()
    error = client.open({"streamtype": "error"}, ended=True)
    data = client.open({"streamtype": "data", "port": "80"})
    client.send(data, b"x" * 70_000, end=True)
    client.send(data, b"too late")
    events = server.feed(client.take())
    assert events[0] == spdy.Opened(error, {"streamtype": "error"}, True)
    assert events[1] == spdy.Opened(data, {"streamtype": "data", "port": "80"}, False)
    received = [event for event in events if isinstance(event, spdy.Data)]
    assert b"".join(event.data for event in received) == b"x" * 70_000
    assert [event.ended for event in received] == [False, False, True]
    server.reply(error)
    server.reply(data)
    server.send(data, b"answer", end=True)
    server.reset(error, spdy.CANCEL)
    got = [event for byte in server.take() for event in client.feed(bytes([byte]))]
    assert [(event.stream, event.data, event.ended, event.reset) for event in got] == [
        (data, b"answer", True, False),
        (error, b"", True, True),
    ]
    with pytest.raises(SpdyBroken):
        SpdyClient().feed(struct.pack(">II", 0x80030002, 0xFFFFFF))


def test_the_last_word_on_an_error_stream() -> None:
    assert exit_of(b'{"status":"Success"}') == (-1, "")
    failure = b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
    assert exit_of(failure) == (3, "")
    assert exit_of(b'{"status":"Failure","message":"executable file not found"}') == (127, "executable file not found")
    assert exit_of(b"permission denied") == (126, "permission denied")


def test_ours_and_theirs() -> None:
    labels = ownership.labelled({"a": "b"}, "node-1", kind="sandbox")
    assert ownership.visible(labels) == {"a": "b"}
    assert (labels[ownership.OWNER], ownership.ours(labels, "kind")) == ("node-1", "sandbox")


def test_cri_messages_say_what_was_asked_for() -> None:
    sandbox = SandboxConfig("p", "ns", "u", host_network=False, share_process_namespace=True)
    config = ContainerConfig(
        "n", "web", security=Security(user=0, group=5), resources=Resources(memory=7), env=(("A", "ü"),)
    )
    made = cri.container_message(config, "sha256:1", sandbox, "node")
    security = made.linux.security_context
    assert security.HasField("run_as_user"), "root that was asked for is not nobody that was"
    assert (security.run_as_user.value, security.run_as_group.value) == (0, 5)
    assert (security.namespace_options.network, security.namespace_options.pid) == (pb.POD, pb.POD)
    assert "/proc/kcore" in security.masked_paths
    assert made.envs[0].value == "ü".encode()
    assert not cri.container_message(ContainerConfig("n", "web"), "i", sandbox, "x").linux.security_context.HasField(
        "run_as_user"
    )


def state(**changes: object) -> dict[str, object]:
    usual = {"Status": "exited", "Running": False, "ExitCode": 0, "OOMKilled": False, "Error": ""}
    return {**usual, "StartedAt": "2026-01-02T03:04:05.5Z", "FinishedAt": "0001-01-01T00:00:00Z", **changes}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (state(Status="running", Running=True), (ContainerState.RUNNING, 0, "")),
        (state(Status="created"), (ContainerState.CREATED, 0, "")),
        (state(Status="created", ExitCode=127, Error="not found"), (ContainerState.EXITED, 128, "StartError")),
        (state(), (ContainerState.EXITED, 0, "Completed")),
        (state(ExitCode=2), (ContainerState.EXITED, 2, "Error")),
        (state(ExitCode=137, OOMKilled=True), (ContainerState.EXITED, 137, "OOMKilled")),
    ],
)
def test_dockers_states(found: dict[str, object], expected: tuple[object, ...]) -> None:
    sandbox = SandboxConfig("p", "ns", "u", log_directory="/logs")
    config = ContainerConfig("n", "web", log_path="0.log", labels={"a": "b"}, annotations={"c": "d"})
    document = docker.container_document(config, "s" * 64, sandbox, "sha256:1", "node")
    inspected = {
        "Id": "c" * 64,
        "Image": "sha256:1",
        "Created": "2026-01-02T03:04:04Z",
        "Config": document,
        "HostConfig": document["HostConfig"],
        "State": found,
    }
    status = docker.status_value(inspected)
    assert (status.state, status.exit_code, status.reason) == expected
    assert (status.log_path, status.container.labels, status.container.annotations) == (
        "/logs/0.log",
        {"a": "b"},
        {"c": "d"},
    )
    assert status.started_at == 1767323045.5


def test_who_descends_from_whom() -> None:
    assert descendants(1, {2: 1, 3: 2, 4: 3, 5: 9, 1: 0}) == [2, 3, 4]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_pause_program_is_a_small_executable(machine: str) -> None:
    made = pause.program(machine)
    assert made.startswith(b"\x7fELF\x02\x01\x01")
    assert len(made) < 256
    entry, offset = struct.unpack_from("<QQ", made, 24)
    assert (entry, offset) == (0x400000 + 120, 64)
