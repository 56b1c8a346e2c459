"""The clock against a server's ``Date``: a real answer whose date is another one."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from otel_realtime.doctor.clock import skew
from otel_realtime.doctor.probe import send
from tests.support.doctor import Reply, Web


def shown(offset_s: float | None) -> tuple[str, str] | None:
    """Status and text for a server whose clock is this much ahead of ours; ``None``: it says nothing."""

    def answer(_: object) -> Reply:
        date = "never" if offset_s is None else formatdate(time.time() + offset_s, usegmt=True)
        return Reply(headers={"Date": date})

    with Web(answer) as web:
        found = skew("clock", "the server", send("GET", web.url, {}, timeout_s=5))
    return (found[0].status, found[0].seen) if found else None


def test_the_same_time_is_fine() -> None:
    """A date has no fractions: half a second is not known."""
    assert ("ok", "within the second") == shown(0)
    assert ("ok", "within the second") == shown(1)


@pytest.mark.parametrize(("offset_s", "which"), [(-120, "ahead of"), (120, "behind")])
def test_a_difference_is_said_with_its_direction(offset_s: float, which: str) -> None:
    """To the second."""
    status, seen = shown(offset_s) or ("", "")
    assert "warn" == status
    assert seen.endswith(f"s {which} the server")
    assert 118 <= int(seen.split()[3]) <= 121


def test_a_server_without_a_readable_date_says_nothing() -> None:
    """It is no warning."""
    assert shown(None) is None
