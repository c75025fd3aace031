"""One nftables table as a value, and the commands that turn one state of it into another. Pure.

Invariants: a name never changes its head (what decides it belongs into the name); commands come in an order in which
each is valid (what is referred to exists, what is removed is not referred to any more); sets whose elements the kernel
adds (dynamic ones) keep them as long as they stay.
Source: nft(8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Lookup:
    """A set or a map. kind: "set" or "map"; head: type and flags; elements: key → value ("" in a set)."""

    kind: str
    head: str
    elements: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chain:
    """head: of a base chain, "type nat hook output priority -100;"; "" for others."""

    rules: tuple[str, ...]
    head: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """name: with its family, "inet fluyt-proxy"."""

    name: str
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


def whole(table: Table) -> str:
    """Commands that leave exactly this, whatever was there."""
    return f"add table {table.name}\ndelete table {table.name}\nadd table {table.name}\n" + change(
        Table(table.name), table
    )


def change(old: Table, new: Table) -> str:
    """Commands from one to the other, in one transaction; "" when nothing changes."""
    name = new.name
    gone_chains = [chain for chain in old.chains if chain not in new.chains]
    lines = [
        f"add {lookup.kind} {name} {n} {{ {lookup.head} }}" for n, lookup in new.lookups.items() if n not in old.lookups
    ]
    lines += [
        f"add chain {name} {n}" + (f" {{ {chain.head} }}" if chain.head else "")
        for n, chain in new.chains.items()
        if n not in old.chains
    ]
    lines += _elements("delete", name, old, new)
    lines += [f"flush chain {name} {n}" for n in old.chains if n in gone_chains or _changed(old, new, n)]
    for n, chain in new.chains.items():
        if n not in old.chains or _changed(old, new, n):
            lines += [f"add rule {name} {n} {rule}" for rule in chain.rules]
    lines += [f"delete chain {name} {n}" for n in gone_chains]
    lines += _elements("add", name, old, new)
    lines += [f"delete {lookup.kind} {name} {n}" for n, lookup in old.lookups.items() if n not in new.lookups]
    return "".join(f"{line}\n" for line in lines)


def _changed(old: Table, new: Table, chain: str) -> bool:
    return chain in new.chains and old.chains[chain].rules != new.chains[chain].rules


def _elements(verb: str, name: str, old: Table, new: Table) -> list[str]:
    """verb delete: what is in old and not, or otherwise, in new; verb add: the reverse."""
    here, there = (old, new) if verb == "delete" else (new, old)
    lines = []
    for n, lookup in here.lookups.items():
        other = there.lookups.get(n)
        known = {} if other is None else other.elements
        differing = [(k, v) for k, v in sorted(lookup.elements.items()) if known.get(k) != v]
        if differing:
            words = ", ".join(f"{k} : {v}" if v else k for k, v in differing)
            lines.append(f"{verb} element {name} {n} {{ {words} }}")
    return lines
