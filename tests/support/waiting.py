"""Waiting for another process or thread, with a deadline instead of a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(
    condition: Callable[[], object], what: str, *, timeout_s: float = 20, every_s: float = 0.05
) -> None:
    """Return as soon as ``condition`` is true.

    Raises:
        AssertionError: it was not within ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {timeout_s:g} s"
        time.sleep(every_s)
