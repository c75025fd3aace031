"""The status of a HorizontalPodAutoscaler in the making. Source: HorizontalPodAutoscalerStatus in the API reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control.api.schema import Object
from control.controllers.values.conditions import set_condition
from control.controllers.values.objects import format_time, generation_of, status_of


@dataclass(slots=True)
class Status:
    """fields: the status as it will be written."""

    fields: dict[str, Any]
    now: datetime

    @classmethod
    def of(cls, hpa: Object, now: datetime) -> Status:
        """Begins with what the object says, for this generation."""
        return cls({**status_of(hpa), "observedGeneration": generation_of(hpa)}, now)

    def able(self, status: str, reason: str, message: str) -> None:
        self._set("AbleToScale", status, reason, message)

    def active(self, status: str, reason: str, message: str) -> None:
        self._set("ScalingActive", status, reason, message)

    def limited(self, status: str, reason: str, message: str) -> None:
        self._set("ScalingLimited", status, reason, message)

    def scaled(self) -> None:
        """The target is given another size now."""
        self.fields["lastScaleTime"] = format_time(self.now)

    def _set(self, kind: str, status: str, reason: str, message: str) -> None:
        held = self.fields.get("conditions") or []
        self.fields["conditions"] = set_condition(held, kind, status, self.now, reason=reason, message=message)
