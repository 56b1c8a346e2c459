"""Limits the cost of failed requests for a destination and the network: one budget for all legs.

Each delivery backs off by itself, but there may be thousands of them, and a recording is large. A
failed request is charged to the budget of its destination. While the budget is overdrawn, nothing is
sent *again*. The first attempt of a delivery never waits, and accepted requests cost nothing. So the
cost of an outage is bounded, and the backlog is delivered quickly when it is over.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Allowance:
    """The amount that may fail.

    Attributes:
        burst: amount at once.
        per_s: amount per second, in the long run.
        debt: maximum overdraft; or the cost of the last request, if that is more.
    """

    burst: float
    per_s: float
    debt: float = 0.0


#: Failed requests: a burst of 30, then one per second; after an outage, the next follows within 3 s.
REQUESTS: Final = Allowance(30, 1.0, 3)
#: Bytes of recordings in failed requests: 100 MB at once, then 1 GB an hour.
BYTES: Final = Allowance(100e6, 1e9 / 3600)
#: Longest time to wait before asking again: other deliveries may have given back what they took.
ASK_AGAIN_S: Final = 5.0


class _Account:
    """A balance that is refilled over time."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._balance = allowance.burst
        self._at = time.monotonic()

    def add(self, amount: float) -> None:
        now = self._now()
        lowest = min(now, -max(self._allowance.debt, -amount))
        self._balance = min(max(now + amount, lowest), self._allowance.burst)

    def wait_s(self) -> float:
        return max(-self._now() / self._allowance.per_s, 0.0)

    def _now(self) -> float:
        now, allowance = time.monotonic(), self._allowance
        refilled = self._balance + (now - self._at) * allowance.per_s
        self._balance, self._at = min(refilled, allowance.burst), now
        return self._balance


class Budget:
    """The budget of one destination; thread-safe.

    Args:
        requests: number of failed requests.
        recorded: bytes of recordings in failed requests.
    """

    def __init__(self, requests: Allowance = REQUESTS, recorded: Allowance = BYTES) -> None:
        self._lock = threading.Lock()
        self._requests = _Account(requests)
        self._bytes = _Account(recorded)

    def take(self, size: int = 0) -> float:
        """Reserve the cost of a repeated request, in case it fails, too.

        Args:
            size: bytes of the recording in it.

        Returns:
            Seconds until it is worth asking again; 0: it may be sent, and ``repeated`` must be called.
        """
        with self._lock:
            wait_s = max(self._requests.wait_s(), self._bytes.wait_s() if size else 0.0)
            if wait_s:
                return min(wait_s, ASK_AGAIN_S)
            self._add(-1, -size)
            return 0.0

    def failed(self, size: int = 0) -> None:
        """Charge a first attempt that failed; arguments as for ``take``."""
        with self._lock:
            self._add(-1, -size)

    def repeated(self, size: int = 0, *, answered: bool) -> None:
        """Settle a repeated request that was reserved.

        A request that is answered gives back its cost, and the same amount again: as many requests may
        fail as are accepted, and soon after an outage deliveries run in parallel again.

        Args:
            size: as for ``take``.
            answered: it need not be sent again.
        """
        if answered:
            with self._lock:
                self._add(2, 2 * size)

    def _add(self, requests: float, size: float) -> None:
        self._requests.add(requests)
        self._bytes.add(size)


_budgets: weakref.WeakValueDictionary[Hashable, Budget] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def budget_for(destination: Hashable) -> Budget:
    """Return the budget of a destination, the same one as long as it is in use.

    Args:
        destination: identifies a server, and the account whose requests it counts.
    """
    with _lock:
        return _budgets.setdefault(destination, Budget())


def _after_fork() -> None:
    """Start with new budgets in a forked child: a thread of the parent may have held a lock."""
    global _lock
    _lock = threading.Lock()
    _budgets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
