"""Measure the audio of a response: how much was generated and heard, and how long the caller waited.

Input: a response, the conversation's items and the recording's timeline. Output: a
:class:`ResponseAudio`. The rules:

1. Generated and heard durations are sums over the response's items. The source of the sum is the
   weakest source among them. The generated duration is unknown if the audio of one of them did not
   pass through this connection (WebRTC, SIP).
2. ``first_audio_ms`` runs from ``response.created`` to the arrival of the first chunk. It measures
   the server; the chunk may be played later. If no chunks arrive, the start of play-out that the
   server reports (``output_audio_buffer.started``) is used instead.
3. ``voice_to_voice_ms`` runs from the end of the user's speech to the first audible sample of the
   answer. It exists only if somebody was waiting: the response read an item with user audio, or is the
   first audible one after responses that only called tools. Nobody waits for a greeting, for an
   out-of-band response, or for a line that the server says because nobody spoke
   (``input_audio_buffer.timeout_triggered``).
4. The end of the user's speech is ``audio_end_ms`` minus ``silence_duration_ms`` with server VAD,
   which reports the end only after that much silence. Otherwise (semantic VAD, push to talk) it is
   the end of the last voiced frame before ``speech_stopped`` or ``committed``. On a connection
   without audio (a sideband) it is the arrival of ``speech_stopped`` minus that silence.
5. ``parts`` break that wait down; see ``breakdown``.
6. A barge-in counts as one interruption, however many responses it cuts. A response that was queued
   behind an interrupted one and was not heard at all is marked as interrupted but not counted.

Source: ``input_audio_buffer.speech_stopped``,
https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_realtime.core.protocol.breakdown import LatencyPart, break_down
from otel_realtime.core.protocol.interruptions import Interruption, explain
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.responses import AudioFacts, Response

if TYPE_CHECKING:
    from otel_realtime.core.audio.parts import ItemAudio
    from otel_realtime.core.protocol.state import ConversationState

#: ``heard_source`` by strength of evidence, weakest first.
_SOURCES: Final = ("estimated", "server", "client_truncate", "tap")
#: The position that a client reports is late by the length of its player's buffer. So a barge-in may
#: also cut a response that was created up to this long after the end of the heard audio.
SAME_CUT_NS: Final = 250 * NS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseAudio:
    """The audio of one response; all durations are None if it has no audio.

    Attributes:
        generated_ms: Audio that the model generated, in ms; None if it is unknown.
        heard_ms: Audio that was played, in ms.
        heard_source: The weakest evidence among its items.
        interrupted: Whether some of it was not heard.
        interruption: The interruption; None if all of the audio was heard, or if it is not counted
            separately (rule 6).
        first_audio_ms: From ``response.created`` to the first chunk, in ms.
        voice_to_voice_ms: From the end of the user's speech to the first audible sample, in ms.
        parts: The parts of ``voice_to_voice_ms``, which add up to it.
    """

    generated_ms: int | None = None
    heard_ms: int | None = None
    heard_source: str | None = None
    interrupted: bool = False
    interruption: Interruption | None = None
    first_audio_ms: int | None = None
    voice_to_voice_ms: int | None = None
    parts: tuple[LatencyPart, ...] = ()


#: Maximum number of responses in one wait; longer chains are not measured.
MOST_ROUNDS: Final = 64


def response_audio(
    response: Response, state: ConversationState, audio: AudioFacts | None
) -> ResponseAudio:
    """Return the audio facts of a response, as the timeline knows them at present."""
    facts = response.item_audio(audio)
    if audio is None or not facts:
        return ResponseAudio()
    generated = [item.generated_ms for item in facts if item.generated_ms is not None]
    first_t = facts[0].first_chunk_t
    parts = _wait(response, state, audio, facts)
    source = min((item.heard_source for item in facts), key=_SOURCES.index)
    return ResponseAudio(
        generated_ms=sum(generated) if len(generated) == len(facts) else None,
        heard_ms=sum(item.heard_ms for item in facts),
        heard_source=source,
        interrupted=any(item.interrupted for item in facts),
        interruption=_interruption(response, state, audio, facts, source),
        # If ``response.created`` was missed, ``created`` is the time of ``response.done``, which is
        # after the audio.
        first_audio_ms=(
            None if first_t is None else max(first_t - response.created.t, 0) // NS_PER_MS
        ),
        voice_to_voice_ms=None if parts is None else sum(part.ms for part in parts),
        parts=parts or (),
    )


def _interruption(
    response: Response,
    state: ConversationState,
    audio: AudioFacts,
    facts: list[ItemAudio],
    source: str,
) -> Interruption | None:
    cut_t = response.cut_t(audio)
    if cut_t is None or _was_queued(response, state, audio, facts):
        return None
    speech, reason = state.speeches.near(cut_t), response.status_reason
    cut = explain(speech, source, reason, state.session, state.shortest_speech_ms)
    return replace(cut, at_t=cut_t)


def _was_queued(
    response: Response, state: ConversationState, audio: AudioFacts, facts: list[ItemAudio]
) -> bool:
    """Return whether it was queued behind a heard response that the same barge-in cut."""
    if any(item.audible_from_t is not None for item in facts):
        return False
    heard = _heard_before(response, audio)
    if not heard:
        return False
    end_t = max(item.audible_until_t for item in heard) + SAME_CUT_NS
    created_t, spoken = response.created.t, _spoken_input(response, state)
    if created_t > end_t or not any(item.interrupted for item in heard):
        return False
    # A response to speech during that play-out was not queued, unless further speech cut it.
    answers = spoken is not None and spoken.at_t >= min(i.audible_from_t or 0 for i in heard)
    return not answers or state.speeches.any_between(created_t, end_t)


def _heard_before(response: Response, audio: AudioFacts) -> list[ItemAudio]:
    """Return the heard items of the latest earlier response that was heard at all.

    Each response caches the result in ``heard_before``, so a response in a long queue of unheard
    ones only has to look at the previous one.
    """
    earlier = response.previous
    while earlier is not None:
        heard = [item for item in earlier.item_audio(audio) if item.audible_from_t is not None]
        if heard:
            response.heard_before = (earlier,)
            return heard
        earlier = earlier.previous if earlier.heard_before is None else earlier.heard_before[0]
    response.heard_before = (None,)
    return []


def _before(response: Response) -> Iterator[Response]:
    """Yield the responses before this one, newest first."""
    while response.previous is not None:
        response = response.previous
        yield response


def _wait(
    response: Response, state: ConversationState, audio: AudioFacts, facts: list[ItemAudio]
) -> tuple[LatencyPart, ...] | None:
    """Return the parts of the caller's wait for this response; None if nobody waited for it."""
    audible = [item.audible_from_t for item in facts if item.audible_from_t is not None]
    chain = _waited_through(response, state, audio) if audible and not response.out_of_band else []
    question = _spoken_input(chain[0], state) if chain else None
    if question is None or question.idle:
        return None
    end_t = speech_end(question, state.session.silence_ms, audio)
    if end_t is None:
        return None
    first_t = facts[0].first_chunk_t
    made = {each.id: each.output_items(state.items) for each in chain}
    calls = [
        call
        for items in made.values()
        for item in items
        if (call := state.calls.get(item.call_id or "")) and call.item_id in (None, item.id)
    ]
    requests = state.mcp.approvals
    return break_down(
        question,
        chain,
        calls,
        {
            key: [requests[item.id] for item in items if item.id in requests]
            for key, items in made.items()
        },
        start_t=end_t,
        first_chunk_t=first_t if first_t is not None else min(audible),
        audible_t=min(audible),
    )


