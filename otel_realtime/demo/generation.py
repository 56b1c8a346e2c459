"""One response of the scripted model, generated step by step in the event order of the service.

``Response.steps`` is a generator that emits events and yields how long to wait before the next
step. Between two steps, ``Response.cancel`` may end it and closes open objects as the service does: the
current item becomes ``incomplete`` and the response ``cancelled``.

Events: https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, AnyStr, Final, Protocol

from otel_realtime.demo.g711 import from_pcm
from otel_realtime.demo.items import AGENT_MS_PER_TOKEN, Item, Tokens, text_tokens, usage
from otel_realtime.demo.scenario import Answer, Call, McpCall
from otel_realtime.demo.speech import BYTES_PER_MS
from otel_realtime.demo.wire import Json, new_id

#: Characters in one delta of a function call's arguments.
ARGUMENTS_DELTA_CHARS: Final = 6
#: Time between two deltas of text or arguments.
TEXT_STEP_MS: Final = 15


class ResponseSession(Protocol):
    """The part of a session that a response uses."""

    def emit(self, event_type: str, **fields: object) -> None:
        """Send an event to the client."""

    def open_item(self, item: Item) -> None:
        """Add a new item to the conversation."""

    def close_item(self, item: Item) -> None:
        """Announce that the item is done."""

    def needs_approval(self, call: McpCall) -> bool:
        """Return whether the client must approve a call of an MCP tool first."""

    def approval_requested(self, item: Item, call: McpCall) -> None:
        """Wait for the client's answer to an ``mcp_approval_request`` item."""

    def response_ended(self, response: Response) -> None:
        """Handle the end of the response, after its ``response.done``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOptions:
    """Options of one response: the session's configuration with ``response.create``'s overrides.

    Attributes:
        modalities: the output modalities.
        conversation_id: None for an out-of-band response, which adds no items to the conversation.
        voice: the voice of its audio.
        audio_format: the format of its audio, as in the session.
        max_output_tokens: echoed to the client, not enforced.
        metadata: the client's metadata, echoed to it.
        input_tokens: tokens of its context.
        cached_tokens: how many of them come from the prompt cache.
    """

    modalities: tuple[str, ...]
    conversation_id: str | None
    voice: object
    audio_format: Mapping[str, Any]
    max_output_tokens: object = "inf"
    metadata: Json | None = None
    input_tokens: Tokens = field(default_factory=Tokens)
    cached_tokens: Tokens = field(default_factory=Tokens)


class Response:
    """A response while it is generated.

    Args:
        answer: the model's answer.
        options: the options of the response.
        session: the session it belongs to.
        delay_ms: time before the first output.
        delta_ms: audio in one delta.
        pace: seconds of audio generated per second.
    """

    def __init__(
        self,
        answer: Answer,
        options: ResponseOptions,
        session: ResponseSession,
        *,
        delay_ms: int,
        delta_ms: int,
        pace: float,
    ) -> None:
        self.id = new_id("resp")
        self.options = options
        self.ended = False
        self._answer = answer
        self._session = session
        self._delay_ms = delay_ms
        self._delta_ms = delta_ms
        self._pace = pace
        self._output: list[Item] = []
        self._output_tokens = Tokens()
        #: Closes the open item with a status; None while no item is open.
        self._close_open_item: Callable[[str], None] | None = None

    @property
    def unplayed_ms(self) -> float:
        """How much of its audio is still unplayed at its end, for a client that plays without delay, ms."""
        return sum(item.audio_ms for item in self._output) * max(0.0, 1 - 1 / self._pace)

    @property
    def ran_mcp(self) -> bool:
        """Whether it called an MCP tool; the model then continues by itself."""
        return any(item.body["type"] == "mcp_call" for item in self._output)

    def steps(self) -> Iterator[float]:
        """Generate the response; yield the milliseconds to wait before each next step."""
        self._emit_response("response.created", "in_progress", None, None)
        yield self._delay_ms
        if self._answer.text or self._answer.pcm:
            has_audio = "audio" in self.options.modalities
            yield from self._audio_message() if has_audio else self._text_message()
        for call in self._answer.calls:
            yield from self._function_call(call)
        for mcp_call in self._answer.mcp_calls:
            if self._answer.approved_by is None and self._session.needs_approval(mcp_call):
                self._request_approval(mcp_call)
            else:
                yield from self._mcp_call(mcp_call)
        self._end(self._answer.status, self._answer.status_details)

    def cancel(self, reason: str) -> None:
        """End the response early.

        Args:
            reason: ``turn_detected`` if the user speaks, ``client_cancelled`` on a request.
        """
        if not self.ended:
            self._end("cancelled", {"type": "cancelled", "reason": reason})

    # --- output items ----------------------------------------------------------------------------

    def _audio_message(self) -> Iterator[float]:
        item, address = self._open_item({"type": "message", "role": "assistant", "content": []})
        session = self._session
        # A part is called "audio" in content_part events, but "output_audio" in the item.
        part: Json = {"type": "audio", "transcript": ""}
        content: Json = {"type": "output_audio", "transcript": ""}
        item.body["content"].append(content)
        session.emit("response.content_part.added", **address, content_index=0, part=dict(part))
        address["content_index"] = 0

        def close(status: str) -> None:
            transcript = content["transcript"]
            part["transcript"] = transcript
            session.emit("response.output_audio.done", **address)
            session.emit("response.output_audio_transcript.done", **address, transcript=transcript)
            session.emit("response.content_part.done", **address, part=part)
            self._output_tokens += Tokens(
                text_tokens(transcript), math.ceil(item.audio_ms / AGENT_MS_PER_TOKEN)
            )
            self._close_item(item, status)

        self._close_open_item = close
        words = transcript_deltas(self._answer.text)
        chunks = _split(self._answer.pcm, self._delta_ms * BYTES_PER_MS) or [b""]
        sent = 0
        for number, chunk in enumerate(chunks, start=1):
            # The service sends the transcript slightly ahead of the audio, here by one chunk.
            due = math.ceil(len(words) * min(1.0, (number + 1) / len(chunks)))
            for word in words[sent:due]:
                content["transcript"] += word
                session.emit(
                    "response.output_audio_transcript.delta",
                    **address,
                    delta=word,
                    **_obfuscation(word),
                )
            sent = due
            if chunk:
                item.audio += chunk
                audio = from_pcm(chunk, self.options.audio_format)
                delta = base64.b64encode(audio).decode("ascii")
                session.emit("response.output_audio.delta", **address, delta=delta)
            yield self._delta_ms / self._pace
        self._finish_open_item("completed")

    def _text_message(self) -> Iterator[float]:
        item, address = self._open_item({"type": "message", "role": "assistant", "content": []})
        session = self._session
        content: Json = {"type": "output_text", "text": ""}
        item.body["content"].append(content)
        part: Json = {"type": "text", "text": ""}
        session.emit("response.content_part.added", **address, content_index=0, part=part)
        address["content_index"] = 0

        def close(status: str) -> None:
            text = content["text"]
            part = {"type": "text", "text": text}
            session.emit("response.output_text.done", **address, text=text)
            session.emit("response.content_part.done", **address, part=part)
            self._output_tokens += Tokens(text_tokens(text))
            self._close_item(item, status)

        self._close_open_item = close
        for word in transcript_deltas(self._answer.text):
            content["text"] += word
            session.emit("response.output_text.delta", **address, delta=word, **_obfuscation(word))
            yield TEXT_STEP_MS
        self._finish_open_item("completed")

    def _function_call(self, call: Call) -> Iterator[float]:
        call_id = new_id("call")[:21]
        body = {"type": "function_call", "name": call.name, "call_id": call_id, "arguments": ""}
        item, address = self._open_item(body)
        address["call_id"] = call_id
        session = self._session

        def close(status: str) -> None:
            arguments = item.body["arguments"]
            # A cancelled call has no arguments.done, because its arguments are incomplete.
            if status == "completed":
                session.emit(
                    "response.function_call_arguments.done",
                    **address,
                    name=call.name,
                    arguments=arguments,
                )
            # 8 tokens for the framing of the call.
            self._output_tokens += Tokens(text_tokens(call.name + arguments) + 8)
            self._close_item(item, status)

        self._close_open_item = close
        for delta in _split(call.arguments, ARGUMENTS_DELTA_CHARS):
            item.body["arguments"] += delta
            session.emit(
                "response.function_call_arguments.delta",
                **address,
                delta=delta,
                **_obfuscation(delta),
            )
            yield TEXT_STEP_MS
        self._finish_open_item("completed")

    def _request_approval(self, call: McpCall) -> None:
        item, _ = self._open_item({"type": "mcp_approval_request", **_tool_of(call)}, "mcpr")
        self._output_tokens += Tokens(text_tokens(call.name + call.arguments) + 8)
        self._session.approval_requested(item, call)
        self._close_item(item)

    def _mcp_call(self, call: McpCall) -> Iterator[float]:
        body = {"type": "mcp_call", **_tool_of(call), "output": None, "error": None}
        item, address = self._open_item(
            {**body, "approval_request_id": self._answer.approved_by}, "mcp"
        )
        emit = self._session.emit
        if self._answer.approved_by is None:
            emit("response.mcp_call_arguments.delta", **address, delta=call.arguments)
            emit("response.mcp_call_arguments.done", **address, arguments=call.arguments)
            self._output_tokens += Tokens(text_tokens(call.name + call.arguments) + 8)
        # The events of the call itself have no response_id.
        place = {"item_id": item.id, "output_index": address["output_index"]}
        self._close_open_item = lambda _: self._close_item(item)
        emit("response.mcp_call.in_progress", **place)
        yield call.takes_ms
        emit("response.mcp_call.completed", **place)
        item.body["output"] = call.output
        self._finish_open_item("completed")

    # --- opening and closing ---------------------------------------------------------------------

    def _open_item(self, body: Json, prefix: str = "item") -> tuple[Item, Json]:
        """Announce a new output item; return it and the keys that its events have in common."""
        item_type = body.pop("type")
        # Items of MCP servers have no status.
        status = {"status": "in_progress"} if prefix == "item" else {}
        item = Item({"id": new_id(prefix), "type": item_type, **status, **body})
        index = len(self._output)
        self._output.append(item)
        self._session.emit(
            "response.output_item.added",
            response_id=self.id,
            output_index=index,
            item=item.to_wire(),
        )
        # Items of an out-of-band response stay out of the conversation.
        if self.options.conversation_id is not None:
            self._session.open_item(item)
        return item, {"response_id": self.id, "item_id": item.id, "output_index": index}

    def _close_item(self, item: Item, status: str | None = None) -> None:
        if status is not None:
            item.body["status"] = status
        index = self._output.index(item)
        if self.options.conversation_id is not None:
            self._session.close_item(item)
        self._session.emit(
            "response.output_item.done",
            response_id=self.id,
            output_index=index,
            item=item.to_wire(),
        )

    def _finish_open_item(self, status: str) -> None:
        close, self._close_open_item = self._close_open_item, None
        if close is not None:
            close(status)

    def _end(self, status: str, details: Mapping[str, Any] | None) -> None:
        self._finish_open_item("incomplete")
        self.ended = True
        input_tokens, cached_tokens = self.options.input_tokens, self.options.cached_tokens
        if status == "cancelled" and not self._output:
            # As in recorded sessions: nothing is billed before the first output.
            input_tokens = cached_tokens = Tokens()
        response_usage = usage(
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=self._output_tokens,
        )
        self._emit_response("response.done", status, details, response_usage)
        self._session.response_ended(self)

    def _emit_response(
        self,
        event_type: str,
        status: str,
        details: Mapping[str, Any] | None,
        response_usage: Json | None,
    ) -> None:
        options = self.options
        body = {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": dict(details) if details is not None else None,
            "output": [item.to_wire() for item in self._output],
            "conversation_id": options.conversation_id,
            "output_modalities": list(options.modalities),
            "max_output_tokens": options.max_output_tokens,
            "audio": {"output": {"format": dict(options.audio_format), "voice": options.voice}},
            "usage": response_usage,
            "metadata": options.metadata,
        }
        self._session.emit(event_type, response=body)


def transcript_deltas(text: str) -> list[str]:
    """Return the deltas of a text: its words, each but the first with the space before it."""
    words = text.split()
    return words[:1] + [f" {word}" for word in words[1:]]


def _tool_of(call: McpCall) -> Json:
    """Return the keys of an item that names an MCP tool."""
    return {"server_label": call.server_label, "name": call.name, "arguments": call.arguments}


def _split(data: AnyStr, size: int) -> list[AnyStr]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _obfuscation(delta: str) -> Json:
    """Return the random padding by which the service hides the length of a text delta."""
    return {"obfuscation": new_id("")[1 : 1 + max(0, 16 - len(delta))]}
