"""What PATCH bodies do to an object, and who owns which field of it. Pure; nothing here changes its arguments.

    json_patch.apply, merge.apply, strategic.apply      (document, patch) -> new document
    apply.apply, apply.track                            server-side apply and the bookkeeping of all other writes

docs/design/0012-patches-and-documents.md tells which piece the API server calls when.
"""
