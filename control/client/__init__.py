"""The client side of the API server: REST client, informers, work queues, event recorder, fenced election.

Nothing is imported here but what is asked for: a command that needs a kubeconfig does not load the store's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control.client.bodies import WatchEvent
    from control.client.cause import Cause, Fence
    from control.client.client import Client
    from control.client.config import Config
    from control.client.election import Elector, Leadership
    from control.client.errors import ConfigError, Unreachable
    from control.client.informer import Informer
    from control.client.queue import QueueClosed, WorkQueue
    from control.client.recorder import EventRecorder

_HOMES = {
    "Cause": "cause",
    "Client": "client",
    "Config": "config",
    "ConfigError": "errors",
    "Elector": "election",
    "EventRecorder": "recorder",
    "Fence": "cause",
    "Informer": "informer",
    "Leadership": "election",
    "QueueClosed": "queue",
    "Unreachable": "errors",
    "WatchEvent": "bodies",
    "WorkQueue": "queue",
}

__all__ = [
    "Cause",
    "Client",
    "Config",
    "ConfigError",
    "Elector",
    "EventRecorder",
    "Fence",
    "Informer",
    "Leadership",
    "QueueClosed",
    "Unreachable",
    "WatchEvent",
    "WorkQueue",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"control.client has no {name}")
    return getattr(import_module(f"control.client.{home}"), name)
