"""Sets of completion indexes as text: "1,3-5,7".

Invariant: written texts are sorted, and runs of two or more are ranges, so equal sets have equal texts.
Source: JobStatus.completedIndexes in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from control.api.schema import Object
from control.controllers.values.objects import annotations_of

INDEX = "batch.kubernetes.io/job-completion-index"


def parse(text: str, completions: int) -> set[int]:
    """The indexes below `completions` that a text names; parts that are no indexes are left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isascii() and first.isdigit() and (not last or (last.isascii() and last.isdigit())):
            found.update(range(int(first), min(int(last or first), completions - 1) + 1))
    return found


def text_of(indexes: Iterable[int]) -> str:
    """The text of a set of indexes."""
    runs: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def index_of(pod: Object) -> int | None:
    """The completion index of a job's pod; None: it has none."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else None
