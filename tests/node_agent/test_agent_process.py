"""What the agent's process does before anything else."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from control.client.errors import ConfigError
from node_agent import process
from node_agent.node.settings import NodeSettings
from node_agent.settings import AgentSettings


def test_it_takes_all_descriptors_that_it_may_have(tmp_path: Path) -> None:
    """Every watched container holds one; 1,024 are what a process is given, and what it need not be content with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    try:
        node = NodeSettings(name="n1", ips=("127.0.0.1",))
        settings = AgentSettings(node=node, root=tmp_path, kubeconfig=str(tmp_path / "none"))
        with pytest.raises(ConfigError):
            asyncio.run(process.run(settings))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
