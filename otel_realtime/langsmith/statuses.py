"""What LangSmith's HTTP statuses mean for a delivery: one table for spans, runs and attachments.

Statuses: https://www.rfc-editor.org/rfc/rfc9110#section-15 and, for the runs API,
https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final


class Verdict(Enum):
    """What to do with a request after its answer."""

    #: It was accepted.
    DONE = "done"
    #: Send it again later.
    RETRY = "retry"
    #: It will never be accepted as it is.
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and its reason in a few words, for the log."""

    verdict: Verdict
    reason: str


_KEY: Final = (
    "check LANGSMITH_API_KEY, and LANGSMITH_WORKSPACE_ID if the key belongs to an organisation"
)
#: No answer: the connection failed, or timed out.
NO_ANSWER: Final = Ruling(Verdict.RETRY, "no answer")
#: The request could not be sent at all.
UNUSABLE: Final = Ruling(
    Verdict.DROP, "the request cannot be made; check LANGSMITH_ENDPOINT and LANGSMITH_API_KEY"
)
#: Statuses with a meaning of their own.
TABLE: Final[dict[int, Ruling]] = {
    400: Ruling(Verdict.DROP, "not understood"),
    401: Ruling(Verdict.DROP, "key refused; " + _KEY),
    403: Ruling(Verdict.DROP, "access refused; " + _KEY),
    404: Ruling(Verdict.DROP, "no such address; check LANGSMITH_ENDPOINT"),
    408: Ruling(Verdict.RETRY, "timed out at the server"),
    # LangSmith answers 409 to a payload it already has. Its own client ignores that, too.
    409: Ruling(Verdict.DONE, "already received"),
    413: Ruling(Verdict.DROP, "too large"),
    422: Ruling(Verdict.DROP, "invalid"),
    425: Ruling(Verdict.RETRY, "too early"),
    429: Ruling(Verdict.RETRY, "rate limited"),
}
#: All others, by their first digit.
_CLASSES: Final[dict[int, Ruling]] = {
    2: Ruling(Verdict.DONE, "accepted"),
    # Redirects are not followed: a POST could become a GET, and the key could go to another host.
    3: Ruling(Verdict.DROP, "redirected; check LANGSMITH_ENDPOINT"),
    4: Ruling(Verdict.DROP, "refused"),
    5: Ruling(Verdict.RETRY, "server error"),
}
#: The key was refused.
KEY_REFUSED: Final = frozenset({401, 403})
#: Refusals that the user can correct, by another key or endpoint; ``None``: no request was sent.
CORRECTABLE: Final = frozenset({None, 301, 302, 303, 307, 308, 401, 403, 404})
TOO_LARGE: Final = 413
ALREADY_RECEIVED: Final = 409


def judge(status: int | None) -> Ruling:
    """Return the ruling for an HTTP status; ``None``: there was no answer."""
    if status is None:
        return NO_ANSWER
    return TABLE.get(status) or _CLASSES.get(status // 100, _CLASSES[4])


#: Minimum delay in seconds that remains even if the app flushes all the time.
LEAST_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between attempts: exponential with jitter, and never less than the server asks for.

    Jitter keeps many processes from retrying in step after an outage. A server can prolong a delay but
    never shorten it: ``Retry-After: 0``, or a clock that is ahead, must not switch the backoff off.

    Attributes:
        first_s: delay after the first failure, in seconds.
        ceiling_s: longest delay of our own, in seconds.
        retry_after_ceiling_s: longest ``Retry-After`` that is respected, in seconds.
    """

    first_s: float = 1.0
    ceiling_s: float = 60.0
    retry_after_ceiling_s: float = 300.0

    def wait_s(self, failures: int, retry_after_s: float | None = None) -> float:
        """Return the seconds until the next attempt.

        Args:
            failures: number of failures in a row, at least 1.
            retry_after_s: delay that the server asked for, in seconds.
        """
        # The exponent is bounded because ``2.0 ** 1024`` overflows.
        full = min(self.first_s * 2.0 ** min(failures - 1, 30), self.ceiling_s)
        own_s = full * random.uniform(0.5, 1.0)
        return max(own_s, self._asked_s(retry_after_s) * random.uniform(1.0, 1.1))

    def floor_s(self, retry_after_s: float | None = None) -> float:
        """Return the part of a delay that remains even for a flush, in seconds.

        Args:
            retry_after_s: delay that the server asked for, in seconds.
        """
        return max(min(LEAST_S, self.first_s / 2), self._asked_s(retry_after_s))

    def _asked_s(self, retry_after_s: float | None) -> float:
        return min(retry_after_s or 0.0, self.retry_after_ceiling_s)


def parse_retry_after(text: str | None, now_s: float) -> float | None:
    """Return the delay in seconds that a ``Retry-After`` header asks for.

    https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3

    Args:
        text: value of the header: seconds, or an HTTP date.
        now_s: current time, epoch seconds.

    Returns:
        The delay, 0 for one in the past; ``None`` without a valid header.
    """
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now_s)
    return None if math.isnan(seconds) else max(seconds, 0.0)


def _seconds_until(date: str, now_s: float) -> float:
    """Return the seconds until an HTTP date; NaN for anything else."""
    try:
        at = parsedate_to_datetime(date)
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return at.timestamp() - now_s
    except (ValueError, TypeError, OverflowError, IndexError):  # what the parser raises
        return math.nan
