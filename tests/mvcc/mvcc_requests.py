"""Random requests over few keys, so that they meet; long keys, zeros and 0xff among them."""

from __future__ import annotations

from hypothesis import strategies as st

from kvstore.pb import etcd_pb2 as pb

LEASES = (7, -9)
LONG = b"a" * 500

keys = st.sampled_from(
    [b"a", b"a\0", b"a\0\0", b"a\0\xff", b"b", b"ba", b"c", b"\0", b"\xff", LONG, LONG + b"\0", LONG + b"x"]
)
values = st.binary(max_size=3)
ends = st.one_of(st.just(b""), st.just(b"\0"), keys)
leases = st.sampled_from([0, 0, 0, *LEASES, 5])
# Revisions are drawn relative to the current one, else most would be in the future.
back = st.integers(min_value=-1, max_value=12)


@st.composite
def puts(draw: st.DrawFn) -> pb.PutRequest:
    req = pb.PutRequest(key=draw(keys), prev_kv=draw(st.booleans()))
    if draw(st.integers(0, 7)) == 0:
        req.ignore_value = True
    else:
        req.value = draw(values)
    if draw(st.integers(0, 7)) == 0:
        req.ignore_lease = True
    else:
        req.lease = draw(leases)
    return req


deletes = st.builds(pb.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=st.booleans())
bounds = st.one_of(st.just(0), st.just(0), st.integers(1, 30))
ranges = st.builds(
    pb.RangeRequest,
    key=keys,
    range_end=ends,
    limit=st.sampled_from([0, 0, 0, 1, 2, 5, -1]),
    revision=st.one_of(st.just(0), back),
    sort_order=st.sampled_from(pb.RangeRequest.SortOrder.values()),
    sort_target=st.sampled_from([0, 0, 0, *pb.RangeRequest.SortTarget.values()]),
    keys_only=st.booleans(),
    count_only=st.sampled_from([False, False, False, True]),
    min_mod_revision=bounds,
    max_mod_revision=bounds,
    min_create_revision=bounds,
    max_create_revision=bounds,
)
compares = st.one_of(
    st.builds(
        pb.Compare,
        key=keys,
        range_end=ends,
        target=st.just(target),
        result=st.sampled_from(pb.Compare.CompareResult.values()),
        **{field: value},
    )
    for target, field, value in (
        (pb.Compare.VERSION, "version", st.integers(0, 3)),
        (pb.Compare.CREATE, "create_revision", st.integers(0, 12)),
        (pb.Compare.MOD, "mod_revision", st.integers(0, 12)),
        (pb.Compare.VALUE, "value", values),
        (pb.Compare.LEASE, "lease", leases),
    )
)


def requests(txns: st.SearchStrategy[pb.TxnRequest]) -> st.SearchStrategy[pb.RequestOp]:
    return st.one_of(
        st.builds(pb.RequestOp, request_put=puts()),
        st.builds(pb.RequestOp, request_range=ranges),
        st.builds(pb.RequestOp, request_delete_range=deletes),
        st.builds(pb.RequestOp, request_txn=txns),
    )


def txns_of(ops: st.SearchStrategy[pb.RequestOp]) -> st.SearchStrategy[pb.TxnRequest]:
    return st.builds(
        pb.TxnRequest,
        compare=st.lists(compares, max_size=2),
        success=st.lists(ops, max_size=4),
        failure=st.lists(ops, max_size=3),
    )


txns = txns_of(requests(txns_of(requests(st.builds(pb.TxnRequest)))))
steps = st.one_of(
    puts(),
    puts(),
    ranges,
    deletes,
    txns,
    st.builds(pb.CompactionRequest, revision=back),
    st.integers(1, 4),  # a slice of compaction
)
