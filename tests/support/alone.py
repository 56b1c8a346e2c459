"""Which tests run beside others: all but those that measure time, which get the machine alone.

Every test of a run holds one lock, shared; a test marked ``alone`` holds it exclusively. Whoever
takes it passes a turnstile first, and one that waits to be alone stays in it: no other test starts
in the meantime.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What the workers of one run share: `pytest-xdist` tells them its id.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID")


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Hold one test's place among those of the other workers."""
    if RUN is None:  # one process: nothing runs beside it
        yield
        return
    with _locked("turnstile", fcntl.LOCK_EX):
        running = _locked("running", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        running.__enter__()
    try:
        yield
    finally:
        running.__exit__(None, None, None)


@contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    path = Path(tempfile.gettempdir()) / f"otel-realtime-tests-{RUN}-{name}.lock"
    # A lock of the process, not of the file: what a test forks does not hold it.
    with path.open("a+") as file:
        fcntl.lockf(file, how)
        yield
