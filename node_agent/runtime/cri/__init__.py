"""Containers by containerd, CRI-O or any other runtime that speaks the Container Runtime Interface, version 1."""

from node_agent.runtime.cri.runtime import CriRuntime

__all__ = ["CriRuntime"]
