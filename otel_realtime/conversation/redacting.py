"""The arguments of ``Conversation.redact_audio()``, checked at the door.

Whoever calls it wants something not to be heard, so what can be understood is silenced, even if it
was not said well: a stretch that begins before the recording begins with it, an unknown side is both.
What cannot be understood is refused. Either is said in one line of the log, without the values of the
app that are not numbers.
"""

from __future__ import annotations

from numbers import Real
from typing import Final, cast

from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.redactions import BEEP, BY_CALL, SIDES, SILENCE, Stretch
from otel_realtime.diagnostics import logger_of, warn_once

logger = logger_of(__name__)

#: Latest end of a stretch, in ms (11 days); what is later, infinity included, means "to the end".
MAX_MS: Final = 1e9


def read_stretch(start_ms: object, end_ms: object, side: object, how: object) -> Stretch | None:
    """Return what is to be silenced; None if it cannot be understood, or is empty.

    Args:
        start_ms: Where it begins, in ms of the recording.
        end_ms: Where it ends.
        side: ``user``, ``agent``, or None for both.
        how: ``silence`` or ``beep``.
    """
    start, end = _number(start_ms), _number(end_ms)
    if start is None or end is None:
        name = "start_ms" if start is None else "end_ms"
        given = start_ms if start is None else end_ms
        _say(name, "ignored: %s is no number of milliseconds but %s", name, _kind(given))
        return None
    if start > end or (end < 0 and start != end):
        _say("order", "ignored: there is no stretch from %g ms to %g ms", start, end)
        return None
    if start < 0 or start >= MAX_MS:
        _say("start", "%g ms is no place in a recording", start)
    if side is not None and not (isinstance(side, str) and side in SIDES):
        _say("side", 'side is "user", "agent" or None, not %s: both are silenced', _kind(side))
        side = None
    if how not in (SILENCE, BEEP):
        _say("how", 'how is "silence" or "beep", not %s: it is silenced', _kind(how))
    start_ns = int(min(max(start, 0.0), MAX_MS) * NS_PER_MS)
    end_ns = int(-(-min(max(end, 0.0), MAX_MS) * NS_PER_MS // 1))
    if start_ns >= end_ns:
        return None
    return Stretch(
        start_ns,
        end_ns,
        side=side if isinstance(side, str) else None,
        how=BEEP if how == BEEP else SILENCE,
        why=BY_CALL,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond what a float holds
        return MAX_MS if cast("int", value) > 0 else -MAX_MS
    return number if number == number else None  # NaN is no number


def _kind(value: object) -> str:
    """Return what a value is; numbers themselves, NaN among them."""
    if isinstance(value, float):
        return str(value)
    return "None" if value is None else f"of type {type(value).__name__}"


def _say(what: str, message: str, *arguments: object) -> None:
    warn_once(("redact_audio", what), "redact_audio(): " + message, *arguments, log=logger)
