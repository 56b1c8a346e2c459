"""The state of one conversation: events in, changes out.

A bystander's state machine: whatever comes, in whatever order, nothing raises; what cannot be
understood is left out. It holds no span, no sound and no clock. ``t`` is nanoseconds since the
conversation's start, ``at_ns`` wall time; the caller gives both.

What must be traced at once comes out as changes of ``receive`` and ``send``::

    ToolAnnounced   the first event with a call's complete arguments (it becomes the parent)
    ToolPending     a call not answered when its response.done came
    ToolAnswered    the client sent the call's function_call_output
    Transcribed     an input transcription ended

What is known only later (was the answer heard to its end? has the transcript come?) waits as
an unsettled response; ``settled`` hands out those that are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.core.protocol.events import GA_NAMES, Event
from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_values import milliseconds, table, text_or_none
from otel_realtime.core.protocol.responses import AudioFacts, Moment, Response, ToolCall
from otel_realtime.core.protocol.session import Counts, SessionFacts


@dataclass(frozen=True, slots=True)
class ToolAnnounced:
    """The current event is the first that carries the call's complete arguments."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolPending:
    """The current ``response.done`` left this call to be answered; ``alone``: no other one."""

    call: ToolCall
    alone: bool


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """The client sent this call's result."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class Transcribed:
    """An input transcription ended: one call of the transcription model."""

    item: Item
    model: str
    started_t: int
    started_ns: int
    event: Event
    failed: bool


Change = ToolAnnounced | ToolPending | ToolAnswered | Transcribed


class ConversationState:
    """One conversation, as its events describe it."""

    def __init__(self) -> None:
        self.session = SessionFacts()
        self.items = Items()
        self.responses: dict[str, Response] = {}
        self.unsettled: dict[str, Response] = {}
        self.calls: dict[str, ToolCall] = {}
        self.counts = Counts()
        self._fresh: list[str] = []
        self._requests: list[Mapping[str, Any]] = []
        self._committed: dict[str, Moment] = {}

    # -- client to server -----------------------------------------------------------------------

    def send(self, event: Event, moment: Moment) -> list[Change]:
        """Take note of a client event; only those that say something about spans matter."""
        kind = event["type"]
        if kind == "response.create":
            self._requests.append(table(event.get("response")))
            del self._requests[:-16]
        elif kind == "conversation.item.create":
            item = table(event.get("item"))
            if item.get("type") == "function_call_output":
                return self._answer(item, moment)
        return []

    def _answer(self, item: Mapping[str, Any], moment: Moment) -> list[Change]:
        call_id = text_or_none(item.get("call_id"))
        if call_id is None:
            return []
        call = self.calls.get(call_id)
        if call is None or call.answered is not None:
            return []  # a result nobody asked for here is history that the app seeds
        output = item.get("output")
        call.output = output if isinstance(output, str) else None
        call.answered = moment
        return [ToolAnswered(call)]

    # -- server to client -----------------------------------------------------------------------

    def receive(self, event: Event, moment: Moment) -> list[Change]:
        """Take one server event; returns what must be traced because of it."""
        kind = event["type"]
        rule = _RULES.get(GA_NAMES.get(kind, kind))
        if rule is None:
            return []
        changes: list[Change] = []
        rule(self, event, moment, changes)
        return changes

    def _session(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.session.absorb(table(event.get("session")))

    def _error(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        self.counts.server_errors += 1

    def _speech_started(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id:
            item = self.items.ensure(item_id, moment.t, role="user")
            item.audio = True
            item.audio_start_ms = milliseconds(event.get("audio_start_ms"))

    def _speech_stopped(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id:
            item = self.items.ensure(item_id, moment.t, role="user")
            item.audio = True
            item.audio_end_ms = milliseconds(event.get("audio_end_ms"))
            item.stopped_t = moment.t

    def _commit(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id:
            previous = event.get("previous_item_id")
            item = self.items.ensure(item_id, moment.t, role="user", after=previous)
            self.items.move(item, previous)
            item.audio = True
            if item.stopped_t is None:
                item.stopped_t = moment.t
            self._join(item)
            self._committed[item_id] = moment

    def _item_added(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = table(event.get("item"))
        item_id = text_or_none(source.get("id"))
        if item_id:
            previous = event.get("previous_item_id")
            item = self.items.ensure(item_id, moment.t, after=previous)
            self.items.move(item, previous)
            item.absorb(source)
            self.items.count_turn(item)
            self._join(item)

    def _join(self, item: Item) -> None:
        """The item is part of the conversation now: the next response reads it."""
        if not item.committed:
            item.committed = True
            if item.response_id is None:
                self._fresh.append(item.id)

    def _item_deleted(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item = self.items.get(event.get("item_id"))
        if item is not None:
            item.deleted = True
            if item.id in self._fresh:
                self._fresh.remove(item.id)

    def _item_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = table(event.get("item"))
        item = self.items.get(source.get("id"))
        if item is not None:
            item.absorb(source)
        else:
            self._item_added(event, moment, changes)

    def _response_created(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = table(event.get("response"))
        response_id = text_or_none(source.get("id"))
        if response_id is None or response_id in self.responses:
            return
        response = Response(response_id, created=moment)
        response.absorb(source)
        response.request = self._request_for(response)
        if response.out_of_band:
            response.context_items = 0
        else:
            response.inputs, self._fresh = self._fresh, []
            read = sum(item.committed and not item.deleted for item in self.items)
            response.context_items = max(read - len(response.inputs), 0)
        response.turn = self.items.turns
        self.responses[response_id] = self.unsettled[response_id] = response
        self.counts.responses += 1

    def _request_for(self, response: Response) -> Mapping[str, Any]:
        """The ``response.create`` that asked for it; VAD makes responses that none asked for."""
        for index, request in enumerate(self._requests):
            if (request.get("conversation") == "none") == response.out_of_band:
                return self._requests.pop(index)
        return {}

    def _output_item(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = table(event.get("item"))
        item_id = text_or_none(source.get("id"))
        if item_id is None:
            return
        response = self.responses.get(str(event.get("response_id")))
        item = self.items.ensure(item_id, moment.t)
        item.response_id = text_or_none(event.get("response_id"))
        item.absorb(source)
        if response is None or not response.out_of_band:
            self.items.count_turn(item)
            item.committed = True
        if item_id in self._fresh:  # its own output is nothing new to the next response
            self._fresh.remove(item_id)
        if response is not None and item_id not in response.outputs:
            response.outputs.append(item_id)
        if event["type"] == "response.output_item.done" and item.kind == "function_call":
            self._announce(item, moment, changes)

    def _part_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        """``*_transcript.done``, ``output_text.done``: what one content part says in full."""
        item = self.items.get(event.get("item_id"))
        text = event.get("transcript", event.get("text"))
        if item is not None and isinstance(text, str):
            item.parts[_index(event)] = text
            item.audio = item.audio or "transcript" in event

    def _arguments_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return
        item = self.items.ensure(item_id, moment.t)
        item.kind = "mcp_call" if "mcp" in event["type"] else "function_call"
        item.response_id = item.response_id or text_or_none(event.get("response_id"))
        item.absorb({key: event.get(key) for key in ("name", "call_id", "arguments")})
        if item.kind == "function_call":
            self._announce(item, moment, changes)

    def _announce(self, item: Item, moment: Moment, changes: list[Change]) -> None:
        if item.call_id is None or item.status == "incomplete":
            return
        call = self.calls.get(item.call_id)
        if call is None:
            call = self.calls[item.call_id] = ToolCall(item.call_id)
        call.absorb(item)
        if call.announced is None:
            call.announced = moment
            call.turn = self.items.turns
            self.counts.tool_calls += 1
            changes.append(ToolAnnounced(call))

    def _response_done(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        source = table(event.get("response"))
        response_id = text_or_none(source.get("id"))
        if response_id is None:
            return
        response = self.responses.get(response_id)
        if response is None:  # its response.created was before we could see it
            self._response_created(event, moment, changes)
            response = self.responses[response_id]
        if response.done is not None:
            return
        response.absorb(source)
        response.usage = source.get("usage") or event.get("usage")
        response.done = moment
        response.turn = self.items.turns
        outputs = source.get("output")
        for output in outputs if isinstance(outputs, list) else ():
            self._absorb_output(response, table(output), moment)
        pending: dict[str, ToolCall] = {}
        for item in response.output_items(self.items):
            if item.kind != "function_call" or item.status == "incomplete":
                continue
            self._announce(item, moment, changes)
            call = self.calls.get(item.call_id or "")
            if call is not None and call.answered is None:
                pending[call.id] = call
        changes.extend(ToolPending(call, len(pending) == 1) for call in pending.values())

    def _absorb_output(self, response: Response, source: Mapping[str, Any], moment: Moment) -> None:
        item_id = text_or_none(source.get("id"))
        if item_id is None:
            return
        item = self.items.ensure(item_id, moment.t)
        item.response_id = response.id
        item.absorb(source)
        if not response.out_of_band:
            self.items.count_turn(item)
            item.committed = True
        if item_id not in response.outputs:
            response.outputs.append(item_id)

    def _transcript_completed(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return
        item = self.items.ensure(item_id, moment.t, role="user")
        index, text = _index(event), event.get("transcript")
        if isinstance(text, str):
            item.parts[index] = text
        if index in item.transcribed:
            return  # some servers correct a transcript; the model call was counted already
        item.transcribed.add(index)
        start = self._committed.get(item.id, moment)
        changes.append(
            Transcribed(
                item,
                model=self.session.transcription_model or "unknown",
                started_t=start.t,
                started_ns=start.at_ns,
                event=event,
                failed=event["type"].endswith(".failed"),
            )
        )

    def _mcp_call(self, event: Event, moment: Moment, changes: list[Change]) -> None:
        item_id = text_or_none(event.get("item_id"))
        if item_id is None:
            return
        item = self.items.ensure(item_id, moment.t)
        item.kind = "mcp_call"
        response = self.responses.get(item.response_id or "") or self._open_response()
        if response is not None:
            response.note_mcp(item_id, event["type"], moment)

    def _open_response(self) -> Response | None:
        return next(
            (found for found in reversed(self.unsettled.values()) if found.done is None), None
        )

    # -- what waits ------------------------------------------------------------------------------

    def settled(self, now_t: int, audio: AudioFacts | None) -> list[Response]:
        """Responses whose last fact has come by ``now_t``; they are handed out once.

        Raises nothing. ``audio`` None: no audio facts are kept for this conversation.
        """
        transcribes = self.session.transcription_model is not None
        ready = [
            response
            for response in self.unsettled.values()
            if response.is_complete(self.items, audio, now_t, transcribes)
        ]
        for response in ready:
            del self.unsettled[response.id]
        return ready

    def remaining(self) -> list[Response]:
        """All responses that have not settled, done or not: the conversation is over."""
        left, self.unsettled = list(self.unsettled.values()), {}
        return left


def _index(event: Event) -> int:
    value = event.get("content_index")
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


_Rule = Callable[[ConversationState, Event, Moment, "list[Change]"], None]
_OF = ConversationState
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."

#: Server event -> what it does to the state; every other event leaves it as it is.
_RULES: Final[Mapping[str, _Rule]] = {
    "session.created": _OF._session,
    "session.updated": _OF._session,
    "error": _OF._error,
    "input_audio_buffer.speech_started": _OF._speech_started,
    "input_audio_buffer.speech_stopped": _OF._speech_stopped,
    "input_audio_buffer.committed": _OF._commit,
    "conversation.item.added": _OF._item_added,
    "conversation.item.retrieved": _OF._item_done,
    "conversation.item.done": _OF._item_done,
    "conversation.item.deleted": _OF._item_deleted,
    _TRANSCRIPTION + "completed": _OF._transcript_completed,
    _TRANSCRIPTION + "failed": _OF._transcript_completed,
    "response.created": _OF._response_created,
    "response.output_item.added": _OF._output_item,
    "response.output_item.done": _OF._output_item,
    "response.output_audio_transcript.done": _OF._part_done,
    "response.output_text.done": _OF._part_done,
    "response.function_call_arguments.done": _OF._arguments_done,
    "response.mcp_call_arguments.done": _OF._arguments_done,
    "response.mcp_call.in_progress": _OF._mcp_call,
    "response.mcp_call.completed": _OF._mcp_call,
    "response.mcp_call.failed": _OF._mcp_call,
    "response.done": _OF._response_done,
}
