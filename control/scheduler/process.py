"""The process `fluyt scheduler`: the scheduler as the work of an elected process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from control.client.client import Client
from control.client.recorder import EventRecorder
from control.elected.process import Candidacy, ElectedProcess
from control.scheduler.shell import Scheduler

# The election's name in the store, and who events are from.
ROLE: Final = "scheduler"
NAME: Final = "default-scheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings(Candidacy):
    """names: schedulerName of the pods that are ours."""

    names: frozenset[str] = frozenset({NAME})


class SchedulerProcess(ElectedProcess):
    """See ElectedProcess; `scheduler` does the work."""

    def __init__(self, settings: ProcessSettings) -> None:
        client = Client(settings.api)
        recorder = EventRecorder(client, NAME)
        self.scheduler = Scheduler(client, recorder.record, settings.names)
        super().__init__(ROLE, settings, client, self.scheduler, [recorder])
