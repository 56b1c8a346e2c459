"""The one wall between our faults and the app: counted, logged once per kind, never raised.

Under tests ``guard.RAISE`` makes faults visible where they happen.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Final

from otel_realtime import losses

logger = logging.getLogger(__name__)

RAISE = False
#: Faults since the process started, by kind; more than one kind of fault is a defect of ours.
faults: Final[Counter[str]] = Counter()
_lock = threading.Lock()


def fault(where: str, error: Exception) -> None:
    """Count a fault of ours and say so once per kind; the app goes on.

    Raises:
        Exception: the fault itself, when ``RAISE`` is set (tests).
    """
    if RAISE:
        raise error
    kind = f"{where}: {type(error).__name__}"
    with _lock:
        faults[kind] += 1
        first = faults[kind] == 1
    losses.lose(losses.FAULT)
    if first:
        logger.error(
            "telemetry of a conversation is incomplete (%s); the conversation itself is not "
            "affected. Please report this.",
            kind,
            exc_info=error,
        )
