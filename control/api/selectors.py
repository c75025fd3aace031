"""Label and field selectors: parsed once, matched often.

Label selectors come as text ("app=web,tier in (a,b),!old") and as objects (matchLabels, matchExpressions); both become
one LabelSelector. Its requirements are joined by "and"; `NotIn` and `!=` also match objects without the label.

Source: "Labels and Selectors" and "Field Selectors" of the Kubernetes documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from control.api import names
from control.api.status import StatusError, bad_request, quoted

IN, NOT_IN, EXISTS, DOES_NOT_EXIST, GREATER, LESS = "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"
LABEL_OPERATORS: Final = (IN, NOT_IN, EXISTS, DOES_NOT_EXIST)
_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_SYMBOLS: Final = frozenset({"==", "!=", "=", "!", "(", ")", ",", "<", ">"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label. values: sorted, for In and NotIn; one number for Gt and Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        return value is not None and _compares(value, self.operator, self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case "Gt" | "Lt":
                return f"{self.key}{'>' if self.operator == GREATER else '<'}{self.values[0]}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.operator == IN else '!='}{self.values[0]}"
        return f"{self.key} {'in' if self.operator == IN else 'notin'} ({','.join(self.values)})"


def _compares(value: str, operator: str, bound: str) -> bool:
    if not re.fullmatch(r"[+-]?\d{1,19}", value, re.ASCII):
        return False
    return int(value) > int(bound) if operator == GREATER else int(value) < int(bound)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all matches everything, `nothing` matches no object."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        found = labels or {}
        return all(requirement.matches(found) for requirement in self.requirements)

    @property
    def everything(self) -> bool:
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)


@lru_cache(1024)
def parse_label_selector(text: str) -> LabelSelector:
    """The selector of a `labelSelector=` parameter. StatusError (400): it cannot be parsed."""
    return LabelSelector(tuple(_LabelParser(text).parse()))


def label_selector_of(selector: Mapping[str, Any] | None) -> LabelSelector:
    """The selector of an object's LabelSelector: None selects nothing, {} everything.

    StatusError (400): an operator or its values are wrong.
    """
    if selector is None:
        return NOTHING
    found = [Requirement(key, IN, (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    found += [_expression(entry) for entry in selector.get("matchExpressions") or []]
    return LabelSelector(tuple(sorted(found, key=lambda requirement: requirement.key)))


def selector_of_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """The selector of a plain map (Services, ReplicationControllers): None or {} selects nothing, as they mean it."""
    if not labels:
        return NOTHING
    return LabelSelector(tuple(Requirement(key, IN, (labels[key],)) for key in sorted(labels)))


def _expression(entry: Mapping[str, Any]) -> Requirement:
    key, operator, values = entry.get("key", ""), entry.get("operator", ""), tuple(entry.get("values") or ())
    if operator not in LABEL_OPERATORS:
        raise bad_request(f"{quoted(operator)} is not a valid label selector operator")
    if bool(values) != (operator in (IN, NOT_IN)):
        need = "must be specified" if not values else "may not be specified"
        raise bad_request(f"values of {quoted(key)} {need} when `operator` is {operator}")
    return Requirement(key, operator, tuple(sorted(values)))


class _LabelParser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[str]:
        return [match.group(1) for match in _TOKEN.finditer(self.text)]

    def parse(self) -> Iterator[Requirement]:
        if not self.tokens:
            return
        yield self._requirement()
        while self._peek() == ",":
            self.at += 1
            if not self._peek():
                raise self._refused("found ',', expected: identifier after ','")
            yield self._requirement()
        if self._peek():
            raise self._refused(f"found '{self._peek()}', expected: ',' or 'end of string'")

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self.at += 1
        return token

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self.at += 1
            return Requirement(self._key(), DOES_NOT_EXIST)
        key = self._key()
        match self._peek():
            case "" | ",":
                return Requirement(key, EXISTS)
            case "=" | "==" | "!=":
                operator = NOT_IN if self._next() == "!=" else IN
                return Requirement(key, operator, (self._value(),))
            case "in" | "notin":
                operator = IN if self._next() == "in" else NOT_IN
                return Requirement(key, operator, self._values())
            case ">" | "<":
                operator = GREATER if self._next() == ">" else LESS
                return Requirement(key, operator, (self._number(),))
        raise self._refused(f"found '{self._peek()}', expected: in, notin, =, ==, !=, gt, lt")

    def _key(self) -> str:
        token = self._next()
        if not token or token in _SYMBOLS:
            raise self._refused(f"found '{token}', expected: !, identifier, or 'end of string'")
        complaints = names.qualified_name(token)
        if complaints:
            raise self._refused(f"key: Invalid value: {quoted(token)}: {'; '.join(complaints)}")
        return token

    def _value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        return self._checked(self._next())

    def _checked(self, token: str) -> str:
        if token in _SYMBOLS:
            raise self._refused(f"found '{token}', expected: identifier")
        complaints = names.label_value(token)
        if complaints:
            raise self._refused(f"values: Invalid value: {quoted(token)}: {'; '.join(complaints)}")
        return token

    def _number(self) -> str:
        token = self._next()
        if not re.fullmatch(r"[+-]?\d{1,19}", token, re.ASCII):
            raise self._refused(
                f"values: Invalid value: {quoted(token)}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return token

    def _values(self) -> tuple[str, ...]:
        if self._next() != "(":
            raise self._refused("expected: '(' after in or notin")
        found: set[str] = set()
        while True:
            found.add("" if self._peek() in (",", ")") else self._checked(self._next()))
            match self._next():
                case ",":
                    continue
                case ")":
                    return tuple(sorted(found))
                case token:
                    raise self._refused(f"found '{token}', expected: ',' or ')'")

    def _refused(self, why: str) -> StatusError:
        return bad_request(f"unable to parse requirement: {why}")
