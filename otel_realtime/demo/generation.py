"""One response of the scripted model, step by step and in the order of the real service.

``Response.steps`` is a generator: it sends events and yields how long to wait before it goes on.
Whoever runs it may stop it between two steps with ``Response.stop``, which closes what is open the
way the service does: the item ends ``incomplete``, the response ``cancelled``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from otel_realtime.demo.g711 import from_pcm
from otel_realtime.demo.items import AGENT_MS_PER_TOKEN, Item, Tokens, text_tokens, usage
from otel_realtime.demo.scenario import Answer, Call
from otel_realtime.demo.speech import BYTES_PER_MS
from otel_realtime.demo.wire import Json, new_id

ARGUMENT_PIECE: Final = 6
"""Characters in one delta of a function call's arguments."""
TEXT_STEP_MS: Final = 15
"""Between two deltas of text or arguments."""


class Stage(Protocol):
    """Where a response puts what it makes: the session."""

    def emit(self, kind: str, **fields: Any) -> None:
        """Send an event to the client."""

    def open_item(self, item: Item) -> None:
        """Put a new item into the conversation."""

    def close_item(self, item: Item) -> None:
        """Say that the item is done."""

    def response_ended(self, response: Response) -> None:
        """The response has sent its ``response.done``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What holds for one response: the session's configuration and ``response.create``'s changes.

    Attributes:
        conversation_id: None for a response out of band.
        format: of its audio, as a GA session names it.
    """

    modalities: tuple[str, ...]
    conversation_id: str | None
    voice: object
    format: Mapping[str, Any]
    max_output_tokens: object = "inf"
    metadata: Json | None = None
    taken: Tokens = field(default_factory=Tokens)
    cached: Tokens = field(default_factory=Tokens)


