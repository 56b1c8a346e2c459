"""What was done already for a conversation whose folder stays: nobody does it again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_realtime.diagnostics import logger_of
from otel_realtime.state.files import read_bytes

logger = logger_of(__name__)

PROGRESS: Final = "delivered.json"
KEPT: Final = "kept"
"""The recording is in ``recordings_dir``."""
ROOT: Final = "root"
"""LangSmith accepted the end of the root run, with the recording."""


class Progress:
    """Which steps of one conversation are done; survives in its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._done: list[str] = []
        try:
            done = json.loads(read_bytes(self._path))
        except (OSError, ValueError, RecursionError):
            return
        if isinstance(done, list):
            self._done = [step for step in done if isinstance(step, str)]

    def __contains__(self, step: str) -> bool:
        return step in self._done

    def once(self, step: str, do: Callable[[], None]) -> None:
        """Do a step unless it was done, and remember that it is."""
        if step not in self._done:
            do()
            self.note(step)

    def note(self, step: str) -> None:
        """Remember that a step is done."""
        self._done.append(step)
        partial = self._path.with_suffix(".part")
        try:
            with open(partial, "w", opener=_private) as file:
                json.dump(self._done, file)
            os.replace(partial, self._path)
        except OSError as error:
            logger.debug("cannot note what was delivered: %s", error)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o600)
