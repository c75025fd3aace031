"""GET of a collection."""

from __future__ import annotations

from typing import Final

from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.lister import list_objects, wish_of
from control.apiserver.negotiate import accepts_gzip, form_of
from control.apiserver.rendering import show_list
from control.apiserver.selection import selection_of

# Each is a header of its own; clients stop reading at some number of them.
MOST_WARNINGS: Final = 10


async def list_(call: Call) -> Answer:
    """The objects that the selectors select; see control/apiserver/lister.py for how new they are.

    Those that cannot be decrypted are missing; a warning names each.
    """
    form = form_of(call.headers.get("accept", ""))
    wish = wish_of(call.of, call.info, selection_of(call.of, call.info))
    listed = await list_objects(call.server.resources, call.of, wish)
    sealed = call.server.resources.cache_of(call.of).unreadable_in(call.namespace)
    call.warnings.extend(str(problem) for problem in sealed[:MOST_WARNINGS])
    gzip = accepts_gzip(call.headers.get("accept-encoding", ""))
    return await show_list(call.of, listed, form, call.info.parameter("includeObject") or "Metadata", gzip)