class Response:
    """A response being generated."""

    def __init__(
        self,
        answer: Answer,
        options: Options,
        stage: Stage,
        *,
        delay_ms: int,
        delta_ms: int,
        pace: float,
    ) -> None:
        self.id = new_id("resp")
        self.options = options
        self.ended = False
        self._answer = answer
        self._stage = stage
        self._delay_ms = delay_ms
        self._delta_ms = delta_ms
        self._pace = pace
        self._output: list[Item] = []
        self._made = Tokens()
        self._close_open: Callable[[str], None] | None = None

    def steps(self) -> Iterator[float]:
        """Generate; yields milliseconds to wait."""
        self._emit_response("response.created", "in_progress", None, None)
        yield self._delay_ms
        if self._answer.text or self._answer.pcm:
            spoken = "audio" in self.options.modalities
            yield from self._speak() if spoken else self._write()
        for call in self._answer.calls:
            yield from self._call(call)
        self._end(self._answer.status, self._answer.status_details)

    def stop(self, reason: str) -> None:
        """Cancel: ``turn_detected`` (the user speaks) or ``client_cancelled``."""
        if not self.ended:
            self._end("cancelled", {"type": "cancelled", "reason": reason})

    # -- the items of a response --------------------------------------------------------------

    def _speak(self) -> Iterator[float]:
        """A message with audio and its transcript, the words a little ahead of the sound."""
        item, at = self._open_item({"type": "message", "role": "assistant", "content": []})
        stage = self._stage
        part: Json = {"type": "audio", "transcript": ""}
        content: Json = {"type": "output_audio", "transcript": ""}
        item.body["content"].append(content)
        stage.emit("response.content_part.added", **at, content_index=0, part=dict(part))
        at["content_index"] = 0

        def close(status: str) -> None:
            said = content["transcript"]
            part["transcript"] = said
            stage.emit("response.output_audio.done", **at)
            stage.emit("response.output_audio_transcript.done", **at, transcript=said)
            stage.emit("response.content_part.done", **at, part=part)
            self._made += Tokens(text_tokens(said), math.ceil(item.audio_ms / AGENT_MS_PER_TOKEN))
            self._close_item(item, status)

        self._close_open = close
        words = spoken_words(self._answer.text)
        chunks = _slices(self._answer.pcm, self._delta_ms * BYTES_PER_MS) or [b""]
        said = 0
        for number, chunk in enumerate(chunks, start=1):
            due = math.ceil(len(words) * min(1.0, (number + 1) / len(chunks)))
            for word in words[said:due]:
                content["transcript"] += word
                kind = "response.output_audio_transcript.delta"
                stage.emit(kind, **at, delta=word, **_padding(word))
            said = due
            if chunk:
                item.audio += chunk
                delta = base64.b64encode(from_pcm(chunk, self.options.format)).decode("ascii")
                stage.emit("response.output_audio.delta", **at, delta=delta)
            yield self._delta_ms / self._pace
        self._finish_open("completed")

    def _write(self) -> Iterator[float]:
        """A message of text."""
        item, at = self._open_item({"type": "message", "role": "assistant", "content": []})
        stage = self._stage
        content: Json = {"type": "output_text", "text": ""}
        item.body["content"].append(content)
        stage.emit(
            "response.content_part.added", **at, content_index=0, part={"type": "text", "text": ""}
        )
        at["content_index"] = 0

        def close(status: str) -> None:
            text = content["text"]
            stage.emit("response.output_text.done", **at, text=text)
            stage.emit("response.content_part.done", **at, part={"type": "text", "text": text})
            self._made += Tokens(text_tokens(text))
            self._close_item(item, status)

        self._close_open = close
        for word in spoken_words(self._answer.text):
            content["text"] += word
            stage.emit("response.output_text.delta", **at, delta=word, **_padding(word))
            yield TEXT_STEP_MS
        self._finish_open("completed")

    def _call(self, call: Call) -> Iterator[float]:
        """A function call, its arguments in pieces."""
        call_id = new_id("call")[:21]
        body = {"type": "function_call", "name": call.name, "call_id": call_id, "arguments": ""}
        item, at = self._open_item(body)
        at["call_id"] = call_id
        stage = self._stage

        def close(status: str) -> None:
            arguments = item.body["arguments"]
            if status == "completed":
                done = "response.function_call_arguments.done"
                stage.emit(done, **at, name=call.name, arguments=arguments)
            self._made += Tokens(text_tokens(call.name + arguments) + 8)
            self._close_item(item, status)

        self._close_open = close
        for piece in _slices(call.arguments, ARGUMENT_PIECE):
            item.body["arguments"] += piece
            stage.emit(
                "response.function_call_arguments.delta", **at, delta=piece, **_padding(piece)
            )
            yield TEXT_STEP_MS
        self._finish_open("completed")

    # -- opening and closing ------------------------------------------------------------------

    def _open_item(self, body: Json) -> tuple[Item, Json]:
        """Announce a new output item; returns it and the keys its events share."""
        kind = body.pop("type")
        item = Item({"id": new_id("item"), "type": kind, "status": "in_progress", **body})
        index = len(self._output)
        self._output.append(item)
        self._stage.emit(
            "response.output_item.added", response_id=self.id, output_index=index, item=item.wire()
        )
        if self.options.conversation_id is not None:
            self._stage.open_item(item)
        return item, {"response_id": self.id, "item_id": item.id, "output_index": index}

    def _close_item(self, item: Item, status: str) -> None:
        item.body["status"] = status
        index = self._output.index(item)
        if self.options.conversation_id is not None:
            self._stage.close_item(item)
        self._stage.emit(
            "response.output_item.done", response_id=self.id, output_index=index, item=item.wire()
        )

    def _finish_open(self, status: str) -> None:
        close, self._close_open = self._close_open, None
        if close is not None:
            close(status)

    def _end(self, status: str, details: Mapping[str, Any] | None) -> None:
        self._finish_open("incomplete")
        self.ended = True
        taken, cached = self.options.taken, self.options.cached
        if status == "cancelled" and not self._output:
            taken = cached = Tokens()  # as recorded: nothing is billed before the first output
        counted = usage(taken=taken, cached=cached, made=self._made)
        self._emit_response("response.done", status, details, counted)
        self._stage.response_ended(self)

    def _emit_response(
        self, kind: str, status: str, details: Mapping[str, Any] | None, counted: Json | None
    ) -> None:
        options = self.options
        body = {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": dict(details) if details is not None else None,
            "output": [item.wire() for item in self._output],
            "conversation_id": options.conversation_id,
            "output_modalities": list(options.modalities),
            "max_output_tokens": options.max_output_tokens,
            "audio": {"output": {"format": dict(options.format), "voice": options.voice}},
            "usage": counted,
            "metadata": options.metadata,
        }
        self._stage.emit(kind, response=body)


def spoken_words(text: str) -> list[str]:
    """The deltas of a text: words, each but the first with the space before it."""
    words = text.split()
    return words[:1] + [f" {word}" for word in words[1:]]


def _slices(whole: Any, size: int) -> list[Any]:
    """Cut text or bytes into pieces of ``size``."""
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def _padding(delta: str) -> Json:
    """The random-looking padding that deltas of text carry."""
    return {"obfuscation": new_id("")[1 : 1 + max(0, 16 - len(delta))]}
