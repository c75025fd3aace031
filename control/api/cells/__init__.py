"""What `kubectl get` prints in a column: one function per column that is more than a field, by its name.

A cell is a function of the object and the time: (object, now) -> text, number or truth.

Source: the columns of `kubectl get` as its users know them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from control.api.cells import certificates, cluster, pods, services, storage, workloads
from control.api.schema import Object

Cell = Callable[[Object, datetime], Any]

CELLS: Final[dict[str, Cell]] = {
    **pods.CELLS,
    **workloads.CELLS,
    **services.CELLS,
    **storage.CELLS,
    **cluster.CELLS,
    **certificates.CELLS,
}
"""By the name that a Column's value gives."""
