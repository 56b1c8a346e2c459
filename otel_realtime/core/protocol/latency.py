"""How a response sounded: what was generated and heard of it, and how long the caller waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.messages import MS
from otel_realtime.core.protocol.responses import AudioFacts, Response

if TYPE_CHECKING:
    from otel_realtime.core.audio.timeline import ItemAudio
    from otel_realtime.core.protocol.state import ConversationState

#: Weakest evidence first: a response is known as well as its least known item.
_SOURCES: Final = ("estimated", "server", "client_truncate", "tap")


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundFacts:
    """The sound of one response; all None without any.

    Attributes:
        generated_ms: what the model spoke.
        heard_ms: what was played of it.
        heard_source: the weakest evidence among its items.
        interrupted: something of it was not heard.
        first_audio_ms: from ``response.created`` to the first chunk.
        voice_to_voice_ms: from the end of the user's speech to the first sound of the answer.
    """

    generated_ms: int | None = None
    heard_ms: int | None = None
    heard_source: str | None = None
    interrupted: bool = False
    first_audio_ms: int | None = None
    voice_to_voice_ms: int | None = None


def sound_facts(
    response: Response, state: ConversationState, audio: AudioFacts | None
) -> SoundFacts:
    """Read a response's sound off the timeline."""
    sounds = response.sounds(state.items, audio)
    if audio is None or not sounds:
        return SoundFacts()
    return SoundFacts(
        generated_ms=sum(one.generated_ms for one in sounds),
        heard_ms=sum(one.heard_ms for one in sounds),
        heard_source=min((one.heard_source for one in sounds), key=_SOURCES.index),
        interrupted=any(one.interrupted for one in sounds),
        first_audio_ms=max((sounds[0].first_chunk_t - response.created.t) // MS, 0),
        voice_to_voice_ms=_voice_to_voice(response, state, audio, sounds),
    )


def _voice_to_voice(
    response: Response, state: ConversationState, audio: AudioFacts, sounds: list[ItemAudio]
) -> int | None:
    audible = [one.audible_from_t for one in sounds if one.audible_from_t is not None]
    spoken = _answered(response, state, audio) if audible else None
    if spoken is None:
        return None
    end_t = speech_end(spoken, state.session.silence_ms, audio)
    return None if end_t is None else max((min(audible) - end_t) // MS, 0)


def _answered(response: Response, state: ConversationState, audio: AudioFacts) -> Item | None:
    """The user's last speech that this response is the first to answer with sound.

    Responses that only call tools lie between the question and its spoken answer; the caller
    waits through all of them.
    """
    before = iter(reversed(state.responses.values()))
    one: Response | None = response
    for candidate in before:
        if candidate is response:
            break
    while one is not None:
        spoken = [item for item in map(state.items.get, one.inputs) if item and item.audio]
        if spoken:
            return spoken[-1]
        one = next((earlier for earlier in before if not earlier.out_of_band), None)
        if one is not None and one.sounds(state.items, audio):
            return None
    return None


def speech_end(item: Item, silence_ms: int | None, audio: AudioFacts) -> int | None:
    """When the user really stopped, ns: the VAD's end without its silence, else the last voice.

    Server VAD says ``speech_stopped`` with ``audio_end_ms`` only after ``silence_duration_ms``;
    with semantic VAD and push to talk the last loud frame before the stop or the commit counts.
    """
    if item.audio_end_ms is not None and silence_ms is not None:
        end_t = audio.user_time(max(item.audio_end_ms - silence_ms, 0))
        if end_t is not None:
            return end_t
    return audio.last_voice(item.stopped_t) if item.stopped_t is not None else None
