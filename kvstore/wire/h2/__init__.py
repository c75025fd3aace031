"""A sans-IO HTTP/2 connection: bytes and the time go in, bytes come out. Source: RFC 9113 and RFC 7541."""
