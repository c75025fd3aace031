"""The picture of a history: whole, self-contained, and with the call that did not fit in it."""

from __future__ import annotations

import random
import re
import time
from html.parser import HTMLParser

from linearizability.checker import check
from linearizability.histories import call, lost, made_by_chance
from linearizability.operations import get, put
from linearizability.picture import render

# Elements that HTML never closes.
_VOID = {"meta", "li", "p", "html"}


class Reader(HTMLParser):
    """Fails on elements that are not closed in order; collects classes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.classes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.classes += [value or "" for name, value in attrs if name == "class"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    """The page, parsed to its end."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_a_stale_read_is_drawn() -> None:
    """Two good calls in green, the unknown one hatched, the stale one red; markup in values is only text."""
    history = [
        call(1, 0.0, 0.1, put(b"<k>", b"<b>&1"), []),
        call(2, 0.2, 0.3, put(b"<k>", b"2"), [(b"<b>&1", 1)]),
        lost(4, 0.35, put(b"<k>", b"lost")),
        call(3, 0.4, 0.5, get(b"<k>"), [(b"<b>&1", 1)]),
    ]
    page = render(check(history, time.monotonic), "A <test>")
    reader = read(page)
    assert reader.classes.count("taken") == 2
    assert reader.classes.count("pending") == 1
    assert reader.classes.count("stuck") == 2  # the bar, and the line below
    assert "A <test>: illegal" in reader.text
    assert "client 3 [400.000 ms … 500.000 ms]" in reader.text
    assert not re.search(r"(src|href)=|@import|url\((?!#)", page), "the page needs something from elsewhere"


def test_a_long_history_is_cut_to_what_matters(seed: int) -> None:
    """2,000 calls with a stale read at the end: the page stays small and says what it left out."""
    history, _ = made_by_chance(random.Random(seed), calls=2000, keys=(b"a",), unknown=0.0)
    end = max(o.end for o in history)
    page = render(check([*history, call(9, end + 1, end + 2, get(b"a"), [(b"gone", 1)])], time.monotonic))
    assert len(page) < 300_000
    assert "calls further away are left out" in read(page).text


def test_a_good_history_has_nothing_to_draw() -> None:
    """One line."""
    page = render(check([call(1, 0, 1, put(b"a", b"1"), [])], time.monotonic))
    assert "Every part is linearizable" in read(page).text
