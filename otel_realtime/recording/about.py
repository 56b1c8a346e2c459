"""Describes a recording: whose conversation it is, and what is heard where in it.

Labels contain no words of the conversation, only who took a turn and what happened. So a recording that
is redacted later has nothing in its labels that is not in its sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

#: Who is on the left channel, and who on the right.
CHANNELS: Final = ("user", "agent")
#: The channel of each role's audio.
SIDE_OF_ROLE: Final = {"user": "user", "assistant": "agent"}


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A labelled place in a recording.

    Attributes:
        start_ns: where it begins, ns since the start of the recording.
        end_ns: where it ends; ``start_ns`` for a moment.
        label: what it is, ASCII.
    """

    start_ns: int
    end_ns: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Identifies the conversation of a recording.

    Attributes:
        thread_id: id of its thread; ``None`` if it is not known.
        trace_id: OTel trace id, 32 hex digits; ``None`` if it is not known.
        start_ns: when the conversation began, epoch ns; ``None`` if it is not known.
        marks: its turns and interruptions; pauses and silenced stretches come from the timeline.
    """

    thread_id: str | None = None
    trace_id: str | None = None
    start_ns: int | None = None
    marks: Sequence[Mark] = field(default=())


def turn_label(number: int, side: str) -> str:
    """Return the label of a turn.

    Args:
        number: its number in the transcript, from 1.
        side: ``user`` or ``agent``.
    """
    return f"turn {number}: {side}"


def interruption_label(cause: str, *, false: bool) -> str:
    """Return the label of the place where an answer was cut.

    Args:
        cause: ``vad``, ``client`` or ``server``: who stopped it; see ``core.protocol.interruptions``.
        false: the interruption was a false one: nothing was said.
    """
    what = "barge-in" if cause == "vad" else f"cut by the {cause}"
    return f"{what} (nothing was said)" if false else what


def pause_label() -> str:
    """Return the label of a stretch in which nothing was recorded."""
    return "recording paused"


def redaction_label(side: str | None) -> str:
    """Return the label of a stretch that was silenced; ``side`` ``None``: on both sides."""
    return f"redacted: {side or 'both sides'}"
