"""Quantities: canonical texts as Kubernetes writes them, exact arithmetic, and what is no quantity."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.quantity import BINARY, ZERO, Quantity, canonical
from control.api.status import StatusError

CANONICAL = {
    "0": "0", "0.0": "0", "-0": "0", "1000m": "1", "1500m": "1500m", "0.5": "500m", ".5": "500m", "5.": "5",
    "100000k": "100M", "1000": "1k", "1024": "1024", "1024Ki": "1Mi", "1.5Gi": "1536Mi", "1500Mi": "1500Mi",
    "0.1Ki": "102400m", "512": "512", "0.5Ki": "512", "12e6": "12e6", "1e4": "10e3", "1E3": "1e3", "1E": "1E",
    "1.5e3": "1500", "-1.5": "-1500m", "+7": "7", "1u": "1u", "0.0000000001": "1n", "1n": "1n", "2500000u": "2500m",
    "99999999999Ei": "9223372036854775807", "1Ei": "1Ei", "1234567890123": "1234567890123", "1023": "1023",
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), CANONICAL.items())
def test_canonical_text(text: str, wanted: str) -> None:
    assert canonical(text) == wanted
    assert canonical(wanted) == wanted


def test_json_numbers_are_quantities_too() -> None:
    assert [canonical(number) for number in (1, 1000, 0.5, 2.0)] == ["1", "1k", "500m", "2"]


BAD = [
    "",
    " 1",
    "1 ",
    "x",
    "1.2.3",
    "1kk",
    "1ki",
    "--1",
    "1e",
    "e3",
    "1e999999999",
    "NaN",
    "Inf",
    "0x10",
    "1" * 65,
    "½",
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(StatusError, match=r"quantit") as refused:
        Quantity.parse(text)
    assert refused.value.code == 400


def test_units_round_up() -> None:
    assert Quantity.parse("250m").milli() == 250
    assert Quantity.parse("1n").milli() == 1
    assert Quantity.parse("1Ki").ceil() == 1024
    assert Quantity.parse("100m").ceil() == 1
    assert Quantity.parse("-1500m").ceil() == -1


def test_arithmetic_and_order() -> None:
    memory = Quantity.parse("1Gi") + Quantity.parse("512Mi")
    assert str(memory) == "1536Mi"
    assert str(memory - Quantity.parse("1536Mi")) == "0"
    assert str(ZERO + Quantity.parse("64Mi")) == "64Mi"
    assert str(Quantity.parse("100m") * 15) == "1500m"
    assert str(-Quantity.of_millis(20)) == "-20m"
    assert Quantity.parse("1k") == Quantity.parse("1000")
    assert hash(Quantity.parse("1k")) == hash(Quantity.parse("1e3"))
    assert Quantity.parse("999Mi") < Quantity.parse("1Gi")
    assert Quantity.of(2, BINARY) > Quantity.of_millis(1999)
    assert not ZERO
    assert float(Quantity.parse("500m")) == 0.5


EXACT = {
    "": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(1000), "M": Fraction(10**6), "Ki": Fraction(1024),
    "Mi": Fraction(1024**2), "e3": Fraction(1000), "E-2": Fraction(1, 100),
}  # fmt: skip


@given(st.integers(-(10**12), 10**12), st.integers(0, 6), st.sampled_from(sorted(EXACT)))
def test_parsing_is_exact_to_a_nano(digits: int, places: int, suffix: str) -> None:
    whole, rest = divmod(abs(digits), 10**places)
    text = f"{'-' if digits < 0 else ''}{whole}" + (f".{rest:0{places}}" if places else "") + suffix
    exact = Fraction(abs(digits), 10**places) * EXACT[suffix] * 10**9
    nanos = -(-exact.numerator // exact.denominator)
    assert Quantity.parse(text).nanos == (-nanos if digits < 0 else nanos)


@given(st.integers(-(10**20), 10**20), st.sampled_from(["decimal", "binary", "exponent"]))
def test_text_keeps_the_value_and_is_stable(nanos: int, format: str) -> None:
    quantity = Quantity(nanos, format)
    again = Quantity.parse(str(quantity))
    assert again == quantity
    assert str(again) == str(quantity)
