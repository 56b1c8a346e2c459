"""Combines the many small batches of a process that sent none of them, before they are sent.

A process that leaves its deliveries to a worker writes a file each time that spans of a conversation
ended: thousands in an hour, and LangSmith limits the requests of a key. Once a request was tried, it
keeps its spans, because the answer 409 applies to all of them. So combined batches become one file, named
after the first and the last of them, which takes their place. If a worker dies in between, the name of
the combined file tells the next worker which batches it can delete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from otel_realtime.diagnostics import logger_of
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith.encoding import MAX_REQUEST_BYTES, join
from otel_realtime.state import spool
from otel_realtime.state.spool import Label

logger = logger_of(__name__)

#: Maximum number of spans per request, as in OpenTelemetry's own batch processor.
_SPANS: Final = 512
_TO: Final = "+"

_Part = tuple[Path, Label, bytes]


def combine(folder: Path) -> None:
    """Combine the unsent batches in one process's spool; unreadable ones are left as they are."""
    _conclude(folder)
    group: list[_Part] = []
    for part in _unsent(folder):
        if group and not _fits(group, part):
            _write(group)
            group = []
        group.append(part)
    if group:
        _write(group)


def _conclude(folder: Path) -> None:
    """Delete batches that a worker had already combined when it died."""
    whole = [path for path in spool.files(folder) if _TO in path.stem]
    for path in whole:
        first, _, last = path.stem.partition(_TO)
        try:
            label, _ = spool.read(path)
        except (OSError, ValueError):
            continue
        for one, other, _ in _unsent(folder):
            if first <= one.stem <= last and _address(other) == _address(label):
                spool.remove(one)


def _unsent(folder: Path) -> list[_Part]:
    found: list[_Part] = []
    for path in spool.files(folder):
        try:
            label, body = spool.read(path)
        except BaseException as error:  # noqa: BLE001 - the sender reports unreadable batches
            let_through(error)
            continue
        if label.unsent:
            found.append((path, label, body))
    return found


def _fits(group: list[_Part], part: _Part) -> bool:
    labels = [label for _, label, _ in (*group, part)]
    return (
        _address(labels[0]) == _address(labels[-1])
        and sum(label.spans for label in labels) <= _SPANS
        and sum(label.size for label in labels) <= MAX_REQUEST_BYTES
    )


def _address(label: Label) -> tuple[str, str]:
    return label.api_url, label.project


def _write(group: list[_Part]) -> None:
    (first, label, _), (last, _, _) = group[0], group[-1]
    try:
        body = join([body for _, _, body in group])
        spans = sum(label.spans for _, label, _ in group)
        size = sum(label.size for _, label, _ in group)
        name = f"{first.stem}{_TO}{last.stem}{spool.SUFFIX}"
        spool.write(first.with_name(name), Label(*_address(label), spans, size), body)
    except BaseException as error:  # noqa: BLE001 - damaged, or the disk is full: they are sent one by one
        let_through(error)
        logger.debug("batches are not combined: %s", error)
        return
    for path, _, _ in group:
        spool.remove(path)
