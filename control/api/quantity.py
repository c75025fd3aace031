"""Amounts of resources: "250m", "1.5Gi", "12e6", 3. Exact arithmetic, and one canonical text for each value and format.

A quantity is a whole number of nano units and the format it was written in; what is finer than a nano is rounded away
from zero, so that nobody who asks for something gets nothing. Formats: decimal suffixes (n u m k M G T P E), binary
suffixes (Ki … Ei) and exponents of ten.

Invariants: parse(str(q)) == q for values of whole nanos; equal quantities hash alike, whatever their formats.

Source: "Quantity" in Kubernetes' API reference (k8s.io/apimachinery/pkg/api/resource).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, total_ordering
from typing import Final

from control.api.status import bad_request

DECIMAL, BINARY, EXPONENT = "decimal", "binary", "exponent"
PATTERN: Final = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
NANO: Final = 10**9

_QUANTITY = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,9})?", re.ASCII)
_DECIMAL_POWERS: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_POWERS: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIXES: Final = {power: suffix for suffix, power in _DECIMAL_POWERS.items()}
_BINARY_SUFFIXES: Final = {0: "", **{power: suffix for suffix, power in _BINARY_POWERS.items()}}
_MAX_LENGTH, _MAX_POWER = 64, 40
_MAX_BINARY: Final = (2**63 - 1) * NANO


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An amount. nanos: its value times 10^9; format: of DECIMAL, BINARY and EXPONENT, only for its text."""

    nanos: int
    format: str = DECIMAL

    @staticmethod
    def parse(text: str | int | float) -> Quantity:
        """The quantity of a JSON string or number. StatusError (400): it is none."""
        return _parse(text if isinstance(text, str) else repr(text))

    @staticmethod
    def of(value: int, format: str = DECIMAL) -> Quantity:
        """A whole number."""
        return Quantity(value * NANO, format)

    @staticmethod
    def of_millis(millis: int) -> Quantity:
        """A number of thousandths, as CPU is counted."""
        return Quantity(millis * 10**6)

    def milli(self) -> int:
        """In thousandths, rounded up: "250m" is 250, "1" is 1000."""
        return -(-self.nanos // 10**6)

    def ceil(self) -> int:
        """In whole units, rounded up: "1Ki" is 1024."""
        return -(-self.nanos // NANO)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __bool__(self) -> bool:
        return bool(self.nanos)

    def __float__(self) -> float:
        return self.nanos / NANO

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __str__(self) -> str:
        if not self.nanos:
            return "0"
        whole, rest = divmod(self.nanos, NANO)
        if self.format == BINARY and not rest and abs(whole) >= 1024:
            return _binary_text(whole)
        number, power = _decimal(self.nanos)
        if self.format == EXPONENT:
            return f"{number}e{power}" if power else str(number)
        return f"{number}{_DECIMAL_SUFFIXES[power]}"


ZERO: Final = Quantity(0)


@lru_cache(4096)
def _parse(text: str) -> Quantity:
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or not (match[2] or match[3]):
        raise bad_request(f"quantities must match the regular expression '{PATTERN}'")
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4] or ""
    digits, power = int(whole + fraction), 9 - len(fraction)
    if suffix in _BINARY_POWERS:
        nanos, format = _scaled(digits << _BINARY_POWERS[suffix], power), BINARY
        nanos = min(nanos, _MAX_BINARY)
    elif suffix in _DECIMAL_POWERS:
        nanos, format = _scaled(digits, power + _DECIMAL_POWERS[suffix]), DECIMAL
    else:
        nanos, format = _scaled(digits, power + _exponent(suffix)), EXPONENT
    if format == BINARY and nanos < NANO:
        format = DECIMAL
    return Quantity(-nanos if sign == "-" else nanos, format)


def _exponent(suffix: str) -> int:
    power = int(suffix[1:])
    if abs(power) > _MAX_POWER:
        raise bad_request(f"unable to parse quantity's suffix: exponents go from -{_MAX_POWER} to {_MAX_POWER}")
    return power


def _scaled(digits: int, power: int) -> int:
    """digits times ten to that power, rounded up to a whole number."""
    unit: int = 10 ** abs(power)
    return digits * unit if power >= 0 else -(-digits // unit)


def _decimal(nanos: int) -> tuple[int, int]:
    """(number, power): the value as a whole number times ten to the biggest power there is a suffix for."""
    number, power = nanos, -9
    while number % 1000 == 0 and power < 18:
        number, power = number // 1000, power + 3
    return number, power


def _binary_text(whole: int) -> str:
    power = 0
    while whole % 1024 == 0 and power < 60:
        whole, power = whole // 1024, power + 10
    return f"{whole}{_BINARY_SUFFIXES[power]}"


@lru_cache(8192)
def canonical(text: str | int | float) -> str:
    """The canonical text of a quantity. StatusError (400): it is none."""
    return str(Quantity.parse(text))
