"""--server of commands that write it into files for others: what is wrong with it is told now, not to them."""

from __future__ import annotations

from urllib.parse import urlsplit


def refuse_no_server(url: str) -> None:
    """Raises ValueError unless it is an https:// URL with a host."""
    if not _is_server(url):
        raise ValueError(
            f"--server {url!r}: an https:// URL with a host is needed; kubectl sends no credentials over plain http"
        )


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # A port that is no number raises ValueError when it is asked for.
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
