"""Recovery in the background of a process that traces: once, and only if there is something."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_realtime.settings import Settings

logger = logging.getLogger(__name__)

THREAD_NAME: Final = "otel-realtime-recovery"
#: The first conversation of the process comes first.
_DELAY_S: Final = 1.0
_TIMEOUT_S: Final = 600.0


def recover_in_background(settings: Settings) -> None:
    """Deliver what dead processes left, on a thread of its own; returns at once."""
    thread = threading.Thread(target=_run, args=(settings,), name=THREAD_NAME, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # no more threads, or the interpreter ends: next time
        logger.debug("recovery was not started: %s", error)


def _run(settings: Settings) -> None:
    from otel_realtime.recovery.sweep import instances, recover

    time.sleep(_DELAY_S)
    try:
        if not instances(settings.state_dir):
            return
        report = recover(settings, timeout_s=_TIMEOUT_S, say=_quietly)
        if report.conversations or report.spans or report.spans_left:
            logger.info(
                "of processes that died, %d conversations and %d spans were delivered; "
                "%d and %d are left for `otel-realtime recover`",
                len(report.conversations) - report.left,
                report.spans,
                report.left,
                report.spans_left,
            )
    except Exception:
        logger.warning("recovery failed; `otel-realtime recover` tries again", exc_info=True)


def _quietly(message: str) -> None:
    logger.debug("%s", message)
