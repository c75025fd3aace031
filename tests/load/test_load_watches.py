"""The benchmark's watches: each mark counts once, however the octets are cut."""

from __future__ import annotations

from contextlib import AbstractContextManager
from socket import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import feed, served
from support.bench.load import frames
from support.bench.load.streams import Watches

MARK, PREFIX = b"~end", b"/watched/"


def watching(count: int) -> AbstractContextManager[tuple[Watches, socket]]:
    """So many watches, which are created."""
    created = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x88") + frames.data(1, b"made", last=False) * count
    return served(lambda endpoint: Watches(endpoint, PREFIX, count), PREFIX, created)


@given(
    st.lists(st.sampled_from([MARK, b"~", b"~e", b"end", b"~en~", b"x" * 100]), min_size=1, max_size=30),
    st.lists(st.integers(0, 1 << 12), max_size=20),
)
def test_however_it_is_cut_each_mark_counts_once(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"|".join([*pieces, MARK])
    marks = octets.count(MARK)
    with watching(marks) as (link, server):
        link.expect(MARK)
        feed(link, server, octets[:-1], cuts)
        assert not link.done
        feed(link, server, octets[-1:], [])
        assert link.done
        assert link.last > 0


def test_what_came_before_is_no_part_of_a_mark() -> None:
    with watching(1) as (link, server):
        for _ in range(2):
            link.expect(MARK)
            feed(link, server, b"nd" + MARK[:3] + b"." + MARK, [7])
            assert link.done
        link.expect(MARK)
        feed(link, server, MARK[:2], [])
        link.expect(MARK)
        feed(link, server, MARK[2:], [])
        assert not link.done


def test_a_server_that_hangs_up_is_an_error() -> None:
    with watching(1) as (link, server):
        link.expect(MARK)
        server.close()
        with pytest.raises(RuntimeError, match="closed"):
            link.receive()
