"""What LangSmith's answers mean for a delivery: one table for spans, runs and attachments."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final


class Verdict(Enum):
    """What to do with a request after its answer."""

    DONE = "done"
    RETRY = "retry"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict with the sentence the log gives for it."""

    verdict: Verdict
    reason: str


_KEY: Final = (
    "check LANGSMITH_API_KEY, and LANGSMITH_WORKSPACE_ID if the key belongs to an organisation"
)
NO_ANSWER: Final = Ruling(Verdict.RETRY, "no answer")
UNUSABLE: Final = Ruling(
    Verdict.DROP, "the request cannot be made; check LANGSMITH_ENDPOINT and LANGSMITH_API_KEY"
)
TABLE: Final[dict[int, Ruling]] = {
    400: Ruling(Verdict.DROP, "not understood"),
    401: Ruling(Verdict.DROP, "key refused; " + _KEY),
    403: Ruling(Verdict.DROP, "access refused; " + _KEY),
    404: Ruling(Verdict.DROP, "no such address; check LANGSMITH_ENDPOINT"),
    408: Ruling(Verdict.RETRY, "timed out at the server"),
    # LangSmith answers a payload it already has with 409, for runs and for spans.
    409: Ruling(Verdict.DONE, "already received"),
    413: Ruling(Verdict.DROP, "too large"),
    422: Ruling(Verdict.DROP, "invalid"),
    425: Ruling(Verdict.RETRY, "too early"),
    429: Ruling(Verdict.RETRY, "rate limited"),
}
_CLASSES: Final[dict[int, Ruling]] = {
    2: Ruling(Verdict.DONE, "accepted"),
    # Redirects are not followed: a POST would come out as a GET, or the key at another host.
    3: Ruling(Verdict.DROP, "redirected; check LANGSMITH_ENDPOINT"),
    4: Ruling(Verdict.DROP, "refused"),
    5: Ruling(Verdict.RETRY, "server error"),
}
KEY_REFUSED: Final = frozenset({401, 403})
#: Refusals that somebody can mend by correcting the key or the address; None: no request was made.
MENDABLE: Final = frozenset({None, 301, 302, 303, 307, 308, 401, 403, 404})
TOO_LARGE: Final = 413
ALREADY_RECEIVED: Final = 409


def judge(status: int | None) -> Ruling:
    """Return the ruling for an HTTP status, None meaning that there was no answer."""
    if status is None:
        return NO_ANSWER
    return TABLE.get(status) or _CLASSES.get(status // 100, _CLASSES[4])


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries: exponential, jittered; a server's wish has a ceiling."""

    first_s: float = 1.0
    ceiling_s: float = 60.0
    retry_after_ceiling_s: float = 300.0

    def wait_s(self, failures: int, retry_after_s: float | None = None) -> float:
        """Return seconds until the next try after this many failures in a row (1 or more)."""
        if retry_after_s is not None:
            return min(max(retry_after_s, 0.0), self.retry_after_ceiling_s)
        full = min(self.first_s * 2.0 ** min(failures - 1, 30), self.ceiling_s)
        return full * random.uniform(0.5, 1.0)


def parse_retry_after(text: str | None, now_s: float) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for (a number or an HTTP date)."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return max(0.0, at.timestamp() - now_s)
