"""Whether the exporters of the environment took what they were given: they only say so in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from otel_realtime.diagnostics import logger_of

#: Whose errors are looked at: exporters, and the processors that call them.
_LOGGER: Final = "opentelemetry"
#: In a message of an exporter of anything but spans.
_OTHER_SIGNALS: Final = ("metrics batch", "logs batch")


class Refusals(logging.Handler):
    """Collects errors of exporters, each once: one that is away says so for each batch."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a record."""
        self._found.setdefault(record.getMessage())

    @property
    def messages(self) -> list[str]:
        """What they said, in order."""
        return list(self._found)

    @property
    def of_spans(self) -> bool:
        """Whether spans were refused."""
        return any(not any(other in one for other in _OTHER_SIGNALS) for one in self._found)


@contextmanager
def refusals() -> Iterator[Refusals]:
    """Collect what the exporters refuse inside the block, instead of printing it again and again."""
    handler, logger = Refusals(), logger_of(_LOGGER)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
