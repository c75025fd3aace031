"""Containers by a Docker engine on the same machine."""

from node_agent.runtime.docker.runtime import DockerRuntime

__all__ = ["DockerRuntime"]
