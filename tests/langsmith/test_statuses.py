from __future__ import annotations

import pytest

from otel_realtime.langsmith.statuses import Backoff, Verdict, judge, parse_retry_after

ROWS = [
    (200, Verdict.DONE),
    (202, Verdict.DONE),
    (204, Verdict.DONE),
    (301, Verdict.DROP),
    (302, Verdict.DROP),
    (400, Verdict.DROP),
    (401, Verdict.DROP),
    (403, Verdict.DROP),
    (404, Verdict.DROP),
    (408, Verdict.RETRY),
    (409, Verdict.DONE),
    (413, Verdict.DROP),
    (415, Verdict.DROP),
    (422, Verdict.DROP),
    (425, Verdict.RETRY),
    (429, Verdict.RETRY),
    (500, Verdict.RETRY),
    (502, Verdict.RETRY),
    (503, Verdict.RETRY),
    (504, Verdict.RETRY),
    (None, Verdict.RETRY),
]


@pytest.mark.parametrize(("status", "verdict"), ROWS)
def test_each_status_has_one_verdict(status: int | None, verdict: Verdict) -> None:
    """One table decides for spans, runs and attachments."""
    assert judge(status).verdict is verdict


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_what_to_check(status: int) -> None:
    """Both variables that can be wrong are named."""
    reason = judge(status).reason
    assert "LANGSMITH_API_KEY" in reason
    assert "LANGSMITH_WORKSPACE_ID" in reason


def test_backoff_grows_to_its_ceiling() -> None:
    """Waits double with at most half of each jittered away, and stop growing."""
    backoff = Backoff(first_s=1, ceiling_s=8)
    for failures, full in ((1, 1.0), (2, 2.0), (4, 8.0), (9, 8.0), (5000, 8.0)):
        assert full / 2 <= backoff.wait_s(failures) <= full


def test_the_servers_wish_has_a_ceiling() -> None:
    """Retry-After is obeyed up to the ceiling."""
    backoff = Backoff(retry_after_ceiling_s=300)
    assert backoff.wait_s(1, 12.0) == 12.0
    assert backoff.wait_s(1, 86_400.0) == 300.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    """Both forms of the header are read, anything else is none."""
    assert parse_retry_after(text, now_s=10.0) == expected
