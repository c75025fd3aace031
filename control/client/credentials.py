"""The headers that say who asks. A token file is read again when it changes: service account tokens are renewed."""

from __future__ import annotations

import base64
from pathlib import Path

from control.client.config import Config
from control.client.errors import ConfigError


class Credentials:
    """Headers for every request of one configuration."""

    def __init__(self, config: Config) -> None:
        self._file = config.token_file
        self._stamp: tuple[int, int] | None = None
        self._fixed = {"User-Agent": config.user_agent, "Accept-Encoding": "identity"}
        if config.token and self._file is None:
            self._fixed["Authorization"] = f"Bearer {config.token}"
        elif config.username:
            pair = f"{config.username}:{config.password}".encode()
            self._fixed["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._groups = [("Impersonate-Group", group) for group in config.impersonate_groups]
        if config.impersonate:
            self._fixed["Impersonate-User"] = config.impersonate

    def headers(self) -> list[tuple[str, str]]:
        """Raises ConfigError when the token file cannot be read."""
        if self._file is not None:
            self._renew(self._file)
        return [*self._fixed.items(), *self._groups]

    def _renew(self, file: Path) -> None:
        try:
            now = file.stat()
            stamp = (now.st_mtime_ns, now.st_ino)
            if stamp != self._stamp:
                self._fixed["Authorization"] = f"Bearer {file.read_text().strip()}"
                self._stamp = stamp
        except OSError as problem:
            raise ConfigError(f"the token file {file} cannot be read: {problem.strerror}") from None
