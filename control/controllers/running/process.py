"""The process `fluyt controllers`: the controllers that were chosen, as the work of an elected process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from control.client.client import Client
from control.client.recorder import EventRecorder
from control.controllers.running.manager import Manager
from control.controllers.values.actions import Event
from control.controllers.values.controller import Controller
from control.elected.process import Candidacy, ElectedProcess

# The election's name in the store.
ROLE: Final = "controllers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings(Candidacy):
    """controllers: those that run."""

    controllers: Sequence[Controller]


class Controllers(ElectedProcess):
    """See ElectedProcess; `manager` has the controllers."""

    def __init__(self, settings: ProcessSettings) -> None:
        client = Client(settings.api)
        recorders = {c.name: EventRecorder(client, c.name) for c in settings.controllers}

        def recorder_of(controller: str) -> Callable[[Event], None]:
            recorder = recorders[controller]
            return lambda event: recorder.record(event.about, event.type, event.reason, event.message)

        self.manager = Manager(client, settings.controllers, recorder_of)
        super().__init__(ROLE, settings, client, self.manager, list(recorders.values()))
