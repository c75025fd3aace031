"""OpenAPI documents of a catalogue: version 3 per group and version, version 2 as one, in JSON and in protobuf."""

from control.api.openapi.service import OpenApi

__all__ = ["OpenApi"]
