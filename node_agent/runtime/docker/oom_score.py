"""How far out-of-memory scores may be lowered here: runc refuses a container whose score it is not allowed to set.

As containerd's `restrict_oom_score_adj`. The agent and the engine run on one machine, both as root; what the agent
may, stands for both. Source: proc(5), oom_score_adj; capabilities(7), CAP_SYS_RESOURCE.
"""

from __future__ import annotations

from pathlib import Path

_SYS_RESOURCE = 24


def allowed(score: int) -> int:
    """The score itself, or the lowest one that may be set."""
    try:
        status = Path("/proc/self/status").read_text()
        own = int(Path("/proc/self/oom_score_adj").read_text())
    except (OSError, ValueError):
        return max(score, 0)
    bits = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return score if int(bits, 16) >> _SYS_RESOURCE & 1 else max(score, own)
