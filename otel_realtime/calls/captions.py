"""Captions of a call's recording: what was heard, by whom, and when.

The wire has no times for single words, so a long turn is shown in pieces whose times go with their
length, as if it was spoken at a constant rate. Words that were never heard are in no caption.

- WebVTT: https://www.w3.org/TR/webvtt1/. A speaker is a voice span; ``&``, ``<`` and ``>`` are
  escaped, which leaves no ``-->`` in a text either; a blank line would end a cue.
- SubRip has no specification and no escapes: a speaker is written before the text, and an arrow that
  a reader would take for a line of times is written as a sign.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from otel_realtime.calls.schema import Call, Turn

#: Most characters of a caption: two lines of 42, as broadcasters have them.
CHARACTERS: Final = 84
#: The rate of a text that has no time of its own, in characters a second, and its shortest time, ms.
CHARACTERS_PER_S: Final = 15
SHORTEST_MS: Final = 1_000
#: Who speaks in a turn of which role.
SPEAKERS: Final = {"user": "User", "assistant": "Agent"}


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption.

    Attributes:
        start_ms: when it appears, ms into the recording.
        end_ms: when it disappears, later than that.
        speaker: who speaks.
        text: what is heard, in one line.
    """

    start_ms: int
    end_ms: int
    speaker: str
    text: str


def cues(call: Call) -> list[Cue]:
    """Return the captions of a call, by their start."""
    found = [cue for turn in call["turns"] for cue in _cues_of(turn)]
    return sorted(found, key=lambda cue: cue.start_ms)


def _cues_of(turn: Turn) -> Iterator[Cue]:
    start_ms, pieces = turn["start_ms"], _pieces(turn["heard_text"])
    if start_ms is None or not pieces:
        return
    length = sum(map(len, pieces))
    end_ms = turn["end_ms"]
    if end_ms is None or end_ms <= start_ms:  # typed, or only read
        end_ms = start_ms + max(length * 1_000 // CHARACTERS_PER_S, SHORTEST_MS)
    shown = 0
    for piece in pieces:
        begin = start_ms + (end_ms - start_ms) * shown // length
        shown += len(piece)
        end = start_ms + (end_ms - start_ms) * shown // length
        yield Cue(begin, max(end, begin + 1), SPEAKERS[turn["role"]], piece)


def _pieces(text: str) -> list[str]:
    """Return a text in pieces that can be read at a glance, cut between words where it has any."""
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
