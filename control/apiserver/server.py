"""What one API server consists of; handlers find it in every Call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control.apiserver.agents import Agents
from control.apiserver.feed import Feed
from control.apiserver.metrics import Metrics
from control.apiserver.request import Security
from control.apiserver.resources import Resources
from control.apiserver.settings import Settings
from control.apiserver.slot_leases import SlotLeases
from control.apiserver.storage import Storage
from control.apiserver.summaries import Summaries

if TYPE_CHECKING:
    from control.apiserver.router import Router


@dataclass(slots=True)
class Server:
    """The parts. stopping: set once the process has been asked to end; then it is not ready any more."""

    settings: Settings
    storage: Storage
    feed: Feed
    resources: Resources
    security: Security
    router: Router
    agents: Agents
    cause_leases: SlotLeases
    event_leases: SlotLeases
    metrics: Metrics = field(default_factory=Metrics)
    summaries: Summaries = field(default_factory=Summaries)
    stopping: bool = False
    # Where it listens, once that is known.
    port: int = 0
