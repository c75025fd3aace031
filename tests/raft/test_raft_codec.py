"""What travels and what is saved comes back as it was; what is no message is refused with ValueError."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.pb import raft_pb2 as pb
from kvstore.raft import codec, short_form, types
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    SnapshotMeta,
    Transition,
)

numbers = st.integers(0, (1 << 64) - 1)
data = st.binary(max_size=64)
members = st.lists(numbers, max_size=5).map(tuple)
states = st.builds(ConfState, members, members, members, members, st.booleans())
metas = st.builds(SnapshotMeta, numbers, numbers, states)
entries = st.builds(Entry, numbers, numbers, st.sampled_from(EntryKind), data)
messages = st.builds(
    Message,
    kind=st.sampled_from(MessageKind),
    to=numbers,
    from_=numbers,
    term=numbers,
    log_term=numbers,
    index=numbers,
    entries=st.lists(entries, max_size=4),
    commit=numbers,
    reject=st.booleans(),
    reject_hint=numbers,
    context=data,
    snapshot=st.none() | metas,
)
singles = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeKind), numbers)
changes = st.builds(ConfChange, st.lists(singles, max_size=4).map(tuple), st.sampled_from(Transition), data)


# Such as flow all the time, which are written and read without protobuf.
flowing = st.builds(
    Message,
    kind=st.sampled_from(MessageKind),
    to=st.sampled_from([0, 1, 300, 0xFED4_16D4_775D_0AA6]),
    from_=st.sampled_from([0, 2, 0x8ED4_16D4_775D_0AA6]),
    term=st.sampled_from([0, 1, 2, 200]),
    log_term=st.sampled_from([0, 1, 2, 200]),
    index=numbers | st.integers(0, 70_000),
    entries=st.lists(st.builds(Entry, numbers, numbers, st.sampled_from(EntryKind), data), max_size=3),
    commit=numbers | st.integers(0, 300),
    context=data,
)


def of_protobuf(sent: list[Message]) -> bytes:
    return pb.Frame(messages=[codec.message_to_pb(message) for message in sent]).SerializeToString()


@settings(deadline=None, max_examples=300)
@given(st.lists(flowing | messages, max_size=3))
def test_frames_are_protobufs_own(sent: list[Message]) -> None:
    wire = of_protobuf(sent)
    assert codec.encode_frame(sent) == wire
    for _ in range(2):  # the second time what they begin with is known
        back = codec.decode_frame(wire)
        assert back == sent
        assert all(isinstance(message.kind, MessageKind) for message in back)


@settings(deadline=None, max_examples=300)
@given(flowing, st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 6))
def test_bytes_that_nobody_wrote_are_read_as_protobuf_reads_them(
    sent: Message, place: int, put_in: bytes, left_out: int
) -> None:
    wire = of_protobuf([sent])
    codec.decode_frame(wire)
    at = place % (len(wire) + 1)
    odd = wire[:at] + put_in + wire[at + left_out :]
    try:
        frame = pb.Frame.FromString(odd)
        expected: list[Message] | None = [codec.message_from_pb(message) for message in frame.messages]
    except (DecodeError, ValueError):
        expected = None
    if expected is None:
        with pytest.raises(ValueError):
            codec.decode_frame(odd)
    else:
        assert codec.decode_frame(odd) == expected


def test_what_flows_takes_the_short_way() -> None:
    sent = [Message(MessageKind.APPEND, to=5, from_=7, term=3, log_term=2, index=9, entries=[Entry(3, 10, 0, b"x")])]
    wire = codec.encode_frame(sent)
    assert short_form.read_frame(wire) == sent
    sent[0].log_term = 0  # shorter, and what the other begins with
    codec.encode_frame(sent)
    assert short_form.read_frame(wire) is not None
    assert short_form.write_frame([Message(MessageKind.APPEND_REPLY, to=5, from_=7, term=3, reject=True)]) is None
    assert short_form.write_frame([Message(MessageKind.VOTE, to=5, from_=7, term=3)]) is None


def test_what_is_remembered_is_bounded() -> None:
    for term in range(1, 2_000):
        codec.encode_frame([Message(MessageKind.HEARTBEAT, to=5, from_=7, term=term)])
    assert len(short_form._heads) == len(short_form._meanings) <= 256


@settings(deadline=None)
@given(st.lists(messages, max_size=4))
def test_messages(sent: list[Message]) -> None:
    assert codec.decode_frame(codec.encode_frame(sent)) == sent
    for message in sent:
        back = codec.decode_message(codec.encode_message(message))
        assert back == message
        assert isinstance(back.kind, MessageKind)


@settings(deadline=None)
@given(changes)
def test_conf_changes(change: ConfChange) -> None:
    assert codec.decode_conf_change(codec.encode_conf_change(change)) == change


@settings(deadline=None)
@given(states, metas, numbers)
def test_states(state: ConfState, meta: SnapshotMeta, number: int) -> None:
    assert codec.conf_state_from_pb(codec.conf_state_to_pb(state)) == state
    assert codec.snapshot_meta_from_pb(codec.snapshot_meta_to_pb(meta)) == meta
    hard = HardState(number, number // 2, number // 3)
    assert codec.hard_state_from_pb(codec.hard_state_to_pb(hard)) == hard


def test_the_empty_change_is_empty() -> None:
    """That is what a leader writes to leave a joint configuration."""
    assert codec.encode_conf_change(ConfChange()) == b""


@pytest.mark.parametrize("decode", [codec.decode_message, codec.decode_frame, codec.decode_conf_change])
def test_what_is_no_message_is_refused(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(ValueError):
        decode(b"\xff\xff\xff\xff")


def test_a_kind_from_the_future_is_refused() -> None:
    unknown = pb.Message()
    unknown.ParseFromString(b"\x08\x63")  # kind: 99
    with pytest.raises(ValueError):
        codec.message_from_pb(unknown)


@pytest.mark.parametrize("name", ["EntryKind", "MessageKind", "ConfChangeKind", "Transition"])
def test_enums_are_those_of_the_wire(name: str) -> None:
    ours, theirs = getattr(types, name), getattr(pb, name)
    assert {kind.name: kind.value for kind in ours} == dict(theirs.items())


@pytest.mark.parametrize(
    "name", ["Entry", "HardState", "ConfState", "SnapshotMeta", "ConfChange", "ConfChangeSingle", "Message"]
)
def test_fields_are_those_of_the_wire(name: str) -> None:
    known = getattr(types, name)
    ours = {field.rstrip("_") for field in known.__slots__ or known._fields}
    assert ours == {field.name for field in getattr(pb, name).DESCRIPTOR.fields}
