"""Encoded spans on disk, until LangSmith has them.

Each file under ``<state_dir>/spool/<instance id>/`` is one batch: a line of JSON that says whose
it is, then the gzipped protobuf. A file appears under its name when it is whole, and goes when
LangSmith accepted it; what a dead process leaves is sent by ``otel-realtime recover``. The key is
never written.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.recording import owner

logger = logging.getLogger(__name__)

SPOOL: Final = "spool"
SUFFIX: Final = ".spans"
#: The bounds are looked at each time so much was written.
TIDY_BYTES: Final = 16_000_000
_numbers = itertools.count()
_said: set[str] = set()


@dataclass(frozen=True, slots=True)
class Label:
    """Whose spans a file holds, and how many.

    Attributes:
        api_url: the LangSmith they are meant for.
        project: the project there.
        spans: how many there are.
        size: bytes before compression.
    """

    api_url: str
    project: str
    spans: int
    size: int


class Spool:
    """Writes one process's batches for one LangSmith; safe from any thread.

    Args:
        state_dir: ``Settings.state_dir``.
        config: the LangSmith they are meant for.
        tidy: called now and then, so that the directory stays within its bounds.
    """

    def __init__(
        self, state_dir: Path, config: LangSmithConfig, tidy: Callable[[], None] | None = None
    ) -> None:
        self.state_dir = state_dir
        self._tidy = tidy
        self._untidy_bytes = 0
        self._api_url = config.api_url
        self._project = config.project

    def write(self, body: bytes, spans: int, size: int) -> Path | None:
        """Put a batch on disk; None, said once, when the disk does not take it."""
        label = json.dumps(asdict(Label(self._api_url, self._project, spans, size)))
        name = f"{time.time_ns():020d}-{next(_numbers):06d}{SUFFIX}"
        folder = self.state_dir / SPOOL / owner.instance_id()
        try:
            owner.claim_state(self.state_dir)
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            _write(folder / name, label.encode() + b"\n" + body)
        except OSError as error:
            if str(folder.parent) not in _said:
                _said.add(str(folder.parent))
                logger.warning(
                    "spans cannot be kept on disk (%s): they wait for LangSmith in memory", error
                )
            return None
        self._untidy_bytes += len(body)
        if self._tidy is not None and self._untidy_bytes >= TIDY_BYTES:
            self._untidy_bytes = 0
            self._tidy()
        return folder / name

    def close(self) -> None:
        """Remove the folder if nothing is left in it."""
        try:
            (self.state_dir / SPOOL / owner.instance_id()).rmdir()
        except OSError:
            pass


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".part")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError:
        remove(partial)
        raise


def read(path: Path) -> tuple[Label, bytes]:
    """Read a file: its label and the body to send.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none of ours.
    """
    line, _, body = path.read_bytes().partition(b"\n")
    try:
        label = Label(**json.loads(line))
    except TypeError as error:
        raise ValueError(f"{path.name} has no label") from error
    return label, body


def remove(path: Path) -> None:
    """Delete a file that is there."""
    try:
        path.unlink()
    except OSError:
        pass


def files(folder: Path) -> list[Path]:
    """The batches one process left, oldest first."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError:
        return []
