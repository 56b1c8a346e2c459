"""Why an answer was cut short, and whether anybody wanted it to be.

What stops an answer is usually the user's voice. The server's VAD reports it
(``input_audio_buffer.speech_started``), and then the server stops generating, the client stops
playing, or both. The rules:

1. The speech that interrupts is the one whose ``speech_started`` arrived closest to the end of what
   was heard, at most one second before or after it: a client reports its position late, and its
   player is late, too.
2. Cause ``vad``: there is such speech, and the session lets the VAD interrupt
   (``turn_detection.interrupt_response``, true unless it says otherwise). Without either, the cause
   is whoever's word it is that the answer was cut: ``server`` (``output_audio_buffer.cleared``,
   ``conversation.item.truncated``), else ``client``. A response that the server cancelled because
   of ``turn_detected`` was cut by the VAD in any case.
3. An interruption is false if that speech said nothing: its transcript is empty, or it was shorter
   than ``Settings.false_interruption_ms`` without the padding and the silence that the VAD adds. A
   cough, a noise, an echo of the agent: the agent stopped for nothing. Transcription models write a
   word for a noise at times, so one word of short speech proves nothing; several words do.

Source: https://platform.openai.com/docs/guides/realtime-vad.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Final

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.session import SessionFacts

VAD: Final = "vad"
CLIENT: Final = "client"
SERVER: Final = "server"

#: ``status_details.reason`` of a response that the VAD cancelled.
TURN_DETECTED: Final = "turn_detected"
#: Speech is looked for within this time of a cut.
NEAR_NS: Final = 1_000_000_000
#: A word; in scripts that do not part words, a character.
_WORDS: Final = re.compile(r"[\u2e80-\ud7ff\uf900-\ufaff]|[^\W\u2e80-\ud7ff\uf900-\ufaff]+")
#: Default of ``Settings.false_interruption_ms``.
SHORTEST_SPEECH_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Interruption:
    """One cut of an answer.

    Attributes:
        cause: ``vad``, ``client`` or ``server``.
        false: The agent stopped, but nothing was said.
        at_t: When, in ns since the start: the end of what was heard. It is not what is compared.
    """

    cause: str
    false: bool
    at_t: int = field(default=0, compare=False)


class Speeches:
    """When the user began to speak, in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._items: list[Item] = []

    def began(self, t: int, item: Item) -> None:
        """Note a ``speech_started``; ``t`` in ns since the start of the conversation."""
        self._starts.append(t)
        self._items.append(item)

    def any_between(self, after_t: int, until_t: int) -> bool:
        """Return whether speech began after ``after_t`` and not after ``until_t``."""
        return bisect_right(self._starts, after_t) < bisect_right(self._starts, until_t)

    def near(self, t: int) -> Item | None:
        """Return the item of the speech that began closest to ``t``; None if none is near."""
        index = bisect_left(self._starts, t)
        around = range(max(index - 1, 0), min(index + 1, len(self._starts)))
        distances = [(abs(self._starts[at] - t), at) for at in around]
        distance, at = min(distances, default=(NEAR_NS + 1, 0))
        return self._items[at] if distance <= NEAR_NS else None


def explain(
    speech: Item | None,
    source: str,
    reason: str | None,
    session: SessionFacts,
    shortest_ms: int,
) -> Interruption:
    """Return the cause of a cut, and whether it was for nothing.

    Args:
        speech: The speech near it; None if there is none.
        source: Whose word it is: ``heard_source`` of the response.
        reason: The server's reason if it cancelled the response, ``turn_detected`` for one.
        session: The session; it says whether the VAD interrupts.
        shortest_ms: Speech shorter than this says nothing.
    """
    if reason == TURN_DETECTED:
        cause = VAD
    elif speech is None or not session.vad_interrupts:
        cause = SERVER if source == SERVER else CLIENT
    else:
        cause = VAD
    return Interruption(cause, speech is not None and says_nothing(speech, session, shortest_ms))


def says_nothing(speech: Item, session: SessionFacts, shortest_ms: int) -> bool:
    """Return whether nothing was said, by what is known so far."""
    if speech.transcribed and speech.parts:  # completed, not failed
        words = len(_WORDS.findall(speech.text))
        if words != 1:
            return not words
    if speech.audio_ms is None:
        return False
    added_ms = (session.prefix_padding_ms or 0) + (session.silence_ms or 0)
    return speech.audio_ms - added_ms < shortest_ms


def is_known(speech: Item, session: SessionFacts) -> bool:
    """Return whether it is decided what the speech says."""
    if session.transcription_model is None:
        return speech.stopped_t is not None
    return bool(speech.transcribed)
