"""Configurations as JSON and back: dataclasses.asdict one way, these functions the other. Pure.

Kept in record.json (process), in an annotation (cri) or a label (docker), so that a runtime that is opened again
knows what it once was asked for. Raises KeyError, TypeError, ValueError on what is not ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.runtime.types import (
    ContainerConfig,
    Dns,
    Mount,
    PortMapping,
    Propagation,
    Resources,
    SandboxConfig,
    Security,
)


def sandbox_config(found: Mapping[str, Any]) -> SandboxConfig:
    fields = dict(found)
    return SandboxConfig(
        **{
            **fields,
            "dns": Dns(**{key: tuple(value) for key, value in fields["dns"].items()}),
            "hosts": tuple((address, tuple(names)) for address, names in fields["hosts"]),
            "port_mappings": tuple(PortMapping(**each) for each in fields["port_mappings"]),
            "resources": Resources(**fields["resources"]),
        }
    )


def container_config(found: Mapping[str, Any]) -> ContainerConfig:
    fields = dict(found)
    security: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields["security"].items()
    }
    return ContainerConfig(
        **{
            **fields,
            "command": tuple(fields["command"]),
            "args": tuple(fields["args"]),
            "env": tuple((name, value) for name, value in fields["env"]),
            "mounts": tuple(
                Mount(**{**mount, "propagation": Propagation(mount["propagation"])}) for mount in fields["mounts"]
            ),
            "resources": Resources(**fields["resources"]),
            "security": Security(**security),
        }
    )
