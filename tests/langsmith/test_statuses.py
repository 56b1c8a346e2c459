from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    """Retry-After is obeyed up to the ceiling, with a jitter that keeps processes apart."""
    backoff = Backoff(retry_after_ceiling_s=300)
    for asked, least in ((12.0, 12.0), (86_400.0, 300.0), (math.inf, 300.0)):
        assert all(least <= backoff.wait_s(1, asked) <= least * 1.1 for _ in range(20))
        assert least == backoff.floor_s(asked)
    assert backoff.wait_s(1, 12.0) != backoff.wait_s(1, 12.0)


@pytest.mark.parametrize("asked", [None, 0.0, 0.001])
def test_no_wish_of_the_server_switches_the_backoff_off(asked: float | None) -> None:
    """It grows as without one, and a part of each delay remains whatever happens."""
    backoff = Backoff(first_s=1, ceiling_s=8)
    for failures, full in ((1, 1.0), (2, 2.0), (4, 8.0), (5000, 8.0)):
        assert all(full / 2 <= backoff.wait_s(failures, asked) <= full for _ in range(20))
    assert 0.5 == backoff.floor_s(asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        (" ", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("nan", None),
        ("inf", math.inf),
        ("-inf", 0.0),
        ("9" * 5_000, math.inf),
        ("1e400", math.inf),
        ("soon", None),
        ("0x10", None),
        ("\u0663", 3.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Thu, 99 Jan 2026 00:00:01 GMT", None),
        ("Thu, 01 Jan 2026 99:99:99 GMT", None),
        ("Thu, 01 Jan 2026 00:00:01 +9999", None),
        ("1, 2, 3", None),
        (",", None),
        ("\0", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    """Both forms of the header are read, what is past is now, anything else is none."""
    assert parse_retry_after(text, now_s=10.0) == expected


@given(st.text(max_size=60))
def test_any_retry_after_is_a_delay_or_none(text: str) -> None:
    """Whatever a server sends."""
    found = parse_retry_after(text, now_s=10.0)
    assert found is None or found >= 0
    assert 0.5 <= Backoff().wait_s(1, found) <= 330
