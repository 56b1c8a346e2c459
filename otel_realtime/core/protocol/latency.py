"""Measure the audio of a response: what was generated and heard, and how long the caller waited.

Input: a response, the conversation's items and the recording's timeline. Output: a
:class:`ResponseAudio`. The rules:

1. Generated and heard durations are sums over the response's items. The source of the sum is the
   weakest source among them. What was generated is unknown if the audio of one of them took another
   way (WebRTC, SIP).
2. ``first_audio_ms`` runs from ``response.created`` to the arrival of the first chunk. It measures
   the server; the chunk may be played later. Where no chunks come, the server's own start of play
   (``output_audio_buffer.started``) stands for it.
3. ``voice_to_voice_ms`` runs from the end of the user's speech to the first audible sample of the
   answer. It exists only if the response read an item with user audio, or is the first audible one
   after responses that only called tools: the caller waits through all of them.
4. The end of the user's speech is ``audio_end_ms`` minus ``silence_duration_ms`` with server VAD,
   which reports the end only after that much silence. Otherwise (semantic VAD, push to talk) it is
   the end of the last voiced frame before ``speech_stopped`` or ``committed``.

Source: ``input_audio_buffer.speech_stopped``,
https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.responses import AudioFacts, Response

if TYPE_CHECKING:
    from otel_realtime.core.audio.parts import ItemAudio
    from otel_realtime.core.protocol.state import ConversationState

#: ``heard_source`` by strength of evidence, weakest first.
_SOURCES: Final = ("estimated", "server", "client_truncate", "tap")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseAudio:
    """The audio of one response; every duration is None if it has none.

    Attributes:
        generated_ms: Audio that the model generated, in ms; None if it is unknown.
        heard_ms: How much of it was played, in ms.
        heard_source: The weakest evidence among its items.
        interrupted: Whether some of it was not heard.
        first_audio_ms: From ``response.created`` to the first chunk, in ms.
        voice_to_voice_ms: From the end of the user's speech to the first audible sample, in ms.
    """

    generated_ms: int | None = None
    heard_ms: int | None = None
    heard_source: str | None = None
    interrupted: bool = False
    first_audio_ms: int | None = None
    voice_to_voice_ms: int | None = None


def response_audio(
    response: Response, state: ConversationState, audio: AudioFacts | None
) -> ResponseAudio:
    """Return the audio facts of a response by the timeline's present knowledge."""
    facts = response.item_audio(audio)
    if audio is None or not facts:
        return ResponseAudio()
    generated = [item.generated_ms for item in facts if item.generated_ms is not None]
    first_t = facts[0].first_chunk_t
    return ResponseAudio(
        generated_ms=sum(generated) if len(generated) == len(facts) else None,
        heard_ms=sum(item.heard_ms for item in facts),
        heard_source=min((item.heard_source for item in facts), key=_SOURCES.index),
        interrupted=any(item.interrupted for item in facts),
        # If ``response.created`` was missed, the response dates from ``response.done``, after its
        # audio.
        first_audio_ms=(
            None if first_t is None else max(first_t - response.created.t, 0) // NS_PER_MS
        ),
        voice_to_voice_ms=_voice_to_voice(response, state, audio, facts),
    )


def _voice_to_voice(
    response: Response, state: ConversationState, audio: AudioFacts, facts: list[ItemAudio]
) -> int | None:
    audible = [item.audible_from_t for item in facts if item.audible_from_t is not None]
    question = _answered_speech(response, state, audio) if audible else None
    if question is None:
        return None
    end_t = speech_end(question, state.session.silence_ms, audio)
    return None if end_t is None else max((min(audible) - end_t) // NS_PER_MS, 0)


def _answered_speech(
    response: Response, state: ConversationState, audio: AudioFacts
) -> Item | None:
    """Return the user's last speech that this response is the first to answer audibly."""
    newest_first = iter(reversed(state.responses.values()))
    for candidate in newest_first:
        if candidate is response:
            break  # the iterator now continues with the responses before this one
    current: Response | None = response
    while current is not None:
        read = [item for item in map(state.items.get, current.inputs) if item and item.audio]
        if read:
            return read[-1]
        current = next((earlier for earlier in newest_first if not earlier.out_of_band), None)
        # An earlier response with audio has already answered whatever was asked before it.
        if current is not None and current.item_audio(audio):
            return None
    return None


def speech_end(item: Item, silence_ms: int | None, audio: AudioFacts) -> int | None:
    """Return when the user stopped speaking, in ns since the start; None if it is unknown.

    Args:
        item: The user's item.
        silence_ms: ``silence_duration_ms`` of server VAD; None without server VAD.
        audio: Maps appended audio to time, and knows where voice was.
    """
    if item.audio_end_ms is not None and silence_ms is not None:
        end_t = audio.user_time(max(item.audio_end_ms - silence_ms, 0))
        if end_t is not None:
            return end_t
    return audio.last_voice(item.stopped_t) if item.stopped_t is not None else None
