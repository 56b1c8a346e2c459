"""The list of a conversation's spans that are or were on disk, in its own folder.

A batch of spans vanishes from the spool when it is delivered. Without this list, a delivered span
could not be told from one that died with the process, which a recovery recreates from the journal. An
id is added when the span's batch has been written, and before the batch is sent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from otel_realtime.diagnostics import logger_of
from otel_realtime.state.files import for_appending, read_bytes

logger = logger_of(__name__)

STORED: Final = "stored.ids"
_DIGITS: Final = 16


def note_stored(folder: Path, span_ids: Sequence[int]) -> None:
    """Add spans to a conversation's list.

    Args:
        folder: the conversation's folder.
        span_ids: ids of spans whose batch is on disk.
    """
    text = "".join(f"{span_id:016x}\n" for span_id in span_ids)
    try:
        descriptor = for_appending(folder / STORED)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:  # the folder is gone: everything was delivered
        logger.debug("cannot note which spans are on disk: %s", error)


def read_stored(folder: Path) -> set[int]:
    """Read a conversation's list; torn and invalid lines are left out."""
    try:
        lines = read_bytes(folder / STORED).split(b"\n")
    except OSError:
        return set()
    found = set()
    for line in lines[:-1]:
        try:
            found.add(int(line, 16) if len(line) == _DIGITS else 0)
        except ValueError:
            pass
    return found - {0}
