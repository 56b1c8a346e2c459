"""Runs checks concurrently; none of them can delay the others, or the command."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from otel_realtime.doctor.model import Check, Result, Surroundings

_MORE_TIME: Final = "give it more time with --timeout"
_REPORT: Final = "this is a bug in otel-realtime: please report it"


def run_checks(
    checks: Sequence[Check], surroundings: Surroundings, timeout_s: float
) -> list[list[Result]]:
    """Run checks and return the results of each, in their order.

    Args:
        checks: the checks.
        surroundings: the input of the checks.
        timeout_s: time for all of them, in seconds. A check that has not ended then is abandoned;
            its thread ends with the process.
    """
    deadline = time.monotonic() + timeout_s
    running = [_Running(check, surroundings) for check in checks]
    for one in running:
        one.thread.start()
    return [one.wait(deadline, timeout_s) for one in running]


class _Running:
    """A check that runs in a thread."""

    def __init__(self, check: Check, surroundings: Surroundings) -> None:
        self._check = check
        self._surroundings = surroundings
        self._found: list[Result] = []
        self._error: BaseException | None = None
        # A daemon thread, because waiting for a name server cannot be interrupted.
        self.thread = threading.Thread(target=self._run, name=f"doctor {check.id}", daemon=True)

    def _run(self) -> None:
        try:
            for result in self._check.look(self._surroundings):
                self._found.append(result)
        except BaseException as error:  # noqa: BLE001 - an error affects only this check
            self._error = error

    def wait(self, deadline: float, timeout_s: float) -> list[Result]:
        self.thread.join(max(deadline - time.monotonic(), 0.0))
        found = list(self._found)
        if self.thread.is_alive():
            found.append(self._told(f"did not end within {timeout_s:g} s", _MORE_TIME))
        elif self._error is not None:
            kind = type(self._error).__name__
            found.append(self._told(f"the check failed: {kind}: {self._error}", _REPORT))
        return _masked(found, self._surroundings)

    def _told(self, seen: str, fix: str) -> Result:
        return Result(
            id=self._check.id,
            title=self._check.id,
            status="warn",
            seen=seen,
            effect="nothing is known of it",
            fix=fix,
        )


def _masked(results: Iterable[Result], surroundings: Surroundings) -> list[Result]:
    return [result.masked(surroundings.mask) for result in results]
