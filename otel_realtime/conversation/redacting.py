"""Reads the arguments of ``Conversation.redact_audio()``.

The caller wants something not to be heard, so the package silences whatever it can make sense of, even if
an argument is wrong: a stretch that begins before the recording is cut to its start, and an unknown side
means both. Arguments that make no sense are refused. Both cases are logged, as for other arguments.
"""

from __future__ import annotations

from typing import Final

from otel_realtime.conversation.arguments import Refused, number, refuse
from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.redactions import BEEP, BY_CALL, SIDES, SILENCE, Stretch

#: Latest end of a stretch, in ms (11 days); a later one, including infinity, means "to the end".
MAX_MS: Final = 1e9
_NAME: Final = "redact_audio()"


def read_stretch(start_ms: object, end_ms: object, side: object, how: object) -> Stretch | None:
    """Return the stretch to silence; None if it is empty.

    Args:
        start_ms: Start of the stretch, in ms of the recording.
        end_ms: End of the stretch, in ms of the recording.
        side: ``user``, ``agent``, or None for both.
        how: ``silence`` or ``beep``.

    Raises:
        Refused: The start or the end cannot be used.
    """
    start, end = number(start_ms, "start_ms"), _end(end_ms)
    if start > end:
        raise Refused("start_ms is later than end_ms; pass where it begins, then where it ends")
    if end < 0 and start != end:
        raise Refused("end_ms is negative; pass ms since the start of the recording")
    if start < 0:
        _say("start_ms is negative", "it is silenced from the start of the recording")
    if side is not None and not (isinstance(side, str) and side in SIDES):
        _say('side is neither "user" nor "agent" nor None', "both sides are silenced")
        side = None
    if not (isinstance(how, str) and how in (SILENCE, BEEP)):
        _say('how is neither "silence" nor "beep"', "it is silenced")
    start_ns = int(min(max(start, 0), MAX_MS) * NS_PER_MS)
    end_ns = -int(-min(max(end, 0), MAX_MS) * NS_PER_MS // 1)
    if start_ns >= end_ns:
        return None
    return Stretch(
        start_ns,
        end_ns,
        side=side if isinstance(side, str) else None,
        how=BEEP if isinstance(how, str) and how == BEEP else SILENCE,
        why=BY_CALL,
    )


def _end(end_ms: object) -> int | float:
    if isinstance(end_ms, float) and end_ms == float("inf"):
        return MAX_MS
    return number(end_ms, "end_ms")


def _say(problem: str, what: str) -> None:
    refuse(_NAME, problem, what)
