"""Writes captions for a call's recording: what was heard, from whom, and when.

The protocol has no times for single words, so a long turn is split into pieces whose times are
proportional to their length, as if it were spoken at a constant rate. Words that were never heard are
left out.

- WebVTT: https://www.w3.org/TR/webvtt1/. A speaker is a voice span. ``&``, ``<`` and ``>`` are
  escaped, so a text cannot contain ``-->`` either. A text is one line, because a blank line would end
  a cue.
- SubRip has no specification and no escapes. The speaker is written before the text, and ``-->``, which
  a reader would take for a line of times, is replaced by an arrow character.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otel_realtime.calls.schema import Call, Turn

#: Most characters of a caption: two lines of 42, as is usual in broadcasting.
CHARACTERS: Final = 84
#: Rate at which text without an end time is shown, in characters per second, and its shortest time, ms.
CHARACTERS_PER_S: Final = 15
SHORTEST_MS: Final = 1_000
#: Speaker name for each role.
SPEAKERS: Final = {"user": "User", "assistant": "Agent"}


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption.

    Attributes:
        start_ms: when it appears, ms into the recording.
        end_ms: when it disappears, ms into the recording; always after ``start_ms``.
        speaker: who speaks.
        text: the words that are heard, in one line.
    """

    start_ms: int
    end_ms: int
    speaker: str
    text: str


def cues(call: Call) -> list[Cue]:
    """Return the captions of a call, ordered by start."""
    found = [cue for turn in call["turns"] for cue in _cues_of(turn)]
    return sorted(found, key=lambda cue: cue.start_ms)


def _cues_of(turn: Turn) -> Iterator[Cue]:
    start_ms, pieces = turn["start_ms"], _pieces(turn["heard_text"])
    if start_ms is None or not pieces:
        return
    length = sum(map(len, pieces))
    end_ms = turn["end_ms"]
    if end_ms is None or end_ms <= start_ms:  # text without audio, typed or only shown
        end_ms = start_ms + max(length * 1_000 // CHARACTERS_PER_S, SHORTEST_MS)
    shown = 0
    for piece in pieces:
        begin = start_ms + (end_ms - start_ms) * shown // length
        shown += len(piece)
        end = start_ms + (end_ms - start_ms) * shown // length
        yield Cue(begin, max(end, begin + 1), SPEAKERS[turn["role"]], piece)


def _pieces(text: str) -> list[str]:
    """Split a text into pieces that can be read at a glance, between words where possible."""
    return textwrap.wrap(
        " ".join(text.split()), CHARACTERS, break_long_words=True, break_on_hyphens=False
    )


def vtt(call: Call) -> str:
    """Return the captions as WebVTT."""
    blocks = ["WEBVTT"]
    for cue in cues(call):
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append(f"{times}\n<v {cue.speaker}>{_escaped(cue.text)}")
    return "\n\n".join(blocks) + "\n"


def srt(call: Call) -> str:
    """Return the captions as SubRip."""
    blocks = [
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        f"{cue.speaker}: {cue.text.replace('-->', '→')}\n"
        for number, cue in enumerate(cues(call), 1)
    ]
    return "\n".join(blocks)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(at_ms: int, point: str) -> str:
    seconds, ms = divmod(at_ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
