"""This machine's clock against that of a server, by the ``Date`` of an answer."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from otel_realtime.doctor.model import Result
from otel_realtime.doctor.probe import Reply

#: ``Date`` has whole seconds, cut off: a difference below is none.
_GRAIN_S: Final = 1.0
#: From here on a trace looks wrong beside those of other machines.
_WARN_S: Final = 3.0


def skew(id_: str, server: str, reply: Reply) -> list[Result]:
    """Return the result of comparing the clocks; none if the server does not say its time.

    Args:
        id_: id of the result.
        server: who answered.
        reply: its answer.
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
    """Return by how many seconds this machine's clock is ahead of the server's; ``None``: unknown."""
    text = reply.headers.get("Date")
    if not text or reply.status is None:
        return None
    try:
        date_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # The server's clock showed any time of that second, at any moment of the request.
    if reply.sent_s > date_s + _GRAIN_S:
        return reply.sent_s - date_s - _GRAIN_S
    if reply.came_s < date_s:
        return reply.came_s - date_s
    return 0.0
