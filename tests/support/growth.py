"""Conversations that are long in one respect each: what an event costs must not depend on how many
came before.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MS = 1_000_000
#: A tenth of a second, PCM16 at 24 kHz.
SOUND = b"\x10\x20" * 2_400
_DELTA = base64.b64encode(SOUND).decode()
#: A fiftieth, as an audio callback gives it.
BLOCK = SOUND[: 480 * 2]
VAD = {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 500}


@dataclass(frozen=True)
class Step:
    """One thing that happens: an event, a position (``played``), or a block of the speaker (``tap``).

    Attributes:
        ms: How long after the step before.
        way: ``received``, ``sent``, ``played`` or ``tap``.
        event: The event; else what is told: ``item_id`` and ``ms``.
    """

    ms: int
    way: str
    event: Mapping[str, Any] = field(default_factory=dict)


def got(kind: str, ms: int = 1, **fields: Any) -> Step:
    """The server sends an event."""
    return Step(ms, "received", {"type": kind, **fields})


def sent(kind: str, ms: int = 1, **fields: Any) -> Step:
    """The client sends one."""
    return Step(ms, "sent", {"type": kind, **fields})


def _delta(number: int, response: str | None = None) -> Step:
    return got(
        "response.output_audio.delta",
        response_id=response or f"r{number}",
        item_id=f"a{number}",
        content_index=0,
        delta=_DELTA,
    )


def _created(number: int) -> Step:
    return got("response.created", response={"id": f"r{number}", "conversation_id": "c"})


def _message(number: int) -> dict[str, Any]:
    part = {"type": "output_audio", "transcript": "word"}
    return {"id": f"a{number}", "type": "message", "role": "assistant", "content": [part]}


def _done(number: int) -> Step:
    body = {"id": f"r{number}", "status": "completed", "output": [_message(number)]}
    return got("response.done", response={**body, "conversation_id": "c"})


def _answers(n: int) -> Iterator[Step]:
    for number in range(n):
        yield from (_created(number), _delta(number), _done(number))


def truncates(n: int) -> Iterator[Step]:
    """Answers are queued, and then each one is truncated."""
    yield from _answers(n)
    for number in range(n):
        claim = {"item_id": f"a{number}", "content_index": 0, "audio_end_ms": 0}
        yield sent("conversation.item.truncate", **claim)


def truncates_of_one_response(n: int) -> Iterator[Step]:
    """The same, where all items belong to one response, and each is truncated as it comes."""
    yield got("response.created", response={"id": "r", "conversation_id": "c"})
    for number in range(n):
        yield _delta(number, "r")
        claim = {"item_id": f"a{number}", "content_index": 0, "audio_end_ms": 90}
        yield sent("conversation.item.truncate", **claim)


def confirmed_truncates(n: int) -> Iterator[Step]:
    """Answers are queued; the server says that each was heard whole, and then that the user speaks."""
    for number in range(n):
        yield from (_created(number), _delta(number))
        claim = {"item_id": f"a{number}", "content_index": 0, "audio_end_ms": 100}
        yield got("conversation.item.truncated", **claim)
        yield got("input_audio_buffer.speech_started", item_id=f"u{number}", audio_start_ms=number)


def deletes(n: int) -> Iterator[Step]:
    """Answers are queued, and then each one is deleted."""
    yield from _answers(n)
    for number in range(n):
        yield sent("conversation.item.delete", item_id=f"a{number}")
        yield got("conversation.item.deleted", item_id=f"a{number}")


def reports(n: int) -> Iterator[Step]:
    """A player tells its position every 20 ms."""
    for number in range(n // 5):
        yield from (_created(number), _delta(number), _done(number))
        for position in range(20, 101, 20):
            yield Step(20, "played", {"item_id": f"a{number}", "ms": position})


def long_report(n: int) -> Iterator[Step]:
    """The same, within one long answer."""
    for position in range(1, n + 1):
        if position % 5 == 1:
            yield _delta(0)
        yield Step(20, "played", {"item_id": "a0", "ms": 20 * position})


def taps(n: int) -> Iterator[Step]:
    """A speaker gives blocks of 20 ms, with long pauses between the answers."""
    for number in range(n // 5):
        yield from (_created(number), _delta(number), _done(number))
        for _ in range(5):
            yield Step(20, "tap", {"item_id": f"a{number}"})
        yield got("rate_limits.updated", 3_000, rate_limits=[])


def sideband(n: int) -> Iterator[Step]:
    """The audio takes another way; the server says what it plays, without naming the response."""
    for number in range(n):
        yield _created(number)
        yield got("response.output_item.added", response_id=f"r{number}", item=_message(number))
        yield got("output_audio_buffer.started")
        yield _done(number)
        yield got("output_audio_buffer.stopped", 500)


def turns(n: int) -> Iterator[Step]:
    """A plain call, turn by turn."""
    previous: str | None = None
    for number in range(n):
        user, said = f"u{number}", {"item_id": f"u{number}", "content_index": 0}
        at_ms = 3_000 * number
        buffer = "input_audio_buffer."
        yield got(buffer + "speech_started", item_id=user, audio_start_ms=at_ms)
        yield got(buffer + "speech_stopped", 900, item_id=user, audio_end_ms=at_ms + 900)
        yield got(buffer + "committed", item_id=user, previous_item_id=previous)
        item = {"id": user, "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
        yield got("conversation.item.added", previous_item_id=previous, item=item)
        yield _created(number)
        yield got("conversation.item.added", previous_item_id=user, item=_message(number))
        yield _delta(number)
        heard = "conversation.item.input_audio_transcription.completed"
        yield got(heard, **said, transcript="hi")
        yield _done(number)
        yield got("rate_limits.updated", 1_500, rate_limits=[])
        previous = f"a{number}"


def history(n: int) -> Iterator[Step]:
    """A long history is seeded, each item before all others, and then deleted."""
    for number in range(n):
        part = {"type": "input_text", "text": "hi"}
        item = {"id": f"h{number}", "type": "message", "role": "user", "content": [part]}
        yield sent("conversation.item.create", item=item)
        yield got("conversation.item.added", previous_item_id="h0", item=item)
        yield got("conversation.item.done", item=item)
    for number in range(n):
        yield got("conversation.item.deleted", item_id=f"h{number}")


def tools(n: int) -> Iterator[Step]:
    """Each response calls a function."""
    for number in range(n):
        call = {"call_id": f"c{number}", "name": "f", "arguments": "{}"}
        item = {"id": f"f{number}", "type": "function_call", **call}
        yield _created(number)
        yield got("response.output_item.added", response_id=f"r{number}", item=item)
        done = {"response_id": f"r{number}", "item_id": f"f{number}", **call}
        yield got("response.function_call_arguments.done", **done)
        answer = {"type": "function_call_output", "call_id": f"c{number}", "output": "1"}
        yield sent("conversation.item.create", item=answer)
        body = {"id": f"r{number}", "status": "completed", "output": [item]}
        yield got("response.done", response={**body, "conversation_id": "c"})


STORIES: Mapping[str, Callable[[int], Iterator[Step]]] = {
    story.__name__: story
    for story in (
        turns, truncates, truncates_of_one_response, confirmed_truncates, deletes, reports, long_report, taps, sideband,
        history, tools,
    )
}  # fmt: skip


def session() -> Step:
    """The first event."""
    audio = {"input": {"turn_detection": VAD, "transcription": {"model": "w"}}}
    return got("session.created", session={"model": "m", "audio": audio})
