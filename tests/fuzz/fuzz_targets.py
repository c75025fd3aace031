"""What reads bytes from strangers or from disks, as functions of those bytes: one target each.

A target returns for anything it may refuse in its own words, and raises for what must never happen: another exception,
or an answer that contradicts itself. atheris drives them by coverage (`python fuzz_with_atheris.py TARGET`), hypothesis
for a while in every test run (test_fuzz_targets.py).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from kvstore.backup import reading, rows, snapshot_file
from kvstore.backup.status import status
from kvstore.errors import EtcdError
from kvstore.member import requests
from kvstore.member.membership import raft_change
from kvstore.mvcc.types import pack, to_bytes
from kvstore.pb import etcd_pb2 as pb
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import Entry, HardState, SnapshotMeta
from kvstore.services import gateway_json
from kvstore.storage import Log
from kvstore.storage.bolt import BoltWriter
from kvstore.storage.errors import StorageError
from kvstore.storage.log import format as log_format
from kvstore.storage.sync_mark import SyncMark
from kvstore.wire.grpc.client_connection import ClientConnection
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Methods
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.http1_parser import BadRequest, Http1Parser
from kvstore.wire.limits import Limits


class Target(NamedTuple):
    """run: what is fuzzed. seeds: well-formed inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: list[bytes]


def _raft_message(data: bytes) -> None:
    """A message decodes to one that encodes to itself, or is refused with ValueError."""
    try:
        message = codec.decode_message(data)
    except ValueError:
        return
    again = codec.decode_message(codec.encode_message(message))
    assert again == message


def _raft_frame(data: bytes) -> None:
    """What a peer's stream does with a frame."""
    try:
        frame = raft_pb2.Frame.FromString(data)
    except DecodeError:
        return
    for message in frame.messages:
        try:
            codec.message_from_pb(message)
        except ValueError:
            continue


def _conf_change(data: bytes) -> None:
    try:
        change = codec.decode_conf_change(data)
    except ValueError:
        return
    assert codec.decode_conf_change(codec.encode_conf_change(change)) == change


def _batch(data: bytes) -> None:
    """A log entry's batch: whole or BatchError, and nothing of it is lost."""
    try:
        batch = requests.decode(data)
    except requests.BatchError:
        return
    encoded = requests.encode_head(batch.origin, batch.first_sequence)
    encoded += b"".join(requests.encode_request(kind, body) for kind, body in batch.requests)
    assert encoded == data
    for kind, body in batch.requests:
        if kind & requests.SIGNED:
            try:
                requests.unsign(kind, body)
            except (EtcdError, UnicodeDecodeError):
                continue


def _membership(data: bytes) -> None:
    for kind in (requests.RequestKind.MEMBER_ADD, requests.RequestKind.MEMBER_REMOVE):
        try:
            raft_change(kind, data)
        except (EtcdError, DecodeError):
            continue


ENTRIES = [Entry(1 + index // 4, index, 0, b"entry %d" % index) for index in range(1, 9)]


def _segment() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder, "log"), metadata=b"fuzz", segment_bytes=2048)
        for entry in ENTRIES:
            log.append([entry], HardState(entry.term, 1, entry.index - 1))
            log.sync()
        log.set_snapshot(SnapshotMeta(3, 1))
        log.close()
        (path,) = Path(folder, "log").glob("*.wal")
        return path.read_bytes().rstrip(b"\0")