def _waited_through(
    response: Response, state: ConversationState, audio: AudioFacts
) -> list[Response]:
    """Return the responses from the one that read the user's speech to this one, which answers it.

    The list is empty if an earlier response has answered, or if this one answers no speech.
    """
    newest_first = _before(response)
    chain = [response]
    while _spoken_input(chain[0], state) is None:
        if len(chain) >= MOST_ROUNDS:
            return []
        earlier = next((other for other in newest_first if not other.out_of_band), None)
        if earlier is None or earlier.item_audio(audio):
            return []
        chain.insert(0, earlier)
    return chain


def _spoken_input(response: Response, state: ConversationState) -> Item | None:
    """Return the user's last speech that a response read, in its inputs or as a reference."""
    references = (object_or_empty(element).get("id") for element in response.own_input or ())
    read = (state.items.get(item_id) for item_id in (*response.inputs, *references))
    spoken = [item for item in read if item is not None and item.audio and item.role != "assistant"]
    return spoken[-1] if spoken else None


def speech_end(item: Item, silence_ms: int | None, audio: AudioFacts) -> int | None:
    """Return when the user stopped speaking, in ns since the start; None if it is unknown.

    Args:
        item: The user's item.
        silence_ms: ``silence_duration_ms`` of server VAD; None without server VAD.
        audio: Maps positions in appended audio to times, and knows where there was voice.
    """
    if item.audio_end_ms is not None and silence_ms is not None:
        end_t = audio.user_time(max(item.audio_end_ms - silence_ms, 0))
        if end_t is not None:
            return end_t
        if item.stopped_t is not None and audio.last_voice(item.stopped_t) is None:
            return max(item.stopped_t - silence_ms * NS_PER_MS, 0)
    return audio.last_voice(item.stopped_t) if item.stopped_t is not None else None
