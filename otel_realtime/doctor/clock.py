"""Compares this machine's clock with that of a server, by the ``Date`` header of a response."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from otel_realtime.doctor.model import Result
from otel_realtime.doctor.probe import Reply

#: Resolution of ``Date``, which is truncated to whole seconds.
_GRAIN_S: Final = 1.0
#: From this difference on, a trace looks wrong beside traces from other machines.
_WARN_S: Final = 3.0


def skew(id_: str, server: str, reply: Reply) -> list[Result]:
    """Return the result of comparing the clocks; empty if the server does not send its time.

    Args:
        id_: id of the result.
        server: name of the server, for the text.
        reply: its response.
    """
    ahead_s = ahead(reply)
    if ahead_s is None:
        return []
    title = f"clock, by {server}"
    if abs(ahead_s) < _WARN_S:
        return [Result(id=id_, title=title, status="ok", seen="within the second")]
    which = "ahead of" if ahead_s > 0 else "behind"
    return [
        Result(
            id=id_,
            title=title,
            status="warn",
            seen=f"this machine is {abs(ahead_s):,.0f} s {which} {server}",
            effect="spans stand beside those of other machines at the wrong time",
            fix="synchronise the clock (NTP)",
        )
    ]


def ahead(reply: Reply) -> float | None:
    """Return how many seconds this machine's clock is ahead of the server's; ``None`` if unknown."""
    text = reply.headers.get("Date")
    if not text or reply.status is None:
        return None
    try:
        date_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # The server read its clock at some moment of the request, and ``Date`` may be up to 1 s too early.
    if reply.sent_s > date_s + _GRAIN_S:
        return reply.sent_s - date_s - _GRAIN_S
    if reply.came_s < date_s:
        return reply.came_s - date_s
    return 0.0
