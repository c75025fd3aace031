"""Why a volume is not there for a container."""

from __future__ import annotations


class VolumeProblem(Exception):
    """A volume cannot be set up for now; the message is that of the FailedMount event."""

    def __init__(self, volume: str, why: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')
        self.volume = volume
