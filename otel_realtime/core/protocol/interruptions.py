"""Why an answer was interrupted, and whether the interruption was false.

Usually the user's voice interrupts an answer. The server's VAD reports it
(``input_audio_buffer.speech_started``), and then the server stops generating, the client stops
playing, or both. The rules:

1. The interrupting speech is the one whose ``speech_started`` arrived closest to the end of the heard
   audio, at most one second before or after it. The two times differ because a client reports its
   position late, and its player lags behind.
2. The cause is ``vad`` if there is such speech and the session lets the VAD interrupt
   (``turn_detection.interrupt_response``, true unless set otherwise), or if the server cancelled the
   response because of ``turn_detected``. Otherwise the cause is the side that reported the cut:
   ``server`` (``output_audio_buffer.cleared``, ``conversation.item.truncated``), else ``client``.
3. An interruption is false if the speech said nothing (a cough, a noise, an echo of the agent): its
   transcript is empty, or it was shorter than ``Settings.false_interruption_ms`` without the padding
   and the silence that the VAD adds. Transcription models sometimes write a word for a noise, so if
   the transcript is a single word, the duration decides. Several words are always speech.

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
#: Maximum time between a cut and the start of the speech that caused it.
NEAR_NS: Final = 1_000_000_000
#: A word, or a character of a script that does not separate words.
_WORDS: Final = re.compile(r"[\u2e80-\ud7ff\uf900-\ufaff]|[^\W\u2e80-\ud7ff\uf900-\ufaff]+")
#: Default of ``Settings.false_interruption_ms``.
SHORTEST_SPEECH_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Interruption:
    """One interruption of an answer.

    Attributes:
        cause: ``vad``, ``client`` or ``server``.
        false: Whether the interrupting speech said nothing.
        at_t: End of the heard audio, in ns since the start; ignored in comparisons.
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
        """Note a ``speech_started`` at ``t`` ns since the start of the conversation."""
        self._starts.append(t)
        self._items.append(item)

    def any_between(self, after_t: int, until_t: int) -> bool:
        """Return whether speech began after ``after_t`` and no later than ``until_t``."""
        return bisect_right(self._starts, after_t) < bisect_right(self._starts, until_t)

    def near(self, t: int) -> Item | None:
        """Return the item of the speech that began closest to ``t``; None if none is within ``NEAR_NS``."""
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
    """Return the cause of a cut, and whether it was a false interruption.

    Args:
        speech: The speech near the cut; None if there is none.
        source: ``heard_source`` of the response: the side that reported the cut.
        reason: The server's reason for cancelling the response, such as ``turn_detected``; None without
            one.
        session: The session, which determines whether the VAD interrupts.
        shortest_ms: Speech shorter than this, in ms, says nothing.
    """
    if reason == TURN_DETECTED:
        cause = VAD
    elif speech is None or not session.vad_interrupts:
        cause = SERVER if source == SERVER else CLIENT
    else:
        cause = VAD
    return Interruption(cause, speech is not None and says_nothing(speech, session, shortest_ms))


def says_nothing(speech: Item, session: SessionFacts, shortest_ms: int) -> bool:
    """Return whether the speech said nothing, according to what is known so far."""
    if speech.transcribed and speech.parts:  # completed, not failed
        words = len(_WORDS.findall(speech.text))
        if words != 1:
            return not words
    if speech.audio_ms is None:
        return False
    added_ms = (session.prefix_padding_ms or 0) + (session.silence_ms or 0)
    return speech.audio_ms - added_ms < shortest_ms


def is_known(speech: Item, session: SessionFacts) -> bool:
    """Return whether the result of ``says_nothing`` is final."""
    if session.transcription_model is None:
        return speech.stopped_t is not None
    return bool(speech.transcribed)
