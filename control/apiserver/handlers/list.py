"""GET of a collection."""

from __future__ import annotations

from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.lister import list_objects, wish_of
from control.apiserver.negotiate import accepts_gzip, form_of
from control.apiserver.rendering import show_list
from control.apiserver.selection import selection_of


async def list_(call: Call) -> Answer:
    """The objects that the selectors select; see control/apiserver/lister.py for how new they are."""
    form = form_of(call.headers.get("accept", ""))
    wish = wish_of(call.of, call.info, selection_of(call.of, call.info))
    listed = await list_objects(call.server.resources, call.of, wish)
    gzip = accepts_gzip(call.headers.get("accept-encoding", ""))
    return await show_list(call.of, listed, form, call.info.parameter("includeObject") or "Metadata", gzip)
