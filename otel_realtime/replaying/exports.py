"""Detects failed exports of the environment's exporters, which report them only in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from otel_realtime.diagnostics import logger_of

#: Logger of the exporters and of the processors that call them.
_LOGGER: Final = "opentelemetry"
#: Texts in error messages of exporters of other signals than spans.
_OTHER_SIGNALS: Final = ("metrics batch", "logs batch")


class Refusals(logging.Handler):
    """Collects errors of exporters, each once: an unreachable endpoint is reported for every batch."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a record."""
        self._found.setdefault(record.getMessage())

    @property
    def messages(self) -> list[str]:
        """The error messages, in order."""
        return list(self._found)

    @property
    def of_spans(self) -> bool:
        """Whether spans were refused."""
        return any(not any(other in one for other in _OTHER_SIGNALS) for one in self._found)


@contextmanager
def refusals() -> Iterator[Refusals]:
    """Collect the errors that exporters log inside the block, instead of printing each repetition."""
    handler, logger = Refusals(), logger_of(_LOGGER)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
