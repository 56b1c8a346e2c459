"""The delivery steps already done for a conversation whose folder remains; none is repeated."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_realtime.diagnostics import logger_of
from otel_realtime.state.files import clear, made_anew, read_bytes

logger = logger_of(__name__)

PROGRESS: Final = "delivered.json"
KEPT: Final = "kept"
"""The recording is in ``recordings_dir``."""
OTLP: Final = "otlp"
"""The open spans went to the app's own exporters, or to the OTLP endpoint."""
POSTED: Final = "posted"
"""LangSmith accepted the root run when the conversation opened."""
ROOT: Final = "root"
"""LangSmith accepted the end of the root run, with the recording."""

RELEASED: Final = "released"
"""Its process, which is still running, gave it to a worker after it had ended."""


class Progress:
    """The steps that are done for one conversation; stored in its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._done: list[str] = []

    def done(self, step: str) -> bool:
        """Return whether a step is done."""
        return step in self._done or step in self._read()

    def once(self, step: str, do: Callable[[], None]) -> None:
        """Do a step unless it was done before, and note that it is done."""
        if not self.done(step):
            do()
            self.note(step)

    def note(self, step: str) -> None:
        """Note that a step is done; called on any thread."""
        partial = self._path.with_suffix(".part")
        with _lock:  # the steps of one conversation are done on several threads
            self._done = list(dict.fromkeys([*self._read(), *self._done, step]))
            try:
                with open(partial, "w", opener=made_anew) as file:
                    json.dump(self._done, file)
                clear(self._path)
                os.replace(partial, self._path)
            except OSError as error:
                logger.debug("cannot note what was delivered: %s", error)

    def _read(self) -> list[str]:
        try:
            done = json.loads(read_bytes(self._path))
        except (OSError, ValueError, RecursionError):
            return []
        return [step for step in done if isinstance(step, str)] if isinstance(done, list) else []


_lock = threading.Lock()


def _after_fork() -> None:
    """Replace the lock: the child has none of the threads that may hold it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
