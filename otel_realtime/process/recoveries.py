"""Recoveries of this process: one for each state directory, in the background, soon after set-up.

The app may add its exporters after ``instrument()``, so the data that a recovery holds for them waits for a
while. The delivery to LangSmith does not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from otel_realtime.background import Again, Worker
from otel_realtime.diagnostics import logger_of

if TYPE_CHECKING:
    from otel_realtime.recovery.sweep import Report
    from otel_realtime.settings import Settings

logger = logger_of(__name__)

#: Delay after set-up, so that a recovery does not slow down the start of the app and finds its
#: exporters.
DELAY_S: Final = 1.0
#: How long spans wait for the app's exporters, and the interval at which these are looked for.
EXPORTERS_WITHIN_S: Final = 30.0
_LOOK_S: Final = 0.5
#: Longest duration of a recovery; the rest is left for the next start.
TIMEOUT_S: Final = 600.0


class Recoveries:
    """Schedules the recovery of each state directory once.

    Args:
        chores: worker that runs the recoveries.
        live: returns the folders of the conversations that are open in this process.
        provider: returns the app's current ``TracerProvider``.
    """

    def __init__(
        self, chores: Worker, live: Callable[[], set[Path]], provider: Callable[[], object]
    ) -> None:
        self._chores = chores
        self._live = live
        self._provider = provider
        self._seen: set[Path] = set()

    def schedule(self, settings: Settings) -> None:
        """Recover the state directory of these settings soon, unless that was scheduled before.

        With ``Settings.deliver = "worker"`` nothing is scheduled, because the worker recovers.
        """
        if not settings.recover_on_start or settings.deliver == "worker":
            return
        if settings.state_dir in self._seen:
            return
        self._seen.add(settings.state_dir)
        self._chores.resume()
        until = monotonic() + DELAY_S + EXPORTERS_WITHIN_S
        self._chores.submit(partial(self._run, settings, until), after_s=DELAY_S)

    def forget(self) -> None:
        """Let a later set-up schedule all of them again; called when the chores have stopped."""
        self._seen.clear()

    def _run(self, settings: Settings, until: float) -> None:
        """Recover; if data waits for the app's exporters, recover once more when there are exporters."""
        from otel_realtime.recovery.sweep import has_work, recover

        if not has_work(settings.state_dir):
            return
        waits = monotonic() < until
        report = recover(
            settings,
            timeout_s=TIMEOUT_S,
            live=self._live,
            say=partial(logger.debug, "%s"),
            provider=self._provider(),
            awaits_exporters=waits,
        )
        _tell(report)
        if waits and report.awaits_exporters:
            self._chores.submit(partial(self._look, settings, until), after_s=_LOOK_S)

    def _look(self, settings: Settings, until: float) -> Again | None:
        from otel_realtime.recovery.handover import Relay

        if monotonic() < until and not Relay.is_of_use(self._provider()):
            return Again(_LOOK_S)
        self._run(settings, min(until, monotonic()))
        return None


def _tell(report: Report) -> None:
    left = report.left - report.awaits_exporters
    if len(report.conversations) > report.awaits_exporters or report.spans or report.spans_left:
        logger.info(
            "delivered %d conversations and %d spans of processes that died; %d conversations "
            "and %d spans could not be delivered and are kept for `otel-realtime recover`",
            len(report.conversations) - report.left,
            report.spans,
            left,
            report.spans_left,
        )
