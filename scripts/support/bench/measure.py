"""Runs a plan: every section of every contender in turn, run after run, so that a slow minute hits all alike.

Who comes first alternates, from section to section and from run to run: whoever goes second finds a warmer machine, and
a disk that has just worked for the other. What one has written is on the disk before the next one begins.

What fails is said, and costs its own rows only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc

from support.bench.contenders import PYSYNCOBJ, kind_of
from support.bench.plan import Plan
from support.bench.probes.site import Probe, Site
from support.bench.pysyncobj_cluster import ROWS as PYSYNCOBJ_ROWS
from support.bench.pysyncobj_cluster import PySyncObjCluster
from support.bench.results import Results
from support.bench.rows import IN_FLIGHT
from support.bench.sections import SECTIONS, Section, site

_PROBLEMS = (RuntimeError, OSError, AssertionError, TimeoutError, ValueError, grpc.RpcError)


@dataclass(frozen=True)
class Step:
    """One section of one contender in one run. section None: PySyncObj's load."""

    run: int
    contender: str
    section: Section | None
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class Teller:
    """What is said while it runs. tell: what happens now; advance: that many probes are done; warn: what failed."""

    tell: Callable[[str], None]
    advance: Callable[[int], None]
    warn: Callable[[str], None]


def steps(plan: Plan, asked: bool) -> Iterator[Step]:
    """What is measured, in this order. asked: the contenders were named, so etcd 3.4 takes part in everything."""
    for run in range(plan.runs):
        for place, section in enumerate(SECTIONS):
            probes = section.wanted(plan.rows)
            for name in plan.contenders[:: -1 if (run + place) % 2 else 1]:
                part = name in ("fluyt", "etcd-3.5") or section.all_kinds or asked
                if probes and name != PYSYNCOBJ and part:
                    yield Step(run, name, section, probes)
        if PYSYNCOBJ in plan.contenders and plan.rows & PYSYNCOBJ_ROWS:
            yield Step(run, PYSYNCOBJ, None)


def measure(results: Results, todo: list[Step], teller: Teller) -> None:
    """Do all steps of the results' plan; a step of n probes advances by n (PySyncObj's by 1)."""
    plan = results.plan
    for step in todo:
        who = _Sayer(teller, f"{results.titles[step.contender]}, run {step.run + 1} of {plan.runs}")
        os.sync()
        if step.section is None:
            _pysyncobj(plan, step, results, who)
            teller.advance(1)
        else:
            _section(plan, step, step.section, results, who)


@dataclass(frozen=True)
class _Sayer:
    """Says who is being measured before what."""

    teller: Teller
    who: str

    def tell(self, what: str) -> None:
        self.teller.tell(f"{self.who}: {what}")

    def warn(self, what: str, problem: BaseException | str) -> str:
        """Say that it failed; the reason in one line."""
        reason = " ".join(str(problem).split())[:300] or type(problem).__name__
        self.teller.warn(f"{self.who}: {what}: {reason}")
        return reason


def _section(plan: Plan, step: Step, section: Section, results: Results, who: _Sayer) -> None:
    done = 0
    try:
        reason = section.impossible()
        if reason:
            raise RuntimeError(reason)
        who.tell(f"{section.name}: starting")
        with site(section, kind_of(step.contender), plan) as place:
            for probe in step.probes:
                who.tell(probe.title)
                _probe(probe, place, step, results, who)
                who.teller.advance(1)
                done += 1
    except _PROBLEMS as problem:
        left = [row for probe in step.probes[done:] for row in probe.rows]
        results.fail(step.run, step.contender, left, who.warn(section.name, problem))
        who.teller.advance(len(step.probes) - done)


def _probe(probe: Probe, place: Site, step: Step, results: Results, who: _Sayer) -> None:
    try:
        for source, value in probe.run(place):
            results.add(step.run, step.contender, source, value)
    except _PROBLEMS as problem:
        results.fail(step.run, step.contender, probe.rows, who.warn(probe.title, problem))


def _pysyncobj(plan: Plan, step: Step, results: Results, who: _Sayer) -> None:
    try:
        with PySyncObjCluster() as cluster:
            for level in (level for level in IN_FLIGHT if f"puts-{level}" in plan.rows):
                who.tell(f"puts, {level:,} in flight")
                for source, value in cluster.puts(level, plan.seconds):
                    results.add(step.run, step.contender, source, value)
    except _PROBLEMS as problem:
        results.fail(step.run, step.contender, sorted(PYSYNCOBJ_ROWS), who.warn("puts", problem))
