"""The dictionary that header blocks of SPDY/3 are compressed with. Pure; its checksum is that of the specification.

Source: SPDY Protocol, Draft 3.1, section 2.6.10.1: words with their 32-bit lengths, then text as it is.
"""

from __future__ import annotations

import zlib
from typing import Final

from kvstore.invariant import invariant

_NAMES: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow",
    "authorization cache-control connection content-base content-encoding content-language content-length",
    "content-location content-md5 content-range content-type date etag expect expires from host if-match",
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma",
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade",
    "user-agent vary via warning www-authenticate method get status",
)
_WORDS: Final = (
    *" ".join(_NAMES).split(),
    *("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"),
)
_TEXT: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information"
    "204 No Content"
    "301 Moved Permanently"
    "400 Bad Request"
    "401 Unauthorized"
    "403 Forbidden"
    "404 Not Found"
    "500 Internal Server Error"
    "501 Not Implemented"
    "503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,public"
    "privatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)

DICTIONARY: Final = b"".join(len(w).to_bytes(4, "big") + w.encode() for w in _WORDS) + _TEXT.encode()

_CHECKSUM: Final = 0xE3C6A7C2
invariant(zlib.adler32(DICTIONARY) == _CHECKSUM, "the SPDY/3 dictionary is not the one of the specification")
