"""Small checks that many rules are made of. Each gives the causes it finds.

`at` is the path of the value. Absent values (None) are fine here: who needs them says so with `required`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from control.api import names
from control.api.fielderrors import duplicate, forbidden, invalid, required
from control.api.quantity import ZERO, Quantity
from control.api.schema import Object
from control.api.status import Cause

Causes = Iterator[Cause]
IMMUTABLE: Final = "field is immutable"
_PERCENT = re.compile(r"\d{1,9}%", re.ASCII)
_PERCENT_WORDS: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for"
    " validation is '[0-9]+%')"
)


def below(at: str, field: str) -> str:
    """The path of a field within the object at that path, which is "" for the object itself."""
    return f"{at}.{field}" if at else field


def named(check: Callable[[str], Sequence[str]], value: str, at: str) -> Causes:
    """Complaints of control/api/names about a value that is there."""
    for complaint in check(value):
        yield invalid(at, value, complaint)


def at_least(obj: Object, at: str, low: int, *fields: str) -> Causes:
    """Numbers that must not be smaller."""
    for field in fields:
        value = obj.get(field)
        if value is not None and value < low:
            words = f"must be greater than or equal to {low}" if low != 1 else "must be greater than 0"
            yield invalid(below(at, field), value, words)


def between(value: int | None, at: str, low: int, high: int) -> Causes:
    """A number in a range."""
    if value is not None and not low <= value <= high:
        yield invalid(at, value, f"must be between {low} and {high}, inclusive")


def port_number(value: int | None, at: str) -> Causes:
    yield from between(value, at, 1, 65535)


def port_or_name(value: int | str | None, at: str) -> Causes:
    """A port's number or its name in the container."""
    if isinstance(value, int):
        yield from port_number(value, at)
    elif value is not None:
        yield from named(names.port_name, value, at)


def count_or_percent(value: int | str | None, at: str, *, most: int | None = None) -> Causes:
    """A number that is not negative, or a percentage (most: not above that)."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            yield invalid(at, value, _PERCENT_WORDS)
        elif most is not None and int(value[:-1]) > most:
            yield invalid(at, value, f"must not be greater than {most}%")
    elif value is not None and value < 0:
        yield invalid(at, value, "must be greater than or equal to 0")


def is_zero_share(value: int | str | None) -> bool:
    """Whether a number or percentage is none at all."""
    if isinstance(value, str):
        return bool(_PERCENT.fullmatch(value)) and not int(value[:-1])
    return value == 0


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def ip_address(text: str | None, at: str) -> Causes:
    if text is not None and not is_ip(text):
        yield invalid(at, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def cidr(text: str, at: str) -> Causes:
    try:
        if "/" in text:
            ipaddress.ip_network(text)
            return
    except ValueError:
        pass
    yield invalid(at, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


def unchanged(new: Any, old: Any, at: str) -> Causes:
    """A value that may not change once the object is there."""
    if new != old:
        yield invalid(at, new, IMMUTABLE)


def fields_unchanged(new: Object, old: Object, at: str, *fields: str) -> Causes:
    for field in fields:
        yield from unchanged(new.get(field), old.get(field), below(at, field))


def exactly_one(obj: Object, choices: Iterable[str], at: str, noun: str) -> Causes:
    """One of some fields must be set, and no second one."""
    given = [field for field in choices if field in obj]
    if not given:
        yield required(at, f"must specify a {noun}")
    for field in given[1:]:
        yield forbidden(below(at, field), f"may not specify more than 1 {noun}")


def labels(value: Mapping[str, str] | None, at: str) -> Causes:
    """Keys and values of a label map."""
    for key, text in (value or {}).items():
        for complaint in _qualified(key):
            yield invalid(at, key, complaint)
        for complaint in _label_value(text):
            yield invalid(at, text, complaint)


_qualified = lru_cache(4096)(names.qualified_name)
_label_value = lru_cache(4096)(names.label_value)


def qualified(value: str, at: str) -> Causes:
    """A label key and its like."""
    yield from named(_qualified, value, at)


def unique(values: Iterable[tuple[str, Any]]) -> Causes:
    """(path, value) pairs whose values must differ; None and "" do not count."""
    seen: set[Any] = set()
    for at, value in values:
        if value in (None, ""):
            continue
        if value in seen:
            yield duplicate(at, value)
        seen.add(value)


def amounts(value: Mapping[str, str] | None, at: str) -> Causes:
    """Quantities that must not be negative."""
    for name, amount in (value or {}).items():
        if Quantity.parse(amount) < ZERO:
            yield invalid(f"{at}[{name}]", amount, "must be greater than or equal to 0")


def absolute_path(text: str | None, at: str) -> Causes:
    if text is not None and not text.startswith("/"):
        yield invalid(at, text, "must be an absolute path")


def relative_path(text: str, at: str) -> Causes:
    """A path below a folder, which must not lead out of it."""
    if text.startswith("/"):
        yield invalid(at, text, "must be a relative path")
    if ".." in text.split("/"):
        yield invalid(at, text, "must not contain '..'")
