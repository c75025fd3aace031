"""Numbers in specs that may be percentages, as maxSurge "25%".

Source: "Deployment: Max Unavailable, Max Surge" in Kubernetes' documentation: surge rounds up, unavailable down.
"""

from __future__ import annotations


def resolve(value: int | str | None, total: int, *, up: bool, default: int | str = 0) -> int:
    """The number that an IntOrString means of `total`. ValueError: neither a number nor a percentage."""
    meant = default if value is None else value
    if isinstance(meant, int):
        return meant
    text = meant.strip()
    if not text.endswith("%"):
        raise ValueError(f"{meant!r} is neither a number nor a percentage")
    percent = int(text[:-1])
    return -(-percent * total // 100) if up else percent * total // 100


def surge_and_unavailable(surge: int | str | None, unavailable: int | str | None, total: int) -> tuple[int, int]:
    """How many pods above `total` may exist and how many below it may be missing. Never both 0: nothing could move."""
    above = resolve(surge, total, up=True, default="25%")
    below = resolve(unavailable, total, up=False, default="25%")
    return (above, 1) if above == 0 and below == 0 else (above, below)
