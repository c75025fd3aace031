"""Columns that many kinds share. `value` names a path, or a function of control/api/cells."""

from __future__ import annotations

from control.api.kind import Column

NAME = Column("Name", ".metadata.name", format="name", description="name of the object")
AGE = Column("Age", "age", description="time since the object was created")
CREATED = Column("Created At", ".metadata.creationTimestamp", "date", description="when the object was created")
CONTAINERS = Column("Containers", "container_names", wide=True, description="names of the template's containers")
IMAGES = Column("Images", "container_images", wide=True, description="images of the template's containers")
SELECTOR = Column("Selector", "selector", wide=True, description="label selector of the pods")


def number(name: str, value: str, description: str, *, wide: bool = False) -> Column:
    """A column of whole numbers."""
    return Column(name, value, "integer", wide, description)


def text(name: str, value: str, description: str, *, wide: bool = False) -> Column:
    """A column of text."""
    return Column(name, value, "string", wide, description)
