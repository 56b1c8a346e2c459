"""What OpenTelemetry's SDK warns of when it reads its variables: it logs, and goes on with a default."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from otel_realtime.credentials import without_secrets


class _Listener(logging.Handler):
    """Keeps the warnings that one thread has from OpenTelemetry."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's message, once."""
        if record.thread == self._thread and record.name.startswith("opentelemetry"):
            text = without_secrets(record.getMessage())
            if text not in self.heard:
                self.heard.append(text)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what the SDK warns of in this thread, while the block lasts."""
    listener = _Listener()
    logging.root.addHandler(listener)
    try:
        yield listener.heard
    finally:
        logging.root.removeHandler(listener)
