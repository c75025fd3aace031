"""The shim's event loop: file descriptors, deadlines, ended children. One thread, no more than a selector."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable

Callback = Callable[[], None]


class Poller:
    """`on_child` is called when a child may have ended."""

    def __init__(self, on_child: Callback) -> None:
        self._selector = selectors.DefaultSelector()
        self._wanted: dict[int, dict[int, Callback]] = {}
        self._deadlines: list[tuple[float, Callback]] = []
        wake_out, wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wake, self._on_child = wake_out, on_child
        self.on_readable(wake_out, self._woken)

    def _woken(self) -> None:
        os.read(self._wake, 4096)
        self._on_child()

    def on_readable(self, descriptor: int, callback: Callback | None) -> None:
        """None: not any more."""
        self._want(descriptor, selectors.EVENT_READ, callback)

    def on_writable(self, descriptor: int, callback: Callback | None) -> None:
        self._want(descriptor, selectors.EVENT_WRITE, callback)

    def forget(self, descriptor: int) -> None:
        if self._wanted.pop(descriptor, None) is not None:
            self._selector.unregister(descriptor)

    def after(self, seconds: float, callback: Callback) -> None:
        self._deadlines.append((time.monotonic() + seconds, callback))

    def _want(self, descriptor: int, event: int, callback: Callback | None) -> None:
        known = descriptor in self._wanted
        wanted = self._wanted.setdefault(descriptor, {})
        if callback is None:
            wanted.pop(event, None)
        else:
            wanted[event] = callback
        mask = sum(wanted)
        if not mask:
            del self._wanted[descriptor]
            if known:
                self._selector.unregister(descriptor)
        elif known:
            self._selector.modify(descriptor, mask)
        else:
            self._selector.register(descriptor, mask)

    def turn(self) -> None:
        """Wait for something, and see to it."""
        now = time.monotonic()
        timeout = max(0.0, min(at for at, _ in self._deadlines) - now) if self._deadlines else None
        for key, mask in self._selector.select(timeout):
            for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                callback = self._wanted.get(key.fd, {}).get(event)
                if mask & event and callback is not None:
                    callback()
        due = [entry for entry in self._deadlines if entry[0] <= time.monotonic()]
        self._deadlines = [entry for entry in self._deadlines if entry not in due]
        for _, callback in due:
            callback()
