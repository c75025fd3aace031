"""Fake nodes by the thousand: pods that start, run, fail and end as their annotations say. Nothing of it costs while
idle.
"""

from node_agent.runtime.simulated.behaviour import ANNOTATION, ENVIRONMENT, Behaviour
from node_agent.runtime.simulated.runtime import SimulatedRuntime
from node_agent.runtime.simulated.world import Clock, SystemClock, World

__all__ = ["ANNOTATION", "ENVIRONMENT", "Behaviour", "Clock", "SimulatedRuntime", "SystemClock", "World"]
