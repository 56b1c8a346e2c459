"""Collects the warnings that OpenTelemetry's SDK logs when it replaces an invalid variable by a default."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from otel_realtime.credentials import without_secrets


class _Listener(logging.Handler):
    """Collects the warnings that OpenTelemetry logs in one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a record, unless it is a repetition."""
        if record.thread == self._thread and record.name.startswith("opentelemetry"):
            text = without_secrets(record.getMessage())
            if text not in self.heard:
                self.heard.append(text)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the SDK's warnings in this thread inside the block."""
    listener = _Listener()
    logging.root.addHandler(listener)
    try:
        yield listener.heard
    finally:
        logging.root.removeHandler(listener)
