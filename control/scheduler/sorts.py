"""Sorts of pods: what selectors can tell of a pod in its namespace. Pods of one sort are found, or not, together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from control.api.selectors import IN, LabelSelector


@dataclass(frozen=True, slots=True)
class Sort:
    """pairs, labels: the same labels twice. leaving: it is being deleted, which spreading looks at."""

    pairs: frozenset[tuple[str, str]]
    leaving: bool
    labels: dict[str, str] = field(compare=False)


def finder(selector: LabelSelector) -> Callable[[Sort], bool]:
    """Whether a sort is selected, as a function that is quick for selectors that are a plain map of labels.

    Where every pod has a label of its own there are as many sorts as pods, and this is asked once for each.
    """
    plain = all(wanted.operator == IN and len(wanted.values) == 1 for wanted in selector.requirements)
    if selector.nothing or not plain:
        return lambda sort: selector.matches(sort.labels)
    pairs = frozenset((wanted.key, wanted.values[0]) for wanted in selector.requirements)
    return lambda sort: pairs <= sort.pairs