def _log_file(data: bytes) -> None:
    """A segment with any content is refused, or holds the beginning of what was written and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log", "00000001-0000000000000001.wal")
        path.parent.mkdir()
        path.write_bytes(data.ljust(2048, b"\0"))
        try:
            log = Log.open(path.parent, segment_bytes=2048)
        except StorageError:
            return
        try:
            entries = log.entries(log.first_index(), log.last_index() + 1, 1 << 30)
        finally:
            log.close()
        assert entries == ENTRIES[: len(entries)], "the log made something up"


def _snapshot() -> bytes:
    """A snapshot file without its checksum: a few keys, one of them deleted, and a lease."""
    made = [pb.KeyValue(key=b"k%d" % n, create_revision=n, mod_revision=n, version=1, lease=7) for n in (2, 3)]
    history = [(rows.revision_key(to_bytes(pack(kv.mod_revision)), False), kv.SerializeToString()) for kv in made]
    gone = (rows.revision_key(to_bytes(pack(4)), True), pb.KeyValue(key=b"k2").SerializeToString())
    file = io.BytesIO()
    writer = BoltWriter(file)
    writer.bucket(b"alarm", [])
    writer.bucket(b"key", [*history, gone])
    writer.bucket(b"lease", [(rows.number(7), rows.lease_value(7, 60, 60))])
    writer.finish()
    return file.getvalue()


class _Rows(dict[bytes, bytes]):
    """A table in memory, as far as a restore needs one."""

    def put(self, key: bytes, value: bytes) -> None:
        self[key] = value

    append = put

    def delete(self, key: bytes) -> None:
        self.pop(key, None)


class _Tables(defaultdict[str, _Rows]):
    def __init__(self) -> None:
        super().__init__(_Rows)

    def table(self, name: str) -> Any:
        return self[name]


def _snapshot_file(data: bytes) -> None:
    """A snapshot file with any content is refused, or read to its end, both for its status and for a restore."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(StorageError):
            status(file.name)
        try:
            with snapshot_file.opened(file.name) as bolt:
                assert reading.load(bolt, _Tables(), lambda: None) >= 0
        except StorageError:
            return


def _log_header(data: bytes) -> None:
    try:
        log_format.decode_header(data)
    except (log_format.BadHeader, ValueError):
        return


def _sync_mark(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "synced")
        path.write_bytes(data)
        try:
            mark = SyncMark.open(path)
        except StorageError:
            return
        mark.close()


def _http2_server(data: bytes) -> None:
    """Anything at all after the connection's preface."""
    limits = Limits(keepalive_interval=0)
    connection = ServerConnection(limits, lambda: None, 0.0, methods=Methods(), deadlines=Deadlines())
    connection.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + data, 0.0)
    connection.take_output()


def _http2_client(data: bytes) -> None:
    """Anything a server may answer."""
    limits = Limits(keepalive_interval=0)
    connection = ClientConnection(limits, lambda: None, 0.0, authority="a", scheme="http", max_message=1 << 20)
    connection.open("/a.B/C", (), _Deaf(), None)
    connection.receive(data, 0.0)
    connection.take_output()


class _Deaf:
    def message(self, data: bytes) -> None:
        pass

    def finished(self, code: int, message: str) -> None:
        pass


def _json(data: bytes) -> None:
    """What the JSON gateway takes for a request, or refuses in etcd's words."""
    try:
        for request in gateway_json.requests(pb.TxnRequest, data):
            pb.TxnRequest.FromString(request.SerializeToString())
    except EtcdError:
        return


def _http1(data: bytes) -> None:
    parser = Http1Parser(Limits())
    try:
        parser.feed(data)
        while parser.next() is not None:
            pass
    except BadRequest:
        return


_FRAME = raft_pb2.Frame(messages=[raft_pb2.Message(kind=raft_pb2.APPEND, to=1, term=3, index=4)])
_FRAME.messages[0].entries.add(term=3, index=5, data=b"data")
_PUT = pb.PutRequest(key=b"k", value=b"v").SerializeToString()

TARGETS: dict[str, Target] = {
    "raft_message": Target(_raft_message, [_FRAME.messages[0].SerializeToString()]),
    "raft_frame": Target(_raft_frame, [_FRAME.SerializeToString()]),
    "conf_change": Target(_conf_change, [raft_pb2.ConfChange(context=b"c").SerializeToString()]),
    "batch": Target(_batch, [requests.encode_head(1, 2) + requests.encode_request(1, _PUT) * 2]),
    "membership": Target(_membership, [b"\1\0\0\0" + pb.Member(ID=7, peerURLs=["http://a:1"]).SerializeToString()]),
    "log_file": Target(_log_file, [_segment()]),
    "snapshot_file": Target(_snapshot_file, [_snapshot()]),
    "log_header": Target(_log_header, [_segment()]),
    "sync_mark": Target(_sync_mark, [b"FLUYTSYN" + bytes(1016)]),
    "http2_server": Target(_http2_server, [bytes(9), b"\0\0\0\4\0\0\0\0\0"]),
    "http2_client": Target(_http2_client, [b"\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0"]),
    "json": Target(_json, [b'{"compare":[{"key":"YQ==","version":"1"}],"success":[{"requestPut":{"key":"YQ=="}}]}']),
    "http1": Target(_http1, [b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"]),
}
