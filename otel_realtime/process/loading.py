"""Imports, in the background, what the first conversation would otherwise have to wait for.

NumPy and the HTTP client take longer to import than an event loop may be blocked, and set-up should
not wait for them either.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Collection
from functools import partial
from importlib import import_module

# Bound at import, so that an app's test that patches ``time.sleep``, or forbids it on an event loop, does not
# affect this module.
from time import monotonic, sleep
from typing import Final

from otel_realtime.background import Worker

#: Longest wait for the imports, in seconds.
WAIT_S: Final = 10.0
_POLL_S: Final = 0.002


class Loading:
    """Imports modules in the background and lets callers wait for them.

    Args:
        worker: runs the imports.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ready, self._idle = threading.Event(), threading.Event()
        self._ready.set()
        self._idle.set()

    def start(self, names: Collection[str], later: Collection[str] = ()) -> None:
        """Import modules in the background; has no effect while others are being imported.

        Args:
            names: full names of the modules that a conversation needs to open.
            later: full names of the modules that it needs when it ends.
        """
        missing, ending = (
            [name for name in group if name not in sys.modules] for group in (names, later)
        )
        if not (missing or ending) or not self._idle.is_set():
            return
        self._ready.clear()
        self._idle.clear()
        self._worker.resume()
        if self._worker.submit(partial(self._import, missing, ending)) is None:
            self._import(missing, ending)
        # The interpreter must not exit while a module is being initialised.
        atexit.unregister(self.wait)
        atexit.register(self.wait)

    def _import(self, names: Collection[str], later: Collection[str]) -> None:
        try:
            for name in names:
                import_module(name)
            self._ready.set()
            for name in later:
                import_module(name)
        finally:
            self._ready.set()
            self._idle.set()

    def wait(self, timeout_s: float = WAIT_S) -> bool:
        """Wait until nothing is being imported.

        This is also called before a fork: a child forked during an import could never import that module.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``False`` on timeout.
        """
        idle = self._idle.is_set
        return idle() or self._worker.wait_until(idle, timeout_s)

    def catch_up(self, timeout_s: float = WAIT_S) -> None:
        """Wait until the modules that a conversation needs to open are imported, before they are needed.

        Without this, Python's import lock would make the caller wait, and an import that waits for a lock
        fails where blocking calls are forbidden on event loops, as under BlockBuster.

        Args:
            timeout_s: longest wait, in seconds.
        """
        if self._ready.is_set():  # nearly always true
            return
        deadline = monotonic() + timeout_s
        while not self._ready.is_set() and self._worker.has_thread and monotonic() < deadline:
            sleep(_POLL_S)
