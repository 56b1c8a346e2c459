"""What was done already for a conversation whose folder stays: nobody does it again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

PROGRESS: Final = "delivered.json"
KEPT: Final = "kept"
"""The recording is in ``recordings_dir``."""
ROOT: Final = "root"
"""LangSmith accepted the end of the root run, with the recording."""


class Progress:
    """Which steps of one conversation are done; survives in its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        try:
            done = json.loads(self._path.read_text())
            self._done: list[str] = [step for step in done if isinstance(step, str)]
        except (OSError, ValueError, TypeError, RecursionError):
            self._done = []

    def once(self, step: str, do: Callable[[], None]) -> None:
        """Do a step unless it was done, and remember that it is."""
        if step not in self._done:
            do()
            self.note(step)

    def note(self, step: str) -> None:
        """Remember that a step is done."""
        self._done.append(step)
        try:
            self._path.write_text(json.dumps(self._done))
        except OSError as error:
            logger.debug("cannot note what was delivered: %s", error)
