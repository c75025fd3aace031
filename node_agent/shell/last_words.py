"""The termination message of a container: what it wrote into its file, or else the end of its log.

Source: "Determine the Reason for Pod Failure" in the Kubernetes documentation (4096 bytes; 2048 bytes or 80 lines).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from node_agent.logs.tail import last_lines
from node_agent.pod import labels
from node_agent.runtime.types import ContainerStatus

log = logging.getLogger(__name__)

_MOST, _MOST_LOG, _MOST_LINES = 4096, 2048, 80


def last_words(status: ContainerStatus, message_file: Callable[[str, str, int], Path]) -> str:
    """message_file(uid, container, attempt): where a run leaves its message. Blocks for a moment; never raises."""
    of = status.container.labels
    path = message_file(of.get(labels.POD_UID, ""), of.get(labels.CONTAINER_NAME, ""), status.container.attempt)
    text = _read(path)
    policy = status.container.annotations.get(labels.MESSAGE_POLICY)
    if not text and policy == "FallbackToLogsOnError" and status.exit_code != 0 and status.log_path:
        text = last_lines(Path(status.log_path), _MOST_LINES, _MOST_LOG)
    return text


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except OSError:
        return ""
